//! Command lines that users have in scripts, and the output of `--help`.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::files::{Outputs, folder};
use crate::programs::{self, CHECK, DATAPLANE, LINERATE, program, stderr, stdout};

/// Threads that run programs in parallel.
const THREADS: usize = 4;
/// Exit code of our programs for an invalid command line.
const USAGE: i32 = 2;

/// Token that agents require before EAL starts.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A command line of the list.
#[derive(Debug, Clone)]
struct Line {
    program: String,
    words: Vec<String>,
}

impl Line {
    fn parse(text: &str) -> Self {
        let mut words = text.split_whitespace().map(str::to_owned).skip_while(|word| word.contains('='));
        Self { program: words.next().unwrap(), words: words.collect() }
    }

    fn text(&self) -> String {
        format!("{} {}", self.program, self.words.join(" "))
    }

    fn has(&self, word: &str) -> bool {
        self.words.iter().any(|one| one == word)
    }

    /// The line with `--help` appended: the options before it are parsed first, and must be valid.
    fn with_help(&self, directory: &Path) -> Output {
        self.command(directory).args(&self.words).arg("--help").output().unwrap()
    }

    fn command(&self, directory: &Path) -> Command {
        let path = programs::path(&self.program).unwrap();
        let mut command = program(&path, directory);
        command.env("LINERATE_TOKEN", TOKEN).env("PCIDEVICE_INTEL_COM_DPDK", "0000:03:02.0");
        command
    }

    /// The line in an environment without results, clusters, data plane and ports. Conflicts and dependencies
    /// of options are only checked when a line is executed.
    fn in_vain(&self, directory: &Path) -> Output {
        let mut command = self.command(directory);
        if self.program == LINERATE && self.has("run") && !self.has("--dry-run") && !self.has("--dataplane") {
            command.args(["--log-level", "error"].iter().filter(|_| !self.has("--log-level")));
            command.args(&self.words).args(["--dataplane", "/nonexistent/linerate-dataplane"]);
        } else if self.program == LINERATE && self.has("diagnose") {
            command.args(&self.words).args(["--hostplane", "/nonexistent/linerate-hostplane"]);
        } else if self.program == DATAPLANE {
            // EAL refuses this, after our own part of the command line was parsed.
            let own = self.words.iter().skip_while(|word| *word != "--");
            command.arg("--no-such-option-of-eal").args(own);
        } else {
            command.args(&self.words);
        }
        command.output().unwrap()
    }
}

/// The lines whose programs are built.
fn accepted(test: &str) -> Vec<Line> {
    let text = fs::read_to_string(folder().join("command-lines/accepted.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let built: Vec<&str> = [LINERATE, DATAPLANE, CHECK]
        .into_iter()
        .filter(|program| programs::needed(test, program).is_some())
        .collect();
    lines.map(Line::parse).filter(|line| built.contains(&line.program.as_str())).collect()
}

/// Applies `wrong` to every line in parallel; fails with all problems.
fn judge(lines: &[Line], wrong: impl Fn(&Line) -> Option<String> + Sync) {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(line) = lines.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(wrong) = wrong(line) {
                        found.lock().unwrap().push(format!("{}\n  {wrong}", line.text()));
                    }
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_documented_command_line_is_accepted() {
    let lines = accepted("every_documented_command_line_is_accepted");
    let place = tempfile::tempdir().unwrap();
    judge(&lines, |line| {
        let output = line.with_help(place.path());
        let understood = output.status.success() && stdout(&output).contains("Usage: ");
        (!understood).then(|| stderr(&output))
    });
}

/// The lines are executed without effect, each in an empty directory.
#[test]
fn options_of_documented_command_lines_go_together() {
    let lines = accepted("options_of_documented_command_lines_go_together");
    judge(&lines, |line| {
        if line.has("--await-server") {
            // It waits for a minute first.
            return None;
        }
        let place = tempfile::tempdir().unwrap();
        given(place.path());
        let output = line.in_vain(place.path());
        let said = stderr(&output);
        // The controller uses the same exit code for invalid documents, which is not about the command line.
        let refused = said.contains("try '--help'")
            || (line.program != LINERATE && output.status.code() == Some(USAGE));
        refused.then(|| format!("exit code {:?}: {said}", output.status.code()))
    });
}

/// Creates the files that lines name and that are read first.
fn given(directory: &Path) {
    let experiment = folder().join("documents/experiments/first-light.yaml");
    for name in ["FILE", "experiment.yaml", "nightly.yaml", "two-pairs.yaml"] {
        fs::copy(&experiment, directory.join(name)).unwrap();
    }
    fs::copy(folder().join("documents/profiles/voice.yaml"), directory.join("voice.yaml")).unwrap();
    fs::write(directory.join("token"), TOKEN).unwrap();
    fs::set_permissions(directory.join("token"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(directory.join("traffic.pcap"), recording()).unwrap();
}

/// Two frames, a millisecond apart, in tcpdump's format.
fn recording() -> Vec<u8> {
    const FRAME_BYTES: u32 = 60;
    let header = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1];
    let frame = |microseconds| [1_900_000_000, microseconds, FRAME_BYTES, FRAME_BYTES];
    let bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let data = vec![0x02; FRAME_BYTES as usize];
    [bytes(&header), bytes(&frame(0)), data.clone(), bytes(&frame(1000)), data].concat()
}

/// Shows that the two tests above can fail.
#[test]
fn lines_that_are_not_understood_are_refused() {
    let place = tempfile::tempdir().unwrap();
    for text in [
        "linerate run --pears 2",
        "linerate run --duration 10",
        "linerate results report 1f3c09aa --format docx",
        "linerate results compare 1f3c09aa 7b21e0d4 8c",
    ] {
        let output = Line::parse(text).with_help(place.path());
        assert_eq!(output.status.code(), Some(USAGE), "{text}: {}", stdout(&output));
    }
    let output = Line::parse("linerate run --resume --dry-run").in_vain(place.path());
    assert_eq!(output.status.code(), Some(USAGE));
}

#[test]
fn help_texts_are_as_recorded() {
    let test = "help_texts_are_as_recorded";
    let mut outputs = Outputs::of("command-lines/help");
    let mut all_built = true;
    for name in [LINERATE, DATAPLANE, CHECK] {
        let Some(path) = programs::needed(test, name) else {
            all_built = false;
            continue;
        };
        outputs.check(&format!("{name}.txt"), &helps(name, &path));
    }
    if all_built {
        outputs.end();
    }
}

/// `--help` of a program and of all its commands.
fn helps(name: &str, path: &Path) -> String {
    let mut text = String::new();
    let mut commands = VecDeque::from([Vec::<String>::new()]);
    while let Some(words) = commands.pop_front() {
        let mut command = program(path, Path::new("/"));
        if name == DATAPLANE {
            command.arg("--");
        }
        let help = programs::printed(command.args(&words).arg("--help"));
        let title = [&[name.to_owned()], &words[..]].concat().join(" ");
        text.push_str(&format!("===== {title} --help =====\n{help}\n"));
        for subcommand in subcommands(&help) {
            commands.push_back([&words[..], &[subcommand]].concat());
        }
    }
    text
}

fn subcommands(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    list.take_while(|line| !line.is_empty())
        // Continuation lines of descriptions are indented further.
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}
