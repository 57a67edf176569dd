//! Processes of this host, or of this container.

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

/// What a process number is one of: the start of the machine (boot id) and the PID namespace. Containers of one host, and hosts of one name, differ
/// in it. `None` when the kernel does not tell.
pub(super) fn numbered_among() -> Option<String> {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot_id.trim_end(), namespace.display()))
}

#[cfg(test)]
mod tests {
    use super::{numbered_among, started};

    #[test]
    fn processes_are_numbered_in_a_namespace_of_one_start_of_the_machine() {
        let among = numbered_among().unwrap();
        let (boot_id, namespace) = among.split_once(' ').unwrap();
        assert!(boot_id.len() == 36 && namespace.starts_with("pid:["), "{among}");
    }

    #[test]
    fn a_process_has_started_once_and_others_are_not_there() {
        let this = started(std::process::id());
        assert!(this.is_some() && this >= started(1), "{this:?}");
        assert_eq!(started(u32::MAX), None);
    }
}
