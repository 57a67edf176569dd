//! What a worker measures besides its counters.

use std::collections::{BTreeMap, HashMap};

use linerate_http::tls::fault::FaultKind;
use linerate_http::tls::session::Agreed;
use linerate_measure::histogram::TickHistogram;
use linerate_wire::report::Distribution;

use super::outcome::{BackendCount, BackendCounts, FailureBin, FailureTimes, HttpTimes};
use super::spec::MOST_BACKENDS;

/// Width of a bin of failures, in nanoseconds.
const BIN_NS: u64 = 1_000_000;
/// Most bins that are kept.
const MOST_BINS: usize = 100_000;
/// Of a connection whose backend is not known.
pub(super) const NO_BACKEND: u32 = u32::MAX;

/// Distributions of times, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Times {
    pub(super) corrected: TickHistogram,
    pub(super) service: TickHistogram,
    pub(super) first_byte: TickHistogram,
    pub(super) send_error: TickHistogram,
    pub(super) connect: TickHistogram,
    pub(super) handshake: TickHistogram,
}

impl Times {
    fn merge(&mut self, other: &Times) {
        self.corrected.merge(&other.corrected);
        self.service.merge(&other.service);
        self.first_byte.merge(&other.first_byte);
        self.send_error.merge(&other.send_error);
        self.connect.merge(&other.connect);
        self.handshake.merge(&other.handshake);
    }

    fn read(&self) -> HttpTimes {
        let read = |histogram: &TickHistogram| -> Option<Distribution> { histogram.read(1_000_000_000) };
        HttpTimes {
            corrected: read(&self.corrected),
            service: read(&self.service),
            first_byte: read(&self.first_byte),
            send_error: read(&self.send_error),
            connect: read(&self.connect),
            handshake: read(&self.handshake),
        }
    }
}

/// Responses by backend.
#[derive(Debug, Default)]
pub(super) struct Backends {
    numbers: HashMap<Box<[u8]>, u32>,
    named: Vec<(Box<[u8]>, u64)>,
    others: u64,
    unnamed: u64,
}

impl Backends {
    /// Counts a response. `last` is the backend of the connection's last response, which is mostly this one's
    /// too; returns the one to give next time.
    #[inline]
    pub(super) fn count(&mut self, name: Option<&[u8]>, last: u32) -> u32 {
        let Some(name) = name else {
            self.unnamed += 1;
            return last;
        };
        if let Some((known, count)) = self.named.get_mut(last as usize)
            && **known == *name
        {
            *count += 1;
            return last;
        }
        self.find(name)
    }

    #[inline(never)]
    fn find(&mut self, name: &[u8]) -> u32 {
        let number = match self.numbers.get(name) {
            Some(number) => *number,
            None if self.named.len() >= MOST_BACKENDS => {
                self.others += 1;
                return NO_BACKEND;
            }
            None => {
                let number = self.named.len() as u32;
                self.numbers.insert(name.into(), number);
                self.named.push((name.into(), 0));
                number
            }
        };
        if let Some((_, count)) = self.named.get_mut(number as usize) {
            *count += 1;
        }
        number
    }
}

/// Failed requests over time.
#[derive(Debug, Default)]
pub(super) struct Failures {
    bins: Vec<(u64, u64)>,
    later: u64,
}

impl Failures {
    /// Counts a failure so long after the start. Times may not go back.
    pub(super) fn count(&mut self, elapsed_ns: u64) {
        let bin = elapsed_ns / BIN_NS;
        let full = self.bins.len() >= MOST_BINS;
        match self.bins.last_mut() {
            Some((last, count)) if *last >= bin => *count += 1,
            _ if full => self.later += 1,
            _ => self.bins.push((bin, 1)),
        }
    }
}

/// The first failure of a connection, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) words: String,
    /// What to do about it, when that is known.
    pub(crate) remedy: Option<&'static str>,
}

/// Handshakes of TLS.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    /// What the first one agreed on.
    pub(super) agreed: Option<Agreed>,
    /// Those that failed, by kind, whether a request waited for them or not.
    failed: BTreeMap<&'static str, u64>,
}

impl Handshakes {
    /// Counts one that failed.
    pub(super) fn count(&mut self, kind: FaultKind) {
        *self.failed.entry(kind.word()).or_default() += 1;
    }

    fn add(&mut self, other: Handshakes) {
        self.agreed = self.agreed.take().or(other.agreed);
        for (kind, count) in other.failed {
            *self.failed.entry(kind).or_default() += count;
        }
    }
}

/// What a worker measures.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) times: Times,
    pub(super) backends: Backends,
    pub(super) failures: Failures,
    pub(super) tls: Handshakes,
    pub(super) first_failure: Option<Failure>,
    /// Requests that servers of HTTP/2 permitted to be under way at the same time.
    pub(super) permitted: Option<u64>,
}

/// All workers' measures together.
#[derive(Debug, Default)]
pub(super) struct Sum {
    times: Times,
    backends: BTreeMap<Box<[u8]>, u64>,
    others: u64,
    unnamed: u64,
    failures: BTreeMap<u64, u64>,
    later: u64,
    tls: Handshakes,
    pub(super) first_failure: Option<Failure>,
    pub(super) permitted: Option<u64>,
}

impl Sum {
    pub(super) fn add(&mut self, tally: Tally) {
        self.times.merge(&tally.times);
        for (name, count) in tally.backends.named {
            *self.backends.entry(name).or_default() += count;
        }
        self.others += tally.backends.others;
        self.unnamed += tally.backends.unnamed;
        for (bin, count) in tally.failures.bins {
            *self.failures.entry(bin).or_default() += count;
        }
        self.later += tally.failures.later;
        self.tls.add(tally.tls);
        self.first_failure = self.first_failure.take().or(tally.first_failure);
        if let Some(more) = tally.permitted {
            *self.permitted.get_or_insert(0) += more;
        }
    }

    pub(super) fn times(&self) -> HttpTimes {
        self.times.read()
    }

    /// What the first handshake agreed on, and those that failed, by kind.
    pub(super) fn handshakes(&mut self) -> (Option<Agreed>, BTreeMap<&'static str, u64>) {
        (self.tls.agreed.take(), std::mem::take(&mut self.tls.failed))
    }

    pub(super) fn backends(&self) -> BackendCounts {
        let named = self.backends.iter().map(|(name, responses)| BackendCount {
            name: String::from_utf8_lossy(name).into_owned(),
            responses: *responses,
        });
        let mut named: Vec<BackendCount> = named.collect();
        // Each worker has its own first ones.
        let others = named.split_off(named.len().min(MOST_BACKENDS));
        let others = others.iter().map(|backend| backend.responses).sum::<u64>() + self.others;
        BackendCounts { named, others, unnamed: self.unnamed }
    }

    pub(super) fn failure_times(&self) -> FailureTimes {
        let bins =
            self.failures.iter().map(|(bin, requests)| FailureBin { at_ms: *bin, requests: *requests });
        FailureTimes { bin_ms: BIN_NS / 1_000_000, bins: bins.collect(), later: self.later }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_counted_up_to_a_number() {
        let mut sum = Sum::default();
        for _ in 0..2 {
            let mut tally = Tally::default();
            let mut last = NO_BACKEND;
            for name in [Some(&b"b"[..]), Some(b"a"), Some(b"a"), None] {
                last = tally.backends.count(name, last);
            }
            for number in 0..MOST_BACKENDS as u64 {
                tally.backends.count(Some(&number.to_be_bytes()), last);
            }
            sum.add(tally);
        }
        let counts = sum.backends();
        assert_eq!((counts.named.len(), counts.others, counts.unnamed), (MOST_BACKENDS, 4, 2));
        let count = |name: &str| counts.named.iter().find(|one| one.name == name).map(|one| one.responses);
        assert_eq!((count("a"), count("b")), (Some(4), Some(2)));
    }

    #[test]
    fn failures_have_times() {
        let mut tally = Tally::default();
        for ns in [1_500_000, 1_900_000, 7_000_000, 6_000_000] {
            tally.failures.count(ns);
        }
        let mut sum = Sum::default();
        sum.add(tally);
        let times = sum.failure_times();
        let bins: Vec<_> = times.bins.iter().map(|bin| (bin.at_ms, bin.requests)).collect();
        assert_eq!((times.bin_ms, bins), (1, vec![(1, 2), (7, 2)]));
    }
}
