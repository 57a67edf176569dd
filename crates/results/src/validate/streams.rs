//! Validation of trials of streams: everything in the summary is computed again from both ends' reports, and samples
//! are checked against them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

use linerate_experiment::streams::FramesAsStreams;
use linerate_wire::streams::{Protocol, StreamsLimit};

use super::experiment::Checker;
use super::{Reason, fewest_samples};
use crate::engines::EngineFigures;
use crate::store::enclosed::Enclosed;
use crate::store::inner_path::InnerPath;
use crate::streams::{
    ConnectionEnds, ConnectionSummary, SampleLine, StreamsTrialRecord, StreamsTrialSummary,
};

pub(super) fn check(
    checker: &mut Checker<'_>,
    trial: &StreamsTrialSummary,
    interval_s: Option<f64>,
    samples: Option<u64>,
) {
    let path = trial.trial.as_str();
    if !checker.there.contains(path) {
        return checker.add(path, Reason::MissingFile, "the summary names it");
    }
    let Some(record) = checker.read::<StreamsTrialRecord>(path) else { return };
    if record.result.as_ref() != Some(trial) {
        checker.add(path, Reason::Contradiction, "its result is not the one in the summary");
    }
    let figures = record.figures();
    for ((stated, computed), ends) in record.connections.iter().zip(&figures).zip(&record.ends) {
        if !follows(stated, computed, ends) {
            let detail = format!("the figures of {} do not follow from its reports", stated.connection);
            checker.add(path, Reason::Contradiction, detail);
        }
        if let Some(detail) = miscounted(computed, record.spec.protocol) {
            checker.add(path, Reason::Miscounted, detail);
        }
    }
    if record.connections.len() != figures.len() {
        let detail =
            format!("{} connections have figures, {} have reports", record.connections.len(), figures.len());
        checker.add(path, Reason::Contradiction, detail);
    }
    if StreamsTrialSummary::of(&record, trial.context()) != *trial {
        checker.add(path, Reason::Contradiction, "its totals are not those of its connections");
    }
    if let Some(engine) = &trial.engine {
        let frames = FramesAsStreams {
            profile: engine.profile.clone(),
            frame_size: engine.frame_size.clone(),
            workers: engine.cores,
        };
        // The words of the evidence may be those of another version.
        let numbers = |mut figures: EngineFigures| {
            figures.losses.iter_mut().for_each(|part| part.evidence.clear());
            figures
        };
        if numbers(EngineFigures::of_datagrams(&frames, &record)) != numbers(engine.clone()) {
            checker.add(path, Reason::Contradiction, "the engine's figures do not follow from its reports");
        }
        if let Some(detail) = engine.misplaced(trial.lost_datagrams) {
            checker.add(path, Reason::Miscounted, detail);
        }
    }
    let due = interval_s.map(|interval_s| fewest_samples(trial.duration_s, interval_s));
    let due = samples.or(due).unwrap_or(1);
    if let Err(error) = check_samples(checker, trial, &record, due) {
        checker.add(&trial.samples_file, Reason::Unreadable, error.to_string());
    }
}

/// True when the figures are those computed from the reports. Earlier versions stated a delay variation where delays were
/// negative, too, and the received load until the last arrival, by which they did not judge.
fn follows(stated: &ConnectionSummary, computed: &ConnectionSummary, ends: &ConnectionEnds) -> bool {
    let receiving = ends.receiver.as_ref().and_then(|path| path.receiving.as_ref());
    let latency = receiving.and_then(|receiving| receiving.latency.as_ref());
    let variation = latency.filter(|latency| latency.negative > 0).map(|latency| latency.variation);
    let mut expected = computed.clone();
    if variation.is_some() && stated.delay_variation_ns == variation {
        expected.delay_variation_ns = variation;
    }
    if stated.received_over_s.is_none() && computed.received_over_s.is_some() {
        expected.received_over_s = None;
        // `clean` never had losses.
        let is_clean = stated.verdict.kind == StreamsLimit::Clean;
        if !(is_clean && computed.lost_datagrams.is_some_and(|lost| lost > 0)) {
            expected.verdict = stated.verdict.clone();
        }
        let seconds = computed.receiving_s.filter(|seconds| *seconds > 0.0);
        expected.received_bps =
            computed.received_bytes.zip(seconds).map(|(bytes, seconds)| bytes as f64 * 8.0 / seconds);
    }
    *stated == expected
}

/// A complete connection whose counts do not add up.
fn miscounted(connection: &ConnectionSummary, protocol: Protocol) -> Option<String> {
    let ConnectionSummary { written_bytes, acked_bytes, received_bytes, .. } = *connection;
    let name = &connection.connection;
    match protocol {
        Protocol::Tcp if connection.complete => {
            let same = written_bytes == received_bytes
                && acked_bytes.is_none_or(|acked| Some(acked) == written_bytes);
            (!same).then(|| {
                format!("{name}: {written_bytes:?} bytes written, {acked_bytes:?} acknowledged, {received_bytes:?} received")
            })
        }
        Protocol::Tcp => None,
        Protocol::Udp => {
            let sum =
                connection.received_datagrams.zip(connection.lost_datagrams).map(|(got, lost)| got + lost);
            (connection.complete && sum != connection.sent_datagrams).then(|| {
                format!("{name}: {:?} datagrams ≠ received + lost {sum:?}", connection.sent_datagrams)
            })
        }
    }
}

/// Checks that each agent has its samples, that times and counts only grow, and that the last counts are not above the
/// totals.
fn check_samples(
    checker: &mut Checker<'_>,
    trial: &StreamsTrialSummary,
    record: &StreamsTrialRecord,
    due: u64,
) -> std::io::Result<()> {
    let path = trial.samples_file.as_str();
    if !checker.there.contains(path) {
        checker.add(path, Reason::MissingFile, "the summary names it");
        return Ok(());
    }
    let mut last: BTreeMap<String, (u64, SampleLine)> = BTreeMap::new();
    let inner = InnerPath::parse(path).map_err(std::io::Error::other)?;
    let opened = Enclosed::open(checker.directory).and_then(|enclosed| enclosed.open_file(&inner, u64::MAX));
    let Some(file) = opened.map_err(|error| error.reason)? else { return Ok(()) };
    for line in BufReader::new(file).lines() {
        let sample: SampleLine = serde_json::from_str(&line?)?;
        let agent = sample.agent.clone();
        let count = last.get(&agent).map_or(0, |(count, _)| *count);
        if let Some((_, before)) = last.get(&agent) {
            if sample.at_ns <= before.at_ns {
                let detail = format!(
                    "sample {count} of {agent} is at {} ns, the one before at {} ns",
                    sample.at_ns, before.at_ns
                );
                checker.add(path, Reason::NonMonotonicTime, detail);
            }
            if went_back(before, &sample) {
                checker.add(path, Reason::CounterWentBack, format!("in sample {count} of {agent}"));
            }
        }
        last.insert(agent, (count + 1, sample));
    }
    for part in record.agents.iter().filter(|part| part.lost.is_none()) {
        let seen = last.get(&part.agent).map_or(0, |(count, _)| *count);
        if seen < due {
            checker.add(path, Reason::TooFewSamples, format!("{seen} of {due} of {}", part.agent));
        }
    }
    for connection in &record.connections {
        let sampled = |agent: &String| last.get(agent).map(|(_, line)| line);
        let sent = sampled(&connection.from).and_then(|line| Some(line.sent.get(&connection.number)?.0));
        let received =
            sampled(&connection.to).and_then(|line| Some(line.received.get(&connection.number)?.0));
        for (end, sampled, total) in
            [("sent", sent, connection.written_bytes), ("received", received, connection.received_bytes)]
        {
            if let (Some(sampled), Some(total)) = (sampled, total)
                && sampled > total
            {
                let detail =
                    format!("{}: {sampled} bytes {end} in a sample, {total} in all", connection.connection);
                checker.add(path, Reason::Contradiction, detail);
            }
        }
    }
    Ok(())
}

fn went_back(before: &SampleLine, after: &SampleLine) -> bool {
    let sent =
        after.sent.iter().any(|(number, now)| before.sent.get(number).is_some_and(|then| now.0 < then.0));
    let received = after
        .received
        .iter()
        .any(|(number, now)| before.received.get(number).is_some_and(|then| now.0 < then.0));
    sent || received
}

#[cfg(test)]
mod tests {
    use linerate_wire::streams::Protocol;

    use super::follows;
    use crate::fixtures::streams::{made, pair};
    use crate::streams::ConnectionSummary;

    #[test]
    fn received_loads_of_earlier_versions_are_no_contradiction() {
        let connections = [("a0".to_owned(), "a1".to_owned(), None)];
        // The path was cut after a third of the time.
        let record = made(Protocol::Udp, 1, 1, &connections, |_, [_, receiver]| {
            let receiving = receiver.receiving.as_mut().unwrap();
            receiving.duration_s = receiving.duration_s.map(|seconds| seconds / 3.0);
        })
        .record;
        let (computed, ends) = (&record.connections[0], &record.ends[0]);
        assert_eq!(computed.received_over_s, computed.sending_s);
        let received_bps = computed.received_bps.map(|bps| bps * 3.0);
        let earlier = ConnectionSummary { received_over_s: None, received_bps, ..computed.clone() };
        let close = follows(&earlier, computed, ends);
        assert!(close && follows(computed, computed, ends));
        assert!(!follows(&ConnectionSummary { received_bps, ..computed.clone() }, computed, ends));
        assert!(!follows(&ConnectionSummary { received_over_s: None, ..computed.clone() }, computed, ends));
    }

    #[test]
    fn delay_variations_that_earlier_versions_stated_are_no_contradiction() {
        let connections = [("a0".to_owned(), "a1".to_owned(), None)];
        let record = made(Protocol::Udp, 1, 1, &connections, |_, [_, receiver]| {
            let latency =
                receiver.receiving.as_mut().and_then(|receiving| receiving.latency.as_mut()).unwrap();
            (latency.negative, latency.variation) = (3, latency.summary);
        })
        .record;
        let (computed, ends) = (&record.connections[0], &record.ends[0]);
        assert_eq!(computed.delay_variation_ns, None);
        let variation = computed.delay_ns;
        assert!(variation.is_some() && follows(computed, computed, ends));
        let earlier = ConnectionSummary { delay_variation_ns: variation, ..computed.clone() };
        assert!(follows(&earlier, computed, ends));
        let counts = ConnectionSummary { sent_datagrams: Some(1), ..earlier };
        assert!(!follows(&counts, computed, ends));
        let record = pair(Protocol::Udp, 1, 1).record;
        let (computed, ends) = (&record.connections[0], &record.ends[0]);
        let other = ConnectionSummary { delay_variation_ns: None, ..computed.clone() };
        assert!(computed.delay_variation_ns.is_some() && !follows(&other, computed, ends));
    }
}
