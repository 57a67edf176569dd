//! The section of HTTP: from made-up trials to what a reader sees.

use linerate_experiment::http::HttpTarget;
use linerate_results::fixtures;
use linerate_results::fixtures::http::{context, record};
use linerate_results::http::HttpTrialSummary;
use linerate_results::store::Recorded;
use linerate_results::summary::{Status, Summary};
use linerate_wire::http::Arrivals;

use super::super::super::source::Source;
use super::super::super::{ReportFormat, report};

fn summary() -> Summary {
    let mut summary = fixtures::summary(Status::Complete);
    summary.trials.clear();
    summary.aggregates.clear();
    for (backends, repeat) in [(1, 1), (1, 2), (4, 1), (4, 2)] {
        let answers = vec![1000 + 10 * u64::from(repeat); backends];
        let mut trial = HttpTrialSummary::of(
            &record(HttpTarget::NftablesRandom, Arrivals::Constant(1000.0), &answers),
            context(),
        );
        trial.profile = format!("nftables-random_{backends}_backends");
        trial.repeat = repeat;
        summary.http.push(trial);
    }
    summary
}

#[test]
fn a_report_has_the_answer_the_scaling_and_the_spread() {
    let recorded = Recorded { directory: std::env::temp_dir().join("none"), summary: summary() };
    let source = Source::without_records(&recorded).unwrap();
    let page = ReportFormat::Md.render(&report(&source), &source.summary).unwrap();
    let text = String::from_utf8(page).unwrap().replace('\\', "");
    for part in [
        "# HTTP",
        "believe the corrected latency",
        "nftables-random_4_backends repeat 2",
        "requests/s of 1,000 intended to nftables-random",
        "waited 1.5 s until b3 answered; 2 of 12 probes failed and were sent again",
        "Student's 95 % interval",
        "Spread over 8 backends",
        "clean",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("# Streams"), "{text}");
}
