//! The agents of a run through the kernel's sockets: connected, recovered, ended.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use linerate_results::store::StoreError;
use linerate_results::summary::{Status, Summary};
use tokio::sync::watch;

use super::host_settings::restore;
use super::observer::Observer;
use super::part::KernelAgent;
use super::recorder::Recorder;
use super::{CONNECTING_AT_ONCE, Ending};
use crate::platform::Platform;

/// Time for a lost agent to accept a connection again before it is started anew.
const RECONNECT_TIME: Duration = Duration::from_secs(2);

/// What became of an attempt at a trial.
pub(super) struct Attempt {
    /// Agents that were lost, by their place, with the reasons.
    pub(super) agents: Vec<(usize, String)>,
    /// True when its result or failure is on disk.
    pub(super) is_filed: bool,
}

/// Starts the agents and connects to them.
pub(super) async fn connect(
    platform: &mut impl Platform,
    keep_alive: Duration,
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
) -> Result<Vec<KernelAgent>, Ending> {
    let endpoints = platform.start(&|text| observer.phase(text)).await?;
    recorder.agents_run();
    let connecting =
        endpoints.into_iter().flatten().map(|endpoint| KernelAgent::connect(endpoint, keep_alive));
    // Hundreds of handshakes at once would exceed their time limits.
    stream::iter(connecting).buffered(CONNECTING_AT_ONCE).try_collect().await.map_err(Ending::from)
}

/// Recovery of agents that were lost in a trial.
pub(super) struct Recovery<'a> {
    pub(super) keep_alive: Duration,
    pub(super) interrupted: &'a watch::Receiver<bool>,
    pub(super) observer: &'a dyn Observer,
}

impl Recovery<'_> {
    /// Connects to lost agents again, or starts them anew. Returns those that are given up, by their place, with the reasons.
    ///
    /// # Errors
    /// When the run is interrupted, access is refused, or results cannot be stored.
    pub(super) async fn bring_back(
        &self,
        lost: Vec<(usize, String)>,
        agents: &mut [KernelAgent],
        platform: &mut impl Platform,
        recorder: &mut Recorder<'_>,
    ) -> Result<Vec<(usize, String)>, Ending> {
        recorder.recovery_begins();
        let mut given_up = Vec::new();
        for (place, reason) in lost {
            let name = agents[place].name().to_owned();
            self.observer.phase(&format!("{name} was lost: {reason}; it is recovered"));
            let mut interrupted = self.interrupted.clone();
            let recovered = tokio::select! {
                recovered = self.one(place, &mut agents[place], platform) => recovered,
                Ok(_) = interrupted.wait_for(|flag| *flag) => return Err(Ending::Interrupted),
            };
            match recovered {
                Ok(how) => recorder.recovered(format!("{name} was {how}: {reason}"))?,
                Err(Ending::Failed(why)) => {
                    let why = if why.contains(&reason) { why } else { format!("{reason}; and then: {why}") };
                    self.observer.phase(&format!("{name} is given up: {why}"));
                    given_up.push((place, format!("{name} is given up: {why}")));
                }
                Err(other) => return Err(other),
            }
        }
        recorder.kernel_connected_again(agents)?;
        recorder.recovery_ended();
        Ok(given_up)
    }

    /// Recovers one agent; returns a text on how.
    async fn one(
        &self,
        place: usize,
        agent: &mut KernelAgent,
        platform: &mut impl Platform,
    ) -> Result<&'static str, Ending> {
        if agent.reconnect(self.keep_alive, RECONNECT_TIME).await.is_ok() {
            return Ok("connected again");
        }
        let endpoints = platform.restart(place, &|text| self.observer.phase(text)).await?;
        let endpoint = endpoints.into_iter().next();
        let endpoint =
            endpoint.ok_or_else(|| Ending::Failed(format!("{} was not started anew", agent.name())))?;
        *agent = KernelAgent::connect(endpoint, self.keep_alive).await?;
        Ok("started anew")
    }
}

/// Restores settings of hosts, ends every agent of a run, and closes its records. `of` is the number of planned trials.
pub(super) async fn close(
    ending: Result<(), Ending>,
    platform: &mut impl Platform,
    agents: &[KernelAgent],
    mut recorder: Recorder<'_>,
    observer: &dyn Observer,
    of: usize,
) -> Result<Summary, StoreError> {
    observer.phase("ending the agents");
    recorder.tear_down_begins();
    let ending = restore(ending, platform, &mut recorder).await;
    if !platform.keeps() {
        join_all(agents.iter().map(|agent| agent.session.shut_down())).await;
    }
    platform.stop(!agents.is_empty()).await;
    observer.end();
    let (status, reason) = match ending {
        Ok(()) => recorder.planned_status(of),
        Err(Ending::Interrupted) => (Status::Interrupted, Some("interrupted by a signal".to_owned())),
        Err(ending @ (Ending::Failed(_) | Ending::Refused(_) | Ending::Unrestored(_))) => {
            (Status::Failed, Some(ending.to_string()))
        }
        Err(Ending::Store(error)) => {
            // Closing the summary most likely fails as well; the first error is reported.
            let _ = recorder.close(Status::Failed, Some(error.to_string()));
            return Err(error);
        }
    };
    recorder.close(status, reason)
}
