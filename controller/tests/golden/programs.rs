//! The built programs, run so that their output depends on their input only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(crate) const LINERATE: &str = "linerate";
pub(crate) const DATAPLANE: &str = "linerate-dataplane";
pub(crate) const CHECK: &str = "hugepage-check";
/// Variables that programs need to start; all others are removed.
const KEPT: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", "HOME", "LLVM_PROFILE_FILE"];

/// Path of a program: those of other packages are beside `linerate`. `None` when it was not built.
pub(crate) fn path(program: &str) -> Option<PathBuf> {
    let linerate = Path::new(env!("CARGO_BIN_EXE_linerate"));
    let named = (program == DATAPLANE).then(|| std::env::var_os("LINERATE_DATAPLANE")).flatten();
    let path = named.map_or_else(|| linerate.with_file_name(program), PathBuf::from);
    path.is_file().then_some(path)
}

/// Path of a program that a test needs; without it the test reports that it did not run.
pub(crate) fn needed(test: &str, program: &str) -> Option<PathBuf> {
    let found = path(program);
    if found.is_none() {
        not_run(test, &format!("{program} is not built; run first: cargo build --workspace"));
    }
    found
}

/// Reports on standard error that a test could not run here, in the form that `scripts/test.sh` counts.
fn not_run(test: &str, reason: &str) {
    let line = format!("NOT RUN {test}: {reason}\n");
    if let Some(path) = std::env::var_os("LINERATE_NOT_RUN") {
        let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, line.as_bytes()).unwrap();
    }
    eprint!("{line}");
}

/// A program in `directory`: with a fixed width and a time zone far from UTC, without the user's settings and
/// clusters.
pub(crate) fn program(path: &Path, directory: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_clear().stdin(Stdio::null()).current_dir(directory);
    for name in KEPT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.envs([("COLUMNS", "100"), ("TZ", "America/St_Johns"), ("LC_ALL", "C")]);
    command.env("KUBECONFIG", "/nonexistent/kubeconfig");
    command
}

/// `linerate` in `directory`.
pub(crate) fn linerate(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = program(Path::new(env!("CARGO_BIN_EXE_linerate")), directory);
    command.args(arguments);
    command
}

/// The first CPU that this process may use.
pub(crate) fn first_cpu() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    allowed.trim().split([',', '-']).next().unwrap().to_owned()
}

/// Output and exit code of a program, for a golden file. Standard error and the code are included unless
/// empty and zero.
pub(crate) fn transcript(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let mut text = stdout(&output);
    if !output.stderr.is_empty() {
        text.push_str(&format!("[standard error]\n{}", stderr(&output)));
    }
    match output.status.code() {
        Some(0) => {}
        code => text.push_str(&format!("[exit code {}]\n", code.unwrap())),
    }
    text
}

/// Output of a program, which must succeed.
pub(crate) fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", stderr(&output));
    stdout(&output)
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
