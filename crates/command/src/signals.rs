//! Signals that end a command in good order.

use std::future::pending;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

/// SIGINT, SIGTERM, and SIGHUP unless the process was started with it ignored. SIGHUP counts once: a terminal that
/// closes is told by the shell and by the kernel, and the second one must not be taken for a user's second signal.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: HangUp,
}

impl Signals {
    /// Listens from here on. Must be called within a runtime.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: HangUp::listen()?,
        })
    }

    /// Returns at the next signal.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = self.hang_up.next() => self.hang_up = HangUp(None),
        }
    }

    /// Waits for `time`; true when a signal arrived.
    pub async fn within(&mut self, time: Duration) -> bool {
        tokio::select! {
            () = self.next() => true,
            () = sleep(time) => false,
        }
    }
}

/// SIGHUP, which tells that the terminal is gone. A process that was started with it ignored, as by `nohup`,
/// goes on ignoring it.
#[derive(Debug)]
pub struct HangUp(Option<Signal>);

impl HangUp {
    /// Listens from here on. Must be called within a runtime.
    ///
    /// # Errors
    /// When the handler cannot be installed.
    pub fn listen() -> io::Result<Self> {
        // Where the kernel's file cannot be read, the signal counts as not ignored.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kind = SignalKind::hangup();
        let listens = !ignores(&status, kind.as_raw_value());
        Ok(Self(listens.then(|| signal(kind)).transpose()?))
    }

    /// Returns at the next one; never when it is ignored.
    pub async fn next(&mut self) {
        match &mut self.0 {
            Some(signal) => {
                signal.recv().await;
            }
            None => pending().await,
        }
    }
}

/// True when a process with this `/proc/PID/status` ignores the signal.
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_known_from_the_kernels_file() {
        let status =
            |mask: &str| format!("Name:\tx\nSigBlk:\tffffffffffffffff\nSigIgn:\t{mask}\nSigCgt:\t0\n");
        for (mask, hang_up, terminate) in [
            ("0000000000000000", false, false),
            ("0000000000000001", true, false),
            ("0000000000004000", false, true),
            ("0000000000001006", false, false),
            ("ffffffffffffffff", true, true),
            ("?", false, false),
        ] {
            let status = status(mask);
            assert_eq!((ignores(&status, 1), ignores(&status, 15)), (hang_up, terminate), "{mask}");
        }
        assert!(!ignores("", 1));
    }
}
