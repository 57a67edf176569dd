//! The report as text: a table of all checks, then details of those that did not pass, worst first.

use std::fmt::Write as _;

use crate::check::{Check, Report, Status};

/// Longest line in columns. Commands are not wrapped.
const WIDTH: usize = 100;

/// Style of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// Colours the statuses.
    pub colour: bool,
    /// Shows the evidence of passed checks too.
    pub verbose: bool,
    /// Shows only failures, for readers who see only the end of a text.
    pub brief: bool,
}

/// The report as text, ending with a newline.
pub fn render(report: &Report, style: Style) -> String {
    let mut text = String::new();
    if !style.brief {
        table(&mut text, report, style);
    }
    let told = |check: &&Check| match style.brief {
        true => check.status == Status::Fail || (check.required && check.status == Status::Unknown),
        false => style.verbose || check.status != Status::Pass,
    };
    let mut worst_first: Vec<_> = report.checks.iter().filter(told).collect();
    worst_first.sort_by_key(|check| std::cmp::Reverse(check.status));
    for check in worst_first {
        details(&mut text, check, style);
    }
    let _ = writeln!(text, "\n{}", conclusion(report));
    text
}

fn table(text: &mut String, report: &Report, style: Style) {
    let width = report.checks.iter().map(|check| title(check).chars().count()).max().unwrap_or(0);
    let indent = 9 + width + 2;
    for check in &report.checks {
        let mut lines = wrap(&printable(&check.summary), WIDTH.saturating_sub(indent)).into_iter();
        let first = lines.next().unwrap_or_default();
        let _ = writeln!(text, "{}  {:<width$}  {first}", status(check.status, style), title(check));
        for line in lines {
            let _ = writeln!(text, "{:indent$}{line}", "");
        }
    }
}

fn details(text: &mut String, check: &Check, style: Style) {
    let _ = writeln!(text, "\n{}  {} [{}]", status(check.status, style), title(check), check.id);
    if style.brief {
        let _ = writeln!(text, "{}", printable(&check.summary));
    }
    field(text, "why", &[check.why.to_owned()]);
    let evidence: Vec<_> =
        check.evidence.iter().map(|seen| format!("{}: {}", seen.source, seen.observed)).collect();
    field(text, "read", &evidence);
    if let Some(remedy) = &check.remedy {
        for (label, command) in std::iter::once("type").chain(std::iter::repeat("")).zip(&remedy.commands) {
            let _ = writeln!(text, "  {label:>7}  {}", printable(command));
        }
        field(text, "note", remedy.note.as_slice());
    }
}

fn field(text: &mut String, label: &str, paragraphs: &[String]) {
    let lines = paragraphs.iter().flat_map(|paragraph| wrap(&printable(paragraph), WIDTH - 11));
    for (label, line) in std::iter::once(label).chain(std::iter::repeat("")).zip(lines) {
        let _ = writeln!(text, "  {label:>7}  {line}");
    }
}

fn title(check: &Check) -> String {
    match &check.subject {
        Some(subject) => format!("{} {subject}", check.title),
        None => check.title.to_owned(),
    }
}

fn status(status: Status, style: Style) -> String {
    let word = format!("{:<7}", status.as_str().to_uppercase());
    let colour = match status {
        Status::Pass => 32,
        Status::Warn => 33,
        Status::Unknown => 35,
        Status::Fail => 31,
    };
    if style.colour { format!("\u{1b}[{colour}m{word}\u{1b}[0m") } else { word }
}

/// The overall conclusion.
fn conclusion(report: &Report) -> String {
    let count = |status| report.checks.iter().filter(|check| check.status == status).count();
    let answer = match (report.status(), report.is_satisfied()) {
        (Status::Fail, _) => "DPDK will not work here as required.",
        (_, false) => "Whether DPDK works here as required could not be found out.",
        (Status::Unknown, _) => {
            "Nothing that was read speaks against DPDK here, but not everything could be read."
        }
        (Status::Warn, _) => "DPDK works here, within the limits above.",
        (Status::Pass, _) => "DPDK works here.",
    };
    let counts: Vec<_> = [Status::Pass, Status::Warn, Status::Unknown, Status::Fail]
        .into_iter()
        .filter(|&status| count(status) > 0)
        .map(|status| format!("{} {status}", count(status)))
        .collect();
    let typing = if report.checks.iter().any(|check| check.remedy.is_some()) {
        " Commands are for root, on the host itself."
    } else {
        ""
    };
    format!("{answer} ({}){typing}", counts.join(", "))
}

/// Escapes text read from files, which must not control the terminal.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Wraps at spaces; a word longer than `width` stays whole, so that paths can be copied.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let needed = word.chars().count() + 1;
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + needed <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Evidence, Remedy, Topic, Verdict};

    fn report() -> Report {
        let pages = Topic { id: "hugepages.free", title: "Free hugepages", why: "Buffers live there." };
        let iommu = Topic { id: "iommu.groups", title: "IOMMU", why: "VFIO needs groups." };
        let seen =
            |observed: &str| vec![Evidence { source: "/sys/x".to_owned(), observed: observed.to_owned() }];
        let remedy = Remedy::type_in(["reboot"]).note("Twice.");
        Report {
            root: "/".to_owned(),
            checks: vec![
                Verdict::pass("1024 MB = 512 × 2 MB").on(&pages, false, seen("total 512")),
                Verdict::fail("no group", remedy).on(&iommu, true, seen("evil\u{1b}[2J")),
            ],
        }
    }

    #[test]
    fn the_table_is_aligned_and_faults_are_explained() {
        assert_eq!(
            render(&report(), Style::default()),
            r"PASS     Free hugepages  1024 MB = 512 × 2 MB
FAIL     IOMMU           no group

FAIL     IOMMU [iommu.groups]
      why  VFIO needs groups.
     read  /sys/x: evil\u{1b}[2J
     type  reboot
     note  Twice.

DPDK will not work here as required. (1 pass, 1 fail) Commands are for root, on the host itself.
"
        );
    }

    #[test]
    fn verbose_shows_the_evidence_of_a_pass() {
        let text = render(&report(), Style { verbose: true, ..Style::default() });
        assert!(text.contains("read  /sys/x: total 512"), "{text}");
    }

    #[test]
    fn colour_is_used_only_on_request() {
        assert!(!render(&report(), Style::default()).contains('\u{1b}'));
        assert!(render(&report(), Style { colour: true, ..Style::default() }).contains("\u{1b}[31mFAIL"));
    }

    #[test]
    fn lines_break_at_spaces_only() {
        assert_eq!(wrap("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(wrap("/a/long/path x", 4), ["/a/long/path", "x"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn the_conclusion_answers_the_question() {
        let mut report = report();
        report.checks.pop();
        assert_eq!(conclusion(&report), "DPDK works here. (1 pass)");
        report.checks[0].status = Status::Unknown;
        assert!(conclusion(&report).starts_with("Nothing that was read"));
        report.checks[0].required = true;
        assert!(conclusion(&report).starts_with("Whether"));
        report.checks.clear();
        assert!(conclusion(&report).starts_with("DPDK works here."));
    }
}
