//! The path between agents: packets as a function of time, with a configurable loss.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use linerate_traffic::mac::MacAddr;

/// Packets of a trial, from one port to another.
#[derive(Debug, Clone, Copy)]
pub struct Transmission {
    pub begun: Instant,
    pub pps: f64,
    pub lasts: Duration,
    pub total: u64,
    pub stopped: Option<Instant>,
}

impl Transmission {
    /// Time from its start to its end, or until now.
    pub fn elapsed(&self) -> Duration {
        let now = self.stopped.unwrap_or_else(Instant::now);
        now.saturating_duration_since(self.begun).min(self.lasts)
    }

    pub fn sent(&self) -> u64 {
        match self.elapsed() {
            whole if whole == self.lasts => self.total,
            part => (part.as_secs_f64() * self.pps) as u64,
        }
    }
}

#[derive(Debug, Default)]
pub struct Wire {
    /// By destination and tag.
    under_way: Mutex<BTreeMap<(MacAddr, u16), Transmission>>,
    /// Name of an agent that closes its connection at the next acknowledgement, once.
    pub lost_at_acknowledgement: Mutex<Option<String>>,
    /// One packet in this number is lost; 0: none.
    pub loses_one_in: AtomicU64,
}

impl Wire {
    pub fn send(&self, to: MacAddr, tag: u16, transmission: Transmission) {
        self.under_way.lock().unwrap().insert((to, tag), transmission);
    }

    /// When the first and the last packet were sent in all trials of this duration.
    pub fn first_and_last(&self, lasts: Duration) -> (Instant, Instant) {
        let all = self.under_way.lock().unwrap();
        let begun = || all.values().filter(|one| one.lasts == lasts).map(|one| one.begun);
        (begun().min().unwrap(), begun().max().unwrap() + lasts)
    }

    /// Packets that arrived there, and packets that were lost.
    pub fn arrived(&self, at: MacAddr, tag: u16) -> (u64, u64) {
        let sent = self.under_way.lock().unwrap().get(&(at, tag)).map_or(0, Transmission::sent);
        let lost = sent.checked_div(self.loses_one_in.load(Ordering::Relaxed)).unwrap_or(0);
        (sent - lost, lost)
    }
}
