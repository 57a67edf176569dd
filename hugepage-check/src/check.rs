//! Result of a check: status, evidence, reason, remedy.

use std::fmt;

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use crate::root::{ReadError, Reason, Root, Shown};

/// The outcome of a check, from good to bad.
///
/// `Unknown` ranks above `Warn`: a warning is understood, whereas an unread file may hide any problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Meets DPDK's needs.
    Pass,
    /// DPDK works, with the limits that the summary states.
    Warn,
    /// Unknown; the summary names the path that could not be read.
    Unknown,
    /// A required function will not work.
    Fail,
}

impl Status {
    /// The word used in JSON and in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Unknown => "unknown",
            Self::Fail => "fail",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A source that was read, and its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The path, root included.
    pub source: String,
    /// Its content, shortened to the relevant part.
    pub observed: String,
}

impl Evidence {
    /// Content read from `path` below `root`.
    pub fn new(root: &Root, path: &str, observed: impl Into<String>) -> Self {
        Self { source: Shown(root, path).to_string(), observed: observed.into() }
    }
}

impl From<&ReadError> for Evidence {
    fn from(error: &ReadError) -> Self {
        Self { source: error.path.display().to_string(), observed: error.reason.to_string() }
    }
}

/// Remedy of a finding.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Remedy {
    /// Shell commands in order, to be run as root on the host itself.
    pub commands: Vec<String>,
    /// Remarks on the commands: alternatives, and what to check afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Remedy {
    /// A remedy of commands.
    pub fn type_in<S: Into<String>>(commands: impl IntoIterator<Item = S>) -> Self {
        Self { commands: commands.into_iter().map(Into::into).collect(), note: None }
    }

    /// Adds a note.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

impl From<&ReadError> for Remedy {
    fn from(error: &ReadError) -> Self {
        let look = Self::type_in([format!("ls -ld {}", shell_word(&error.path.to_string_lossy()))]);
        look.note(match error.reason {
            Reason::Missing => "Nothing is there: is sysfs or procfs mounted, and is the root the right one?",
            Reason::Denied => "Run the check again as root.",
            _ => "The kernel does not write it like this: see what is mounted there.",
        })
    }
}

impl fmt::Display for Remedy {
    /// One line: the commands joined by `&&`, the note in parentheses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.commands.join(" && "))?;
        match &self.note {
            Some(note) if self.commands.is_empty() => f.write_str(note),
            Some(note) => write!(f, " ({})", note.trim_end_matches('.')),
            None => Ok(()),
        }
    }
}

/// The constant part of a check.
#[derive(Debug, Clone, Copy)]
pub struct Topic {
    /// Stable identifier for scripts, such as `hugepages.free`.
    pub id: &'static str,
    /// Short title for people.
    pub title: &'static str,
    /// Reason why DPDK needs it.
    pub why: &'static str,
}

/// Result of a check: its decision and the evidence, or the read error.
pub type Outcome = Result<(Verdict, Vec<Evidence>), ReadError>;

impl Topic {
    /// The check with the given `outcome`; a read error becomes unknown.
    pub fn judge(&self, required: bool, outcome: Outcome) -> Check {
        let (verdict, evidence) =
            outcome.unwrap_or_else(|error| (Verdict::unknown(&error), vec![Evidence::from(&error)]));
        verdict.on(self, required, evidence)
    }
}

/// A decision without topic and evidence. Only a pass has no remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The outcome.
    pub status: Status,
    /// The finding in one sentence.
    pub summary: String,
    /// Remedy; `None` only for a pass.
    pub remedy: Option<Remedy>,
}

impl Verdict {
    /// The state is good.
    pub fn pass(summary: impl Into<String>) -> Self {
        Self { status: Status::Pass, summary: summary.into(), remedy: None }
    }

    /// It works, with a limit.
    pub fn warn(summary: impl Into<String>, remedy: Remedy) -> Self {
        Self { status: Status::Warn, summary: summary.into(), remedy: Some(remedy) }
    }

    /// It will not work.
    pub fn fail(summary: impl Into<String>, remedy: Remedy) -> Self {
        Self { status: Status::Fail, summary: summary.into(), remedy: Some(remedy) }
    }

    /// A fault that fails when a requirement depends on it, and warns otherwise.
    pub fn fault(required: bool, summary: impl Into<String>, remedy: Remedy) -> Self {
        if required { Self::fail(summary, remedy) } else { Self::warn(summary, remedy) }
    }

    /// The state could not be read.
    pub fn unknown(error: &ReadError) -> Self {
        Self {
            status: Status::Unknown,
            summary: format!("unknown: {error}"),
            remedy: Some(Remedy::from(error)),
        }
    }

    /// Combines the decision with its topic.
    pub fn on(self, topic: &Topic, required: bool, evidence: Vec<Evidence>) -> Check {
        let Self { status, summary, remedy } = self;
        let Topic { id, title, why } = *topic;
        Check { id, subject: None, title, status, required, summary, evidence, why, remedy }
    }
}

/// One check and its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Stable identifier for scripts, such as `hugepages.free`.
    pub id: &'static str,
    /// Subject of a check that runs several times: a PCI address, an interface, a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Short title for people.
    pub title: &'static str,
    /// The outcome.
    pub status: Status,
    /// True when a requirement depends on it.
    pub required: bool,
    /// The finding in one sentence.
    pub summary: String,
    /// The sources read and their content.
    pub evidence: Vec<Evidence>,
    /// Reason why DPDK needs it.
    pub why: &'static str,
    /// Remedy; absent only for a pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
}

impl Check {
    /// The same check, for one of several subjects.
    pub fn about(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }
}

/// All checks of one run, in a fixed order. Serializes as `{"status", "satisfied", "root", "checks"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The root directory of the checks.
    pub root: String,
    /// The checks.
    pub checks: Vec<Check>,
}

impl Report {
    /// The worst status of all checks; [`Status::Pass`] when there are none.
    pub fn status(&self) -> Status {
        self.checks.iter().map(|check| check.status).max().unwrap_or(Status::Pass)
    }

    /// True when no check failed and the state of every requirement is known.
    pub fn is_satisfied(&self) -> bool {
        self.checks.iter().all(|check| match check.status {
            Status::Pass | Status::Warn => true,
            Status::Unknown => !check.required,
            Status::Fail => false,
        })
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Report", 4)?;
        object.serialize_field("status", &self.status())?;
        object.serialize_field("satisfied", &self.is_satisfied())?;
        object.serialize_field("root", &self.root)?;
        object.serialize_field("checks", &self.checks)?;
        object.end()
    }
}

/// `text` as one word of a shell command line, quoted only when necessary.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:+,@=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: Topic = Topic { id: "a.b", title: "A", why: "because" };

    fn report(checks: &[(Status, bool)]) -> Report {
        let check = |&(status, required)| {
            let verdict = Verdict { status, summary: String::new(), remedy: None };
            verdict.on(&TOPIC, required, Vec::new())
        };
        Report { root: "/".to_owned(), checks: checks.iter().map(check).collect() }
    }

    #[test]
    fn the_worst_check_decides() {
        use Status::{Fail, Pass, Unknown, Warn};
        for (checks, status, satisfied) in [
            (vec![], Pass, true),
            (vec![(Pass, true), (Warn, true)], Warn, true),
            (vec![(Warn, false), (Unknown, false)], Unknown, true),
            (vec![(Unknown, true)], Unknown, false),
            (vec![(Fail, false), (Unknown, false), (Pass, false)], Fail, false),
        ] {
            let report = report(&checks);
            assert_eq!((report.status(), report.is_satisfied()), (status, satisfied), "{checks:?}");
        }
    }

    #[test]
    fn json_carries_the_overall_status() {
        let json = serde_json::to_value(report(&[(Status::Warn, false)])).unwrap();
        assert_eq!(json["status"], "warn");
        assert_eq!(json["satisfied"], true);
        assert_eq!(json["checks"][0]["id"], "a.b");
        assert_eq!(json["checks"][0].get("remedy"), None);
    }

    #[test]
    fn shell_words_survive_the_shell() {
        for (text, word) in [
            ("/dev/hugepages", "/dev/hugepages"),
            ("/mnt/huge pages", "'/mnt/huge pages'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("$(reboot)", "'$(reboot)'"),
        ] {
            assert_eq!(shell_word(text), word);
        }
    }

    #[test]
    fn a_remedy_fits_on_one_line() {
        assert_eq!(Remedy::type_in(["a", "b"]).note("Then look.").to_string(), "a && b (Then look)");
        assert_eq!(Remedy::default().note("Ask.").to_string(), "Ask.");
    }
}
