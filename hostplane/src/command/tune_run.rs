//! The command that runs while settings are changed, and the signals that end it.
//!
//! COMMAND may count signals, as `linerate run` does: the first ends it in good order, the second at once. So each
//! stop reaches it once. Outside the foreground of a terminal it has a process group of its own, and signals come
//! from here alone; in the foreground it may read the terminal, which sends it Ctrl-C itself.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use linerate_command::signals::HangUp;
use linerate_logging::terminal::escaped_path;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use super::Ending;
use super::output::{Failure, say};

/// A command that a signal does not end is killed after this time, so that settings are restored. A run in good order
/// finishes its trial and removes its pods.
const GRACE: Duration = Duration::from_secs(600);
/// A signal that comes twice within this time is one stop: `timeout` signals its child and then its group, and a
/// terminal that closes is told by the shell and by the kernel.
const SAME: Duration = Duration::from_millis(300);

/// Signals that end what is applied. They are caught before the first change.
pub(super) struct Stops {
    interrupt: Signals,
    quit: Signals,
    terminate: Signals,
    hang_up: HangUp,
}

impl Stops {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: HangUp::listen()?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.quit.recv() => Signal::QUIT,
            _ = self.terminate.recv() => Signal::TERM,
            () = self.hang_up.next() => Signal::HUP,
        }
    }

    /// How to end when a stop came while nobody looked: while settings were being written.
    pub(super) async fn pending(&mut self) -> Option<Ending> {
        tokio::select! {
            biased;
            stop = self.next() => Some(Ending::Command(128 + stop.as_raw() as u8)),
            // The runtime looks for signals only when it has to wait.
            () = sleep(Duration::from_millis(1)) => None,
        }
    }
}

/// Which stops are passed on.
struct Relay {
    /// The terminal signals the command, too.
    is_foreground: bool,
    last: Option<(Signal, Instant)>,
}

impl Relay {
    fn passes(&mut self, stop: Signal, now: Instant) -> bool {
        let is_same = self.last.is_some_and(|(last, at)| last == stop && now.duration_since(at) < SAME);
        if !is_same {
            self.last = Some((stop, now));
        }
        let is_of_terminal = self.is_foreground && (stop == Signal::INT || stop == Signal::QUIT);
        !is_same && !is_of_terminal
    }
}

/// True when the process of this `/proc/PID/stat` is in the foreground of its terminal, whose keys signal it.
fn is_foreground(stat: &str) -> bool {
    // The name may hold anything; after it: state, parent, group, session, terminal, the terminal's group.
    let Some((_, fields)) = stat.rsplit_once(')') else { return false };
    let fields: Vec<&str> = fields.split_whitespace().collect();
    match fields.as_slice() {
        [_, _, group, _, terminal, foreground, ..] => *terminal != "0" && group == foreground,
        _ => false,
    }
}

/// Runs the command, or waits for a signal.
pub(super) async fn hold(command: &[OsString], stops: &mut Stops, quiet: bool) -> Result<Ending, Failure> {
    let Some((program, arguments)) = command.split_first() else {
        if !quiet {
            say("in force until Ctrl-C or SIGTERM");
        }
        stops.next().await;
        return Ok(Ending::Done);
    };
    if let Some(ending) = stops.pending().await {
        return Ok(ending);
    }
    let is_foreground = fs::read_to_string("/proc/self/stat").is_ok_and(|stat| is_foreground(&stat));
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    if !is_foreground {
        command.process_group(0);
    }
    let mut child = command
        .spawn()
        .map_err(|error| Failure::failed(format!("{}: {error}", escaped_path(Path::new(program)))))?;
    let mut relay = Relay { is_foreground, last: None };
    let mut end = None;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(ended(status?)),
            stop = stops.next() => {
                let now = Instant::now();
                end.get_or_insert(now + GRACE);
                if relay.passes(stop, now) {
                    send(&child, stop, false);
                }
            }
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => break,
        }
    }
    say("the command does not end, and is killed");
    send(&child, Signal::KILL, !is_foreground);
    child.wait().await?;
    Ok(Ending::Command(128 + Signal::KILL.as_raw() as u8))
}

/// Waits until standard input ends, or for a signal.
pub(super) async fn until_eof(stops: &mut Stops) {
    let (ended, end) = oneshot::channel();
    // A thread that nobody waits for: a signal must not wait for standard input.
    let reading = std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        // An error ends it like the end of the file.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = ended.send(());
    });
    if let Err(error) = reading {
        say(&format!("standard input is not watched ({error}): settings are restored at once"));
        return;
    }
    tokio::select! {
        _ = stops.next() => {}
        _ = end => {}
    }
}

/// Signals the command, or its group. Its own signals end its children in its own order, as far as it does that.
fn send(child: &Child, signal: Signal, is_group: bool) {
    // It has not been waited for, so that its number is still its own.
    let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return };
    let sent = if is_group { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
    if let Err(error) = sent {
        say(&format!("cannot pass the signal on: {error}"));
    }
}

fn ended(status: ExitStatus) -> Ending {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ending::Command(code as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_foreground_of_a_terminal_is_known_from_the_kernels_file() {
        for (stat, expected) in [
            ("7 (linerate) S 1 7 5 34816 7 4194304 0", true),
            ("7 (a) b) (c) S 1 7 5 34816 7 4194304 0", true),
            ("7 (in the background) S 1 7 5 34816 5 4194304", false),
            ("7 (without a terminal) S 1 7 7 0 -1 4194304", false),
            ("", false),
            ("7 (short) S 1", false),
        ] {
            assert_eq!(is_foreground(stat), expected, "{stat}");
        }
    }

    #[test]
    fn a_stop_is_passed_on_once() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut apart = Relay { is_foreground: false, last: None };
        let stops = [
            (Signal::TERM, 0),
            (Signal::TERM, 2),
            (Signal::INT, 4),
            (Signal::INT, 1000),
            (Signal::TERM, 1001),
        ];
        assert_eq!(stops.map(|(stop, ms)| apart.passes(stop, at(ms))), [true, false, true, true, true]);
        let mut shared = Relay { is_foreground: true, last: None };
        let stops = [Signal::INT, Signal::QUIT, Signal::TERM, Signal::HUP];
        assert_eq!(stops.map(|stop| shared.passes(stop, begin)), [false, false, true, true]);
    }
}
