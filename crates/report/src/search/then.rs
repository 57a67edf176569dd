//! Benchmarks that followed searches, in words: the same in pages and tables.

use linerate_results::summary::FollowUpSummary;
use linerate_search::methods::{
    BackToBackConclusion, BurstStatus, Conclusion, Delays, Deviation, LatencyConclusion, LossCurveConclusion,
    Partial, RecoveryConclusion, RecoveryTime, ServiceConclusion, SoakConclusion, StepKind, StepVerdict,
};

use super::{pps, searches};
use crate::pages::number::{count, microseconds, percent, short, things};

/// What a benchmark comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BenchmarkOutcome {
    /// It has its result.
    Done,
    /// Its result has limits, which its text states.
    Limited,
    /// A criterion is missed, or there is no result.
    Failed,
}

/// A benchmark that followed a search, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What it is.
    pub title: &'static str,
    /// What it comes to.
    pub outcome: BenchmarkOutcome,
    /// The same in one or two words.
    pub badge: String,
    /// Its results, each in a sentence.
    pub lines: Vec<String>,
}

/// A benchmark in words.
pub fn told(follow: &FollowUpSummary) -> Told {
    let mut told = match &follow.conclusion {
        None => Told {
            title: title(&follow.name),
            outcome: BenchmarkOutcome::Failed,
            badge: "no result".into(),
            lines: vec![],
        },
        Some(Conclusion::Latency(found)) => latency(found),
        Some(Conclusion::LossCurve(found)) => loss_curve(found),
        Some(Conclusion::BackToBack(found)) => back_to_back(found),
        Some(Conclusion::Recovery(found)) => recovery(found),
        Some(Conclusion::Service(found)) => service(found),
        Some(Conclusion::Soak(found)) => soak(found),
    };
    if !follow.complete {
        (told.outcome, told.badge) = (BenchmarkOutcome::Failed, "not complete".to_owned());
        let trials = things(follow.trials as usize, "trial");
        let reason = follow.reason.as_deref().unwrap_or("the run ended first");
        told.lines.push(format!("after {trials}: {reason}"));
    }
    told
}

/// How its trials deviate from the standard.
pub fn deviations(follow: &FollowUpSummary) -> &[Deviation] {
    match &follow.conclusion {
        Some(Conclusion::Latency(found)) => &found.deviations,
        Some(Conclusion::LossCurve(found)) => &found.deviations,
        Some(Conclusion::BackToBack(found)) => &found.deviations,
        Some(Conclusion::Recovery(found)) => &found.deviations,
        Some(Conclusion::Service(found)) => &found.deviations,
        Some(Conclusion::Soak(_)) | None => &[],
    }
}

fn title(name: &str) -> &'static str {
    match name {
        "latency" => "latency",
        "lossCurve" => "frame loss rate",
        "backToBack" => "back-to-back frames",
        "recovery" => "system recovery",
        "service" => "service activation (Y.1564)",
        "soak" => "soak",
        _ => "benchmark",
    }
}

fn done(name: &str, lines: Vec<String>) -> Told {
    Told { title: title(name), outcome: BenchmarkOutcome::Done, badge: "measured".to_owned(), lines }
}

fn latency(found: &LatencyConclusion) -> Told {
    let line = |at: &linerate_search::methods::LatencyAt| {
        let head = format!("{} ({})", at.name, pps(at.load_pps as f64));
        let of = if at.trials > 1 { format!(", median of {} trials", at.trials) } else { String::new() };
        match &at.median {
            Some(Delays { p50, p99, p999, max, .. }) => format!(
                "{head}: p50 {}, p99 {}, p99.9 {}, max {} µs{of}",
                microseconds(*p50),
                microseconds(*p99),
                microseconds(*p999),
                microseconds(*max)
            ),
            None => format!("{head}: no delay is known: nothing arrived, or the clocks cannot be compared"),
        }
    };
    let told = done("latency", found.at.iter().map(line).collect());
    if let Some(at) = found.at.iter().find(|at| at.unsent_packets > 0) {
        let not_sent = things(at.unsent_packets as usize, "packet");
        let line = format!("{}: {not_sent} were not sent, so the delays are those of a lower load", at.name);
        let lines = [told.lines, vec![line]].concat();
        return Told { outcome: BenchmarkOutcome::Limited, badge: "load not held".to_owned(), lines, ..told };
    }
    match found.at.iter().any(|at| at.trials_without_delays > 0) {
        true => Told { outcome: BenchmarkOutcome::Limited, badge: "partly known".to_owned(), ..told },
        false => told,
    }
}

fn loss_curve(found: &LossCurveConclusion) -> Told {
    let lossy = found.points.iter().filter(|point| point.lost_packets > 0);
    let each: Vec<String> = lossy
        .map(|point| format!("{} % at {} %", percent(point.loss_ratio), short(100.0 * point.share)))
        .collect();
    let clean = found.points.iter().rev().take_while(|point| point.lost_packets == 0).collect::<Vec<_>>();
    let mut text =
        if each.is_empty() { "no loss at any load".to_owned() } else { format!("loss {}", each.join(", ")) };
    if let Some(point) = clean.last().filter(|_| !each.is_empty()) {
        let and_below = if clean.len() > 1 { " and below" } else { "" };
        text.push_str(&format!("; none at {} %{and_below}", short(100.0 * point.share)));
    }
    let mut lines = vec![format!("{text} of {}", pps(found.max_load_pps as f64))];
    let why = found.partial.iter().map(|partial| match partial {
        Partial::NotFromMaximum => "it does not begin at the maximum rate of the link",
        Partial::NotOffered => "a load was not offered",
        Partial::NotTwoClean => "no two trials in a row lost nothing",
        Partial::LostInTester => {
            "the tester lost packets itself, or received them too late to tell: these are left out of the loss"
        }
    });
    let why: Vec<&str> = why.collect();
    let told = done("lossCurve", Vec::new());
    if why.is_empty() {
        return Told { lines, ..told };
    }
    lines.push(why.join("; "));
    Told { outcome: BenchmarkOutcome::Limited, badge: "partial range".to_owned(), lines, ..told }
}

fn back_to_back(found: &BackToBackConclusion) -> Told {
    let number = searches(found.searches.len());
    let mut lines = Vec::new();
    if let (Some(mean), Some(min), Some(max)) = (found.mean_frames, found.min_frames, found.max_frames) {
        lines.push(format!(
            "longest burst without loss {} frames (mean of {number}, {} to {})",
            short(mean),
            count(min),
            count(max)
        ));
    }
    if let (Some(implied), Some(corrected), Some(frames)) =
        (found.implied_buffer_s, found.corrected_buffer_s, found.corrected_buffer_frames)
    {
        lines.push(format!(
            "buffer {} ms or {} frames, corrected for what was forwarded during the burst ({} ms without that)",
            short(1e3 * corrected),
            short(frames.round()),
            short(1e3 * implied)
        ));
    }
    let (outcome, badge, why) = match found.status {
        BurstStatus::Valid => return done("backToBack", lines),
        BurstStatus::NotApplicable => (
            BenchmarkOutcome::Limited,
            "not applicable",
            "the path forwards these frames at the rate of the link, so no burst fills its buffer",
        ),
        BurstStatus::NearLargestBurst => {
            (BenchmarkOutcome::Failed, "invalid", "the result is near the longest burst that was tried")
        }
        BurstStatus::NoBurst => {
            (BenchmarkOutcome::Failed, "no result", "a search found no burst without loss")
        }
        BurstStatus::NotBackToBack => {
            (BenchmarkOutcome::Failed, "invalid", "bursts did not leave whole, or not at the smallest gap")
        }
        BurstStatus::TesterLimited => {
            (BenchmarkOutcome::Limited, "tester limited", "frames were lost in the tester")
        }
        BurstStatus::Unfinished => {
            (BenchmarkOutcome::Failed, "not complete", "there are fewer searches than asked for")
        }
    };
    lines.push(why.to_owned());
    Told { title: title("backToBack"), outcome, badge: badge.to_owned(), lines }
}

fn recovery(found: &RecoveryConclusion) -> Told {
    let load = format!(
        "an overload of {} for {} s, then {}",
        pps(found.overload_pps as f64),
        short(found.overload_s),
        pps(found.after_pps as f64)
    );
    if let (Some(mean), Some(min), Some(max)) = (found.mean_s, found.min_s, found.max_s) {
        let spread = match found.trials.len() {
            1 => String::new(),
            trials => format!(" (mean of {trials} trials, {} to {} s)", short(min), short(max)),
        };
        return done("recovery", vec![format!("{} s{spread} after {load}", short(mean))]);
    }
    let why = found.trials.iter().find_map(|trial| match trial.recovery {
        RecoveryTime::Known { .. } => None,
        RecoveryTime::NotRecovered => Some("packets were still lost at the end of the trial"),
        RecoveryTime::NoOverload => Some("the overload lost nothing"),
        RecoveryTime::Unknown => Some("the time of some losses is not known"),
        RecoveryTime::NotOffered => Some("the overload was not offered"),
        RecoveryTime::LostInTester => {
            Some("the tester lost packets itself, or received them too late to tell")
        }
    });
    let line = format!("no recovery time after {load}: {}", why.unwrap_or("there is no trial"));
    Told {
        title: title("recovery"),
        outcome: BenchmarkOutcome::Failed,
        badge: "no result".to_owned(),
        lines: vec![line],
    }
}

fn verdict(verdict: StepVerdict) -> &'static str {
    match verdict {
        StepVerdict::Pass => "passed",
        StepVerdict::Unknown => "cannot be judged",
        StepVerdict::Fail => "failed",
    }
}

/// Name of a step of a service activation test.
pub fn step(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Committed => "committed rate",
        StepKind::Excess => "committed and excess rate",
        StepKind::Policing => "policing",
        StepKind::Performance => "performance",
    }
}

fn service(found: &ServiceConclusion) -> Told {
    let parts = [("configuration test", found.configuration), ("performance test", found.performance)];
    let mut lines: Vec<String> =
        parts.into_iter().filter_map(|(name, judged)| Some(format!("{name} {}", verdict(judged?)))).collect();
    for one in &found.steps {
        for finding in one.findings.iter().filter(|finding| finding.verdict != StepVerdict::Pass) {
            lines.push(format!(
                "{} at {} {}: {}",
                step(one.kind),
                pps(one.load_pps as f64),
                verdict(finding.verdict),
                finding.reason
            ));
        }
    }
    let worst = [found.configuration, found.performance].into_iter().flatten();
    let (outcome, badge) = match worst.max_by_key(|verdict| *verdict as u8) {
        Some(StepVerdict::Pass) => (BenchmarkOutcome::Done, "passed"),
        Some(StepVerdict::Unknown) => (BenchmarkOutcome::Limited, "cannot be judged"),
        Some(StepVerdict::Fail) => (BenchmarkOutcome::Failed, "failed"),
        None => (BenchmarkOutcome::Failed, "not complete"),
    };
    Told { title: title("service"), outcome, badge: badge.to_owned(), lines }
}

fn soak(found: &SoakConclusion) -> Told {
    let load =
        format!("{} ({}) for {} s", found.load_name, pps(found.load_pps as f64), short(found.duration_s));
    let (Some(sent), Some(lost)) = (found.sent_packets, found.lost_packets) else {
        return done("soak", Vec::new());
    };
    let mut lines = vec![if lost == 0 {
        format!("none of {} packets lost at {load}", count(sent))
    } else {
        let ratio = percent(found.loss_ratio.unwrap_or(0.0));
        format!("{} of {} packets lost ({ratio} %) at {load}", count(lost), count(sent))
    }];
    if let Some(losses) = &found.losses
        && let (Some(first), Some(last)) = (losses.first_ns, losses.last_ns)
    {
        let unplaced = match losses.unplaced {
            0 => String::new(),
            packets => format!("; {} at an unknown time", things(packets as usize, "packet")),
        };
        lines.push(format!(
            "lost in {} of {} ms, from {:.3} s to {:.3} s{unplaced}",
            things(losses.intervals as usize, "interval"),
            losses.interval_ns / 1_000_000,
            first as f64 / 1e9,
            last as f64 / 1e9
        ));
    }
    if found.receiver_lost_packets > 0 {
        let dropped = things(found.receiver_lost_packets as usize, "packet");
        lines.push(format!(
            "the tester lost {dropped} itself, or received them too late to tell: the path is not known to have lost them"
        ));
        return Told {
            outcome: BenchmarkOutcome::Limited,
            badge: "tester limited".to_owned(),
            ..done("soak", lines)
        };
    }
    if found.unsent_packets > 0 {
        lines.push(format!(
            "{} were not sent, so the load was lower",
            things(found.unsent_packets as usize, "packet")
        ));
        return Told {
            outcome: BenchmarkOutcome::Limited,
            badge: "load not held".to_owned(),
            ..done("soak", lines)
        };
    }
    done("soak", lines)
}
