//! A port of a script: its settings, and the loads that it has sent.

use super::argument::At;
use super::settings::{RATE, Settings};

/// Largest number of different loads of a port.
const LOADS: usize = 100;

/// A port while the script runs. Time is simulated: it advances only by `sleep`, `delay` and `pause`.
#[derive(Debug, Clone, Default)]
pub(super) struct Port {
    pub(super) settings: Settings,
    /// The current load.
    sending: Option<Sending>,
    /// The loads sent so far, each once.
    pub(super) sent: Vec<Sent>,
}

#[derive(Debug, Clone)]
struct Sending {
    settings: Settings,
    at: At,
    /// Earlier rates with their duration in seconds.
    rates: Vec<(f64, f64)>,
    /// When the current rate began.
    since: f64,
}

/// A load of a port.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sent {
    pub(super) settings: Settings,
    /// Rates in percent with their duration in seconds, if the rate changed during sending.
    pub(super) stages: Vec<(f64, f64)>,
    /// Line that started it.
    pub(super) at: At,
}

impl Port {
    pub(super) fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    pub(super) fn start(&mut self, now: f64, line: Option<usize>) {
        if self.sending.is_none() {
            self.sending = Some(Sending {
                settings: self.settings.clone(),
                at: At(line),
                rates: Vec::new(),
                since: now,
            });
        }
    }

    /// Applies a change of settings.
    ///
    /// # Errors
    /// When frames change while the port sends: only the rate may.
    pub(super) fn change(&mut self, now: f64, change: impl Fn(&mut Settings)) -> Result<(), String> {
        let before = self.settings.clone();
        change(&mut self.settings);
        let Some(sending) = &mut self.sending else { return Ok(()) };
        if before.frames() != self.settings.frames() {
            return Err(
                "the frames change while the port sends, and a profile's stages change only the rate; call \
                        pktgen.stop before the change and pktgen.start after it"
                    .to_owned(),
            );
        }
        if before.rate != self.settings.rate {
            sending.pass(before.rate, now);
        }
        Ok(())
    }

    /// Ends the current load.
    ///
    /// # Errors
    /// When the port has too many different loads.
    pub(super) fn stop(&mut self, now: f64) -> Result<(), String> {
        let Some(mut sending) = self.sending.take() else { return Ok(()) };
        let constant = sending.rates.is_empty();
        let rate = self.settings.rate;
        sending.pass(rate, now.max(sending.since + if constant { 0.0 } else { LAST_STAGE_S }));
        let stages = if sending.rates.len() > 1 { sending.rates } else { Vec::new() };
        let settings = Settings { rate, ..sending.settings };
        let sent = Sent { settings, stages, at: sending.at };
        let same =
            |other: &Sent| other.stages == sent.stages && other.settings.traffic() == sent.settings.traffic();
        if self.sent.iter().any(same) {
            return Ok(());
        }
        if self.sent.len() == LOADS {
            return Err(format!(
                "the port is started with more than {LOADS} different loads; a script that searches is not a profile: take the \
                 search out, and let an experiment try the rates"
            ));
        }
        self.sent.push(sent);
        Ok(())
    }
}

/// Duration of a last stage that the script leaves running, in seconds; the load stays after it.
const LAST_STAGE_S: f64 = 1e-3;

impl Sending {
    /// Ends the current rate, or continues it if the last one was the same.
    fn pass(&mut self, rate: Option<f64>, now: f64) {
        let (rate, seconds) = (rate.unwrap_or(RATE), now - self.since);
        self.since = now;
        if seconds <= 0.0 {
            return;
        }
        match self.rates.last_mut() {
            Some((last, duration)) if *last == rate => *duration += seconds,
            _ => self.rates.push((rate, seconds)),
        }
    }
}
