//! Foreign results: paths out of the results directory and implausible values are refused by name. Nothing is
//! written elsewhere, nothing panics.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::support::{Bench, linerate, stderr, stdout};
use serde_json::Value;

const SHORT: &str = "  traffic: {frameSizes: [64], rates: [5kpps]}
  trial: {duration: 60ms, sampleInterval: 20ms}
";
/// Commands that read results; some write, with or without `--to`.
const COMMANDS: [&[&str]; 9] = [
    &["export", "ID"],
    &["export", "ID", "--to", "OUT"],
    &["report", "ID", "--format", "html,md,latex,xlsx", "--to", "OUT"],
    &["show", "ID"],
    &["list"],
    &["scan", "ID"],
    &["compare", "ID", "ID"],
    &["validate", "ID"],
    &["backup", "ID", "--to", "OUT/backup.tar.gz"],
];

/// The results of one real experiment, by their names below its directory: every case damages a copy.
static RECORDED: LazyLock<Recorded> = LazyLock::new(|| {
    let bench = Bench::new(SHORT);
    let output = bench.run(&["--quiet"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let summary = bench.summary().unwrap();
    let (id, trial) = (summary.experiment.id.clone(), summary.trials[0].trial.clone());
    let mut files = Vec::new();
    walk(&bench.path("results"), &mut files);
    files.retain(|(path, _)| path.is_file());
    for (path, _) in &mut files {
        *path = path.strip_prefix(bench.path("results")).unwrap().to_owned();
    }
    Recorded { id, trial, files }
});

struct Recorded {
    id: String,
    trial: String,
    files: Vec<(PathBuf, Vec<u8>)>,
}

/// A results directory of a real experiment, inside a directory whose files are all known.
struct Foreign {
    bench: Bench,
    id: String,
    trial: String,
}

impl Foreign {
    fn new() -> Self {
        let Recorded { id, trial, files } = &*RECORDED;
        let bench = Bench::new(SHORT);
        for (path, content) in files {
            let path = bench.path("results").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        fs::create_dir(bench.path("elsewhere")).unwrap();
        fs::write(bench.path("elsewhere/kept"), "kept").unwrap();
        Self { bench, id: id.clone(), trial: trial.clone() }
    }

    fn directory(&self) -> PathBuf {
        self.bench.path("results").join(&self.id)
    }

    /// Replaces a field in a file by `text` (JSON).
    fn set(&self, file: &str, field: &str, text: &str) {
        let path = self.directory().join(file);
        let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        *value.pointer_mut(field).unwrap_or_else(|| panic!("{file} has no {field}")) = "PLACE".into();
        fs::write(&path, value.to_string().replace("\"PLACE\"", text)).unwrap();
    }

    /// Runs every command; returns the outputs.
    fn attack(&self) -> Vec<(String, i32, String)> {
        self.attack_with(&COMMANDS)
    }

    fn attack_with(&self, commands: &[&[&str]]) -> Vec<(String, i32, String)> {
        let out = self.bench.path("out");
        fs::create_dir_all(&out).unwrap();
        let before = self.outside();
        let mut said = Vec::new();
        for command in commands {
            let mut words: Vec<String> = command
                .iter()
                .map(|word| word.replace("ID", &self.id).replace("OUT", out.to_str().unwrap()))
                .collect();
            words.extend(["--results".to_owned(), self.bench.path("results").display().to_string()]);
            let words: Vec<&str> = ["results"].into_iter().chain(words.iter().map(String::as_str)).collect();
            let output = linerate(&words);
            let text = stdout(&output) + &stderr(&output);
            let code = output.status.code().unwrap_or_else(|| panic!("{words:?} was killed: {text}"));
            assert!(code != 101 && !text.contains("panicked"), "{words:?}: {text}");
            assert_eq!(self.outside(), before, "{words:?} wrote outside of the results: {text}");
            said.push((command.join(" "), code, text));
        }
        let _ = fs::remove_dir_all(&out);
        said
    }

    /// All files other than the results and the requested outputs.
    fn outside(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let root = self.bench.path("");
        let mut found = Vec::new();
        walk(&root, &mut found);
        for (path, _) in &mut found {
            *path = path.strip_prefix(&root).unwrap().to_owned();
        }
        found.retain(|(path, _)| {
            let inside = Path::new("results").join(&self.id);
            !path.starts_with(inside)
                && !path.starts_with("out")
                && !path.ends_with("summary_all_experiments.csv")
        });
        found
    }
}

fn walk(directory: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(std::fs::DirEntry::path);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.push((path.clone(), Vec::new()));
            walk(&path, found);
        } else if kind.is_file() {
            // For a huge file, one of the attacks, its existence is enough.
            let small = entry.metadata().unwrap().len() < 64 << 20;
            found.push((path.clone(), if small { fs::read(&path).unwrap() } else { Vec::new() }));
        }
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused_by_file_and_field() {
    let long = format!("\"{}\"", "x".repeat(300));
    for (file, field, value) in [
        ("summary.json", "/trials/0/trial", r#""../../elsewhere/trial.json""#),
        ("summary.json", "/trials/0/trial", r#""/etc/passwd""#),
        ("summary.json", "/trials/0/trial", r#""tx0-rx0/../../../elsewhere/trial.json""#),
        ("summary.json", "/trials/0/pair", r#""../../elsewhere/x-y""#),
        ("summary.json", "/trials/0/pair", r#""tx0\u0000-rx0""#),
        ("summary.json", "/trials/0/pair", r#""tx0-\u001b]0;mine\u0007""#),
        ("summary.json", "/trials/0/pair", r#""..""#),
        ("summary.json", "/trials/0/pair", r#""""#),
        ("summary.json", "/trials/0/profile", &long),
        ("summary.json", "/experiment/id", r#""../../elsewhere/0badf00d""#),
        ("summary.json", "/experiment/agents/0/node", r#""../../elsewhere/node""#),
        ("TRIAL", "/pair", r#""../../../elsewhere/x-y""#),
        ("TRIAL", "/profile", r#""../../../elsewhere/p""#),
    ] {
        let foreign = Foreign::new();
        let file = file.replace("TRIAL", &foreign.trial);
        foreign.set(&file, field, value);
        let said = foreign.attack();
        for (command, code, text) in &said {
            assert!(!text.contains(['\u{1b}', '\u{7}', '\0']), "{command}: {text:?}");
            if command.starts_with("export") {
                let last = field.rsplit('/').next().unwrap();
                assert_eq!(*code, 1, "{command} took {field} = {value}: {text}");
                assert!(text.contains(&file) && text.contains(last), "{command}: {text}");
            }
        }
        let (_, code, text) = said.iter().find(|(command, ..)| command.starts_with("validate")).unwrap();
        assert_eq!(*code, 1, "{field} = {value} is valid: {text}");
    }
}

#[test]
fn links_of_foreign_results_are_not_followed() {
    // Links in place of the pair's directory and of a trial's.
    for link in ["tx0-rx0", "tx0-rx0/PROFILE"] {
        let foreign = Foreign::new();
        let profile = foreign.trial.split('/').nth(1).unwrap().to_owned();
        let place = foreign.directory().join(link.replace("PROFILE", &profile));
        let target = foreign.bench.path("elsewhere").join("taken");
        fs::rename(&place, &target).unwrap();
        symlink(&target, &place).unwrap();
        for (command, code, text) in foreign.attack() {
            if command.starts_with("export") {
                assert!(code == 1 && text.contains("symbolic link"), "{command}: {text}");
            }
        }
    }
    // A link in place of the experiment's directory: nothing is written to its target.
    let foreign = Foreign::new();
    let target = foreign.bench.path("elsewhere").join("taken");
    fs::rename(foreign.directory(), &target).unwrap();
    symlink(&target, foreign.directory()).unwrap();
    let exported = &foreign.attack()[0];
    assert!(exported.1 == 1 && exported.2.contains("symbolic link"), "{exported:?}");
    // A file that refers to foreign secrets.
    let foreign = Foreign::new();
    let secret = foreign.bench.path("elsewhere").join("secret");
    fs::write(&secret, "do-not-tell").unwrap();
    for entry in fs::read_dir(foreign.directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().ends_with("_cmdline.txt") {
            fs::remove_file(&path).unwrap();
            symlink(&secret, &path).unwrap();
        }
    }
    foreign.attack();
    let told = |path: &PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap()).contains("do-not-tell");
    assert!(!foreign.bench.files().iter().filter(|path| !path.is_symlink()).any(told));
}

#[test]
fn numbers_that_nothing_counts_are_refused_by_file_and_field() {
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (file, field, value) in [
        ("summary.json", "/trials/0/sent_packets", "18446744073709551616"),
        ("summary.json", "/trials/0/lost_packets", "NaN"),
        ("summary.json", "/trials/0/offered_pps", "1e999"),
        ("summary.json", "/trials/0/offered_pps", "-Infinity"),
        ("summary.json", "/trials/0/duration_s", "1e300"),
        ("summary.json", "/trials/0/notes", &nested),
        ("summary.json", "/overhead/total_s", "1e40"),
        ("TRIAL", "/samples/tx/0/at_ns", "9223372036854775808"),
        ("TRIAL", "/samples/rx/0/receive/packets", "18446744073709551616"),
        ("TRIAL", "/samples", &nested),
    ] {
        let foreign = Foreign::new();
        let file = file.replace("TRIAL", &foreign.trial);
        foreign.set(&file, field, value);
        let field = field.rsplit('/').next().unwrap();
        let said = foreign.attack();
        let (_, code, text) = &said[0];
        assert!(*code == 1 && text.contains(&file) && text.contains(field), "{field} = {value:.30}: {text}");
        let (_, code, text) = said.iter().find(|(command, ..)| command.starts_with("validate")).unwrap();
        assert_eq!(*code, 1, "{field} = {value:.30} is valid: {text}");
    }
}

#[test]
fn large_numbers_that_may_be_counts_overflow_nothing() {
    for field in ["sent_packets", "received_packets", "lost_packets", "foreign_packets"] {
        let foreign = Foreign::new();
        for (file, at) in [("summary.json", "/trials/0"), (&foreign.trial[..], "/result")] {
            foreign.set(file, &format!("{at}/{field}"), "18446744073709551615");
        }
        foreign.attack();
    }
    for (field, value) in [
        ("tx/0/at_ns", "9223372036854775807"),
        ("tx/0/at_ns", "-9223372036854775808"),
        ("tx/0/port/tx_bytes", "18446744073709551615"),
        ("rx/0/receive/delay_sum_ns", "18446744073709551615"),
    ] {
        let foreign = Foreign::new();
        foreign.set(&foreign.trial, &format!("/samples/{field}"), value);
        foreign.attack();
    }
    let foreign = Foreign::new();
    for field in ["planned_trials", "pairs"] {
        foreign.set("summary.json", &format!("/experiment/{field}"), "18446744073709551615");
    }
    foreign.attack();
}

#[test]
fn huge_files_and_pipes_are_not_read() {
    for name in ["summary.json", "manifest.json", "environment.json", "TRIAL"] {
        let foreign = Foreign::new();
        let path = foreign.directory().join(name.replace("TRIAL", &foreign.trial));
        // A sparse file needs no disk space, but all memory if it is read.
        fs::File::create(&path).unwrap().set_len(200 << 30).unwrap();
        // A backup rightly contains the whole file.
        let said = foreign.attack_with(&COMMANDS[..COMMANDS.len() - 1]);
        let (_, code, text) = said.iter().find(|(command, ..)| command.starts_with("validate")).unwrap();
        // Files of recorded size are refused by their size, others by the limit of reading.
        let refused = text.contains("at most") || text.contains("wrong checksum: it has 214748364800 bytes");
        assert!(*code == 1 && refused, "{name}: {text}");
        fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let said = foreign.attack();
        let (_, code, text) = said.iter().find(|(command, ..)| command.starts_with("validate")).unwrap();
        assert!(
            *code == 1 && (text.contains("plain file") || text.contains("missing file")),
            "{name}: {text}"
        );
    }
}
