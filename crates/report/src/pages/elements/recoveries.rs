//! Pairs that were lost during a trial and recovered.

use super::super::model::{Block, Finding, Section, Tone};
use super::super::number::things;
use super::super::source::Source;

pub(super) fn section(source: &Source) -> Option<Section> {
    let recoveries = &source.summary.recoveries;
    if recoveries.is_empty() {
        return None;
    }
    let text = format!(
        "{} lost an agent in a trial and came back. Nothing of such an attempt is in the results: the trial was repeated.",
        if recoveries.len() == 1 {
            "Once a pair".to_owned()
        } else {
            format!("In {} a pair", things(recoveries.len(), "case"))
        }
    );
    let findings = recoveries.iter().map(|recovery| {
        let (pair, how) = recovery.split_once(' ').unwrap_or((recovery, ""));
        Finding {
            tone: Tone::Warning,
            badge: "brought back".to_owned(),
            subject: pair.to_owned(),
            evidence: how.to_owned(),
        }
    });
    let blocks = vec![Block::Text(text), Block::Findings(findings.collect())];
    Some(Section { id: "recoveries", title: "Recoveries", blocks })
}
