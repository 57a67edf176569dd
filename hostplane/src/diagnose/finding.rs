//! A finding: what is wrong, how bad it is, the numbers that say so, and what to type.

use hugepage_check::check::Remedy;
use serde::Serialize;

/// How bad a finding is; the worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Worth knowing.
    Note,
    /// It costs performance, or soon will.
    Warning,
    /// Something does not work.
    Fault,
}

impl Severity {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Fault => "fault",
        }
    }
}

/// Something that the diagnosis found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Stable name for scripts, such as `asymmetry`.
    pub(crate) name: &'static str,
    pub(crate) severity: Severity,
    /// One or two sentences.
    pub(crate) words: String,
    /// Figures, each in a few words.
    pub(crate) evidence: Vec<String>,
    pub(crate) remedy: Remedy,
}

impl Finding {
    pub(super) fn new(name: &'static str, severity: Severity, words: impl Into<String>) -> Self {
        Self { name, severity, words: words.into(), evidence: Vec::new(), remedy: Remedy::default() }
    }

    pub(super) fn fact(mut self, fact: impl Into<String>) -> Self {
        self.evidence.push(fact.into());
        self
    }

    pub(super) fn facts(mut self, facts: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(facts);
        self
    }

    pub(super) fn remedy(mut self, remedy: Remedy) -> Self {
        self.remedy = remedy;
        self
    }
}
