//! `tcp` and `udp`: one trial with a server.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use linerate_command::signals::Signals;
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};

use super::Ending;
use super::args::Form;
use super::output::{Failure, print_json, print_text, say};
use super::ready::{Probing, Trial};
use crate::client::{Observer, Samples, run as run_trial};
use crate::control::message::Welcome;
use crate::exchange::outcome::Shared;
use crate::exchange::probe::Probe;
use crate::iperf3::form::of_trial;
use crate::result::TrialResult;
use crate::result::interval::interval;
use crate::result::text::{describe, progress, result};
use crate::spec::{Directions, TrialSpec};

/// Runs a future on this thread, with local tasks.
pub(super) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, future)
}

/// Becomes true at a signal of [`Signals`]. Must be called in a local set.
pub(super) fn stop_at_signals() -> Result<watch::Receiver<bool>, Failure> {
    let mut signals = Signals::listen()?;
    let (sender, receiver) = watch::channel(false);
    spawn_local(async move {
        loop {
            signals.next().await;
            // The second one does not wait for the other end.
            if sender.send_replace(true) {
                std::process::exit(130);
            }
        }
    });
    Ok(receiver)
}

pub(super) fn run(args: Trial) -> Result<Ending, Failure> {
    let Trial { request, probe, json, form, quiet } = args;
    let limited = request.spec.each.duration_ms.is_some() || request.spec.each.bytes.is_some();
    block_on(async move {
        let stop = stop_at_signals()?;
        let mut lines = Lines { quiet, directions: request.spec.directions, probe: None };
        let mut probes = None;
        if let Some(Probing { kind, per_second, idle }) = probe {
            let probe = Probe::start(&request, kind, per_second, idle).await?;
            lines.probe = Some((probe.shared(), request.spec.each.duration_ms));
            if !quiet {
                say(&format!("probe without load for {idle:?}"));
            }
            let mut stop = stop.clone();
            let _ = tokio::time::timeout(idle, stop.wait_for(|stop| *stop)).await;
            probes = Some(probe);
        }
        let outcome = run_trial(request, stop, &mut lines).await?;
        let mut trial = TrialResult::of(&outcome);
        if let Some(probe) = probes {
            let probe = probe.finish().await;
            trial.failures.extend(probe.failures.iter().map(|failure| format!("the probe: {failure}")));
            trial.complete &= probe.complete;
            trial.probe = Some(probe);
        }
        if form == Some(Form::Iperf3Json) {
            print_json(&of_trial(&trial, &outcome))?;
        } else if json {
            print_json(&trial)?;
        } else {
            print_text(&result(&trial))?;
        }
        Ok(match (trial.complete, trial.interrupted && limited) {
            (false, _) => Ending::Incomplete,
            (true, true) => Ending::Interrupted,
            (true, false) => Ending::Done,
        })
    })
}

/// Progress on standard error.
struct Lines {
    quiet: bool,
    directions: Directions,
    /// What marks a probe's phases, and the time of sending.
    probe: Option<(Arc<Shared>, Option<u64>)>,
}

impl Observer for Lines {
    fn starts(&mut self, spec: &TrialSpec, server: SocketAddr, welcome: &Welcome) {
        if !self.quiet {
            let host = welcome.host.as_deref().map_or_else(String::new, |host| format!(" ({host})"));
            let host = linerate_logging::terminal::escaped_line(&host);
            say(&format!("{server}{host}: {}", describe(spec)));
        }
    }

    fn begins(&mut self, at_ns: u64) {
        if let Some((shared, duration_ms)) = &self.probe {
            let until = duration_ms.map_or(u64::MAX, |ms| at_ns.saturating_add(ms * 1_000_000));
            shared.load_until_ns.store(until, Ordering::Relaxed);
            shared.load_from_ns.store(at_ns, Ordering::Relaxed);
        }
    }

    fn interval(&mut self, before: &Samples<'_>, now: &Samples<'_>) {
        if !self.quiet {
            say(&progress(&interval(before, now, self.directions)));
        }
    }
}
