//! Monitor of the link during a trial. Pure: the caller passes the instants.

/// Link state of a port during a trial.
#[derive(Debug, Default)]
pub(super) struct LinkWatch {
    /// Instant of the last check.
    looked_ns: Option<u64>,
    /// Instant since which the link has been down.
    down_since_ns: Option<u64>,
    /// Earlier down time, in nanoseconds.
    down_ns: u64,
    /// Number of times that the link went down.
    times: u32,
}

impl LinkWatch {
    /// Interval between two checks, in nanoseconds.
    const INTERVAL_NS: u64 = 50_000_000;

    /// True when the next check is due.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        self.looked_ns.is_none_or(|looked| now_ns.saturating_sub(looked) >= Self::INTERVAL_NS)
    }

    /// Records the link's state at an instant.
    pub(super) fn look(&mut self, now_ns: u64, up: bool) {
        self.looked_ns = Some(now_ns);
        match (up, self.down_since_ns) {
            (false, None) => {
                self.down_since_ns = Some(now_ns);
                self.times += 1;
            }
            (true, Some(since)) => {
                self.down_ns += now_ns.saturating_sub(since);
                self.down_since_ns = None;
            }
            (true, None) | (false, Some(_)) => {}
        }
    }

    /// The number and duration of the link's down times, in one sentence; `None` when the link was up at
    /// every check.
    pub(super) fn note(&self, now_ns: u64) -> Option<String> {
        let down_ns = self.down_ns + self.down_since_ns.map_or(0, |since| now_ns.saturating_sub(since));
        let seconds = down_ns as f64 / 1e9;
        let times = if self.times == 1 { "once".to_owned() } else { format!("{} times", self.times) };
        let still = if self.down_since_ns.is_some() { "; it was down at the end" } else { "" };
        (self.times > 0).then(|| {
            format!(
                "the link was down for {seconds:.2} s during the trial ({times}, looked at every {} ms){still}",
                Self::INTERVAL_NS / 1_000_000
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_down_is_noted() {
        // (state of the link at each 100 ms, note at the end)
        for (states, note) in [
            (&[true, true, true][..], None),
            (
                &[true, false, false, true],
                Some("down for 0.20 s during the trial (once, looked at every 50 ms)"),
            ),
            (&[false, true, false, true], Some("down for 0.20 s during the trial (2 times,")),
            (
                &[true, false],
                Some(
                    "down for 0.10 s during the trial (once, looked at every 50 ms); it was down at the end",
                ),
            ),
        ] {
            let mut watch = LinkWatch::default();
            let mut now_ns = 7_000_000_000;
            for up in states {
                assert!(watch.is_due(now_ns));
                watch.look(now_ns, *up);
                assert!(!watch.is_due(now_ns + 1_000_000));
                now_ns += 100_000_000;
            }
            let found = watch.note(now_ns);
            assert_eq!(found.is_some(), note.is_some(), "{states:?}: {found:?}");
            assert!(found.unwrap_or_default().contains(note.unwrap_or_default()), "{states:?}: {note:?}");
        }
    }
}
