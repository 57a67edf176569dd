//! Processes of this host.

use std::fs;

/// Place of the start among the words behind a process's name (proc(5), `/proc/PID/stat`, field 22).
const START: usize = 19;

/// When the process started, in ticks since the host's boot; `None` when no process has this number, or it is a zombie.
pub(super) fn started(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name may have any characters, but the last parenthesis ends it.
    let (_, behind) = stat.rsplit_once(')')?;
    let mut words = behind.split_whitespace();
    let has_ended = words.clone().next().is_some_and(|state| matches!(state, "Z" | "X"));
    words.nth(START).filter(|_| !has_ended)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::started;

    #[test]
    fn a_process_has_started_once_and_others_are_not_there() {
        let this = started(std::process::id());
        assert!(this.is_some() && this >= started(1), "{this:?}");
        assert_eq!(started(u32::MAX), None);
    }
}
