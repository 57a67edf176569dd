//! Monitor of the link during a trial. Pure: the caller passes the instants.

/// Link state of a port, and presence of the interface behind it, during a trial.
#[derive(Debug, Default)]
pub(super) struct LinkWatch {
    /// Name of the kernel's interface behind the port when the trial was armed.
    interface: Option<String>,
    /// Instant at which it was first missing.
    gone_ns: Option<u64>,
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

    /// A watch of a port with this interface of the kernel behind it, if there is one.
    pub(super) fn new(interface: Option<String>) -> Self {
        Self { interface, ..Self::default() }
    }

    /// True when the kernel had an interface behind the port when the trial was armed.
    pub(super) fn has_interface(&self) -> bool {
        self.interface.is_some()
    }

    /// True when the next check is due.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        self.looked_ns.is_none_or(|looked| now_ns.saturating_sub(looked) >= Self::INTERVAL_NS)
    }

    /// Records at an instant the link's state, and whether the kernel lacks the interface.
    pub(super) fn look(&mut self, now_ns: u64, up: bool, lacks_interface: bool) {
        self.looked_ns = Some(now_ns);
        if self.has_interface() && lacks_interface {
            self.gone_ns.get_or_insert(now_ns);
        }
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

    /// The link's down times and an interface that is gone, each in one sentence. The trial began at `started_ns`.
    pub(super) fn notes(&self, started_ns: u64, now_ns: u64) -> impl Iterator<Item = String> {
        self.gone_note(started_ns).into_iter().chain(self.down_note(now_ns))
    }

    fn gone_note(&self, started_ns: u64) -> Option<String> {
        let (interface, gone_ns) = (self.interface.as_ref()?, self.gone_ns?);
        Some(format!(
            "the interface {interface} behind the port is gone since {:.2} s of the trial (looked at every {} ms): it was removed, or moved to \
             another network namespace",
            gone_ns.saturating_sub(started_ns) as f64 / 1e9,
            Self::INTERVAL_NS / 1_000_000
        ))
    }

    /// The number and duration of the link's down times, in one sentence; `None` when the link was up at
    /// every check.
    fn down_note(&self, now_ns: u64) -> Option<String> {
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
                watch.look(now_ns, *up, false);
                assert!(!watch.is_due(now_ns + 1_000_000));
                now_ns += 100_000_000;
            }
            let found = watch.down_note(now_ns);
            assert_eq!(found.is_some(), note.is_some(), "{states:?}: {found:?}");
            assert!(found.unwrap_or_default().contains(note.unwrap_or_default()), "{states:?}: {note:?}");
        }
    }
    #[test]
    fn an_interface_that_is_gone_is_noted_with_the_time_at_which_it_was_first_missing() {
        for (interface, lacks, expected) in [
            (Some("dpv0"), [false, true, true], Some("interface dpv0 behind the port is gone since 1.70 s")),
            (Some("dpv0"), [false, false, false], None),
            (None, [true, true, true], None),
        ] {
            let mut watch = LinkWatch::new(interface.map(str::to_owned));
            for (i, lacks_interface) in (0..).zip(lacks) {
                watch.look(7_600_000_000 + i * 100_000_000, true, lacks_interface);
            }
            let notes: Vec<String> = watch.notes(6_000_000_000, 8_000_000_000).collect();
            assert_eq!(notes.len(), usize::from(expected.is_some()), "{notes:?}");
            assert!(notes.concat().contains(expected.unwrap_or_default()), "{notes:?}");
        }
    }
}
