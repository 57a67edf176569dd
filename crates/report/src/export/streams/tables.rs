//! Trials of streams as tables: trials, connections and samples, with the figures' own names and units.

use super::super::cells::Table;
use linerate_results::store::{Recorded, StoreError};
use linerate_results::streams::{
    BoundedDelay, CONNECTION_FIGURES, ConnectionSummary, STREAMS_FIGURES, SampleLine, StreamsTrialRecord,
    StreamsTrialSummary,
};
use linerate_results::summary::Summary;

use super::super::series::SeriesColumn;
use crate::streams::cpu_s_per_gbit;

/// Table of all trials, in the experiment's directory.
pub(in super::super) const TRIALS_FILE: &str = "streams_trials.csv";
/// Table of a trial's connections, beside its record.
pub(in super::super) const CONNECTIONS_FILE: &str = "connections.csv";
/// Table of a trial's samples, beside its record.
pub(in super::super) const SAMPLES_FILE: &str = "samples.csv";

/// Names of what a sample counts, cumulative since the start; `alive` is the number of streams whose bytes moved since the sample before.
pub(in super::super) const KEYS: [&str; 7] =
    ["bytes", "datagrams", "retransmits", "duplicates", "reordered", "missing", "alive"];

/// A connection's counts at an instant at one of its ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Sampled {
    /// The agent.
    pub(in super::super) agent: String,
    /// Nanoseconds since the start of the trial.
    pub(in super::super) at_ns: i64,
    /// `tx` or `rx`.
    pub(in super::super) end: &'static str,
    /// Number of the connection.
    pub(in super::super) number: u32,
    /// The counts of [`KEYS`]; `None` for what this end does not count.
    pub(in super::super) counts: [Option<u64>; 7],
}

/// The samples of a trial, in the order of the file.
///
/// # Errors
/// When they cannot be read.
pub(in super::super) fn sampled(
    recorded: &Recorded,
    trial: &StreamsTrialSummary,
) -> Result<Vec<Sampled>, StoreError> {
    let mut rows = Vec::new();
    recorded.samples(&trial.samples_file, |SampleLine { agent, at_ns, sent, received, .. }| {
        let row = |end, number, counts| Sampled { agent: agent.clone(), at_ns, end, number, counts };
        rows.extend(sent.into_iter().map(|(number, (bytes, datagrams, resent))| {
            row("tx", number, [Some(bytes), Some(datagrams), resent, None, None, None, None])
        }));
        rows.extend(received.into_iter().map(
            |(number, (bytes, datagrams, duplicates, reordered, missing, alive))| {
                let counts = [bytes, datagrams, 0, duplicates, reordered, missing, alive.into()].map(Some);
                let mut counts: [Option<u64>; 7] = counts;
                counts[2] = None;
                row("rx", number, counts)
            },
        ));
    })?;
    Ok(rows)
}

/// The trials of an experiment: who and what in words, then every figure.
///
/// # Errors
/// When the table cannot be written, which does not happen in memory.
pub(in super::super) fn trials(summary: &Summary) -> Result<Vec<u8>, csv::Error> {
    let words =
        ["exp_id", "profile", "transport", "rate", "message_bytes", "complete", "verdict", "evidence"];
    let mut writer = Table::new();
    writer.row(words.into_iter().chain(STREAMS_FIGURES.iter().map(|figure| figure.name)))?;
    for trial in &summary.streams {
        let words = [
            summary.experiment.id.clone(),
            trial.profile.clone(),
            trial.transport.to_string(),
            trial.rate.clone(),
            trial.message_bytes.to_string(),
            trial.complete.to_string(),
            trial.verdict.kind.to_string(),
            trial.verdict.evidence.clone(),
        ];
        let figures = STREAMS_FIGURES.iter().map(|figure| number((figure.of)(trial)));
        writer.row(words.into_iter().chain(figures))?;
    }
    writer.finish()
}

/// The connections of a trial: who and what in words, then every figure.
///
/// # Errors
/// As of [`trials`].
pub(in super::super) fn connections(record: &StreamsTrialRecord) -> Result<Vec<u8>, csv::Error> {
    let words = [
        "connection",
        "number",
        "from",
        "to",
        "interface",
        "from_address",
        "to_address",
        "alive",
        "complete",
        "verdict",
        "congestion",
    ];
    let last = [
        "from_cpu_s_per_gbit",
        "to_cpu_s_per_gbit",
        "evidence",
        "reasons",
        "notes",
        "delay_note",
        "bounded_delay_p50_ns",
        "bounded_delay_p99_ns",
        "delay_uncertainty_ns",
    ];
    let figures = CONNECTION_FIGURES.iter().map(|figure| figure.name);
    let mut writer = Table::new();
    writer.row(words.into_iter().chain(figures).chain(last))?;
    let cpu = cpu_s_per_gbit(record);
    for one in &record.connections {
        let figures = CONNECTION_FIGURES.iter().map(|figure| number((figure.of)(one)));
        let [from, to] = [&one.from, &one.to].map(|agent| number(cpu.get(agent).copied()));
        let bounded = |of: fn(&BoundedDelay) -> u64| {
            one.bounded_delay_ns.as_ref().map_or_else(String::new, |bounded| of(bounded).to_string())
        };
        let last = [
            from,
            to,
            one.verdict.evidence.clone(),
            one.reasons.join("; "),
            one.notes.join("; "),
            one.delay_note.clone().unwrap_or_default(),
            bounded(|bounded| bounded.delay.p50),
            bounded(|bounded| bounded.delay.p99),
            bounded(|bounded| bounded.uncertainty_ns),
        ];
        writer.row(who(one).into_iter().chain(figures).chain(last))?;
    }
    writer.finish()
}

fn who(one: &ConnectionSummary) -> [String; 11] {
    let (from, to) = one.addresses.clone().unwrap_or_default();
    [
        one.connection.clone(),
        one.number.to_string(),
        one.from.clone(),
        one.to.clone(),
        one.interface.clone().unwrap_or_default(),
        from,
        to,
        one.alive.to_string(),
        one.complete.to_string(),
        one.verdict.kind.to_string(),
        one.congestion.clone().unwrap_or_default(),
    ]
}

/// The samples of a trial; an empty cell for what an end does not count.
///
/// # Errors
/// As of [`trials`].
pub(in super::super) fn samples(
    record: &StreamsTrialRecord,
    rows: &[Sampled],
) -> Result<Vec<u8>, csv::Error> {
    let mut writer = Table::new();
    writer.row(["at_ns", "agent", "end", "number", "connection"].into_iter().chain(KEYS))?;
    for row in rows {
        let words = [
            row.at_ns.to_string(),
            row.agent.clone(),
            row.end.to_owned(),
            row.number.to_string(),
            name(record, row.number).to_owned(),
        ];
        let counts = row.counts.map(|count| count.map_or_else(String::new, |count| count.to_string()));
        writer.row(words.into_iter().chain(counts))?;
    }
    writer.finish()
}

/// Name of the connection with this number; empty when there is none.
pub(in super::super) fn name(record: &StreamsTrialRecord, number: u32) -> &str {
    let by_place = record.connections.get(number as usize).filter(|one| one.number == number);
    let found = by_place.or_else(|| record.connections.iter().find(|one| one.number == number));
    found.map_or("", |one| &one.connection)
}

/// The samples of one end as columns of whole numbers. A key that the end does not count in every row is left out.
pub(in super::super) fn columns(rows: &[Sampled], end: &str) -> Vec<SeriesColumn> {
    let rows: Vec<&Sampled> = rows.iter().filter(|row| row.end == end).collect();
    let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let counted =
        |place: usize| -> Option<Vec<i64>> { rows.iter().map(|row| row.counts[place].map(whole)).collect() };
    let mut columns = vec![
        SeriesColumn::named("time_ns", rows.iter().map(|row| row.at_ns).collect()),
        SeriesColumn::named("number", rows.iter().map(|row| row.number.into()).collect()),
    ];
    let keys = KEYS.iter().enumerate();
    columns.extend(keys.filter_map(|(place, key)| Some(SeriesColumn::named(*key, counted(place)?))));
    columns
}

/// A figure in its own unit; empty where there is none.
fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use linerate_results::fixtures::streams::{mesh, pair, recorded_streams};
    use linerate_wire::streams::Protocol;
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::super::super::{ExportFormat, export};
    use super::*;

    #[test]
    fn trials_connections_and_samples_are_tables() {
        let (results, id) = recorded_streams(&[mesh(Protocol::Udp, 3, &["net0"]), pair(Protocol::Tcp, 2, 1)]);
        let formats = [ExportFormat::Csv, ExportFormat::Npz, ExportFormat::Parquet, ExportFormat::Xlsx];
        let written = export(results.path(), std::slice::from_ref(&id), &formats, None).unwrap().written;
        let read = |name: &str| {
            fs::read_to_string(written.iter().find(|path| path.ends_with(name)).expect(name)).unwrap()
        };
        let trials = read(TRIALS_FILE);
        let lines: Vec<&str> = trials.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(STREAMS_FIGURES.iter().all(|figure| lines[0].contains(figure.name)), "{}", lines[0]);
        assert!(lines[2].contains(",tcp_2x,TCP,1000mbps,131072,true,clean,"), "{}", lines[2]);
        let connections = read("streams/udp_1x-1/connections.csv");
        let lines: Vec<&str> = connections.lines().collect();
        assert_eq!(lines.len(), 1 + 6);
        // Nothing of connection 2 arrived: 0 is known, its jitter is not.
        assert!(
            lines[3].starts_with("a1-a0:net0,2,a1,a0,net0,192.0.2.1:40000,192.0.2.2:5000,false,"),
            "{}",
            lines[3]
        );
        let samples = read("streams/udp_1x-1/samples.csv");
        assert!(samples.starts_with("at_ns,agent,end,number,connection,bytes,"), "{samples}");
        assert_eq!(samples.lines().count(), 1 + 4 * 2 * 6);
        assert!(samples.contains("2000000000,a0,tx,0,a0-a1:net0,125000000,100000,,,,,"), "{samples}");
        let tcp = read("streams/tcp_2x-1/samples.csv");
        assert!(tcp.contains("2000000000,tx0,tx,0,tx0-rx0,250000000,0,0,,,,"), "{tcp}");
        let path = written.iter().find(|path| path.ends_with("samples.parquet")).unwrap();
        let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
        let rows: Vec<String> =
            reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
        assert_eq!(rows.len(), 4 * 2 * 6 + 4 * 2);
        assert!(
            rows[0].contains("connection: \"a0-a1:net0\"") && rows[0].contains("retransmits: null"),
            "{}",
            rows[0]
        );
        let npz: Vec<_> =
            written.iter().filter(|path| path.extension().is_some_and(|one| one == "npz")).collect();
        assert_eq!(npz.len(), 4, "{npz:?}");
        assert!(linerate_results::validate::validate(results.path(), &id, None).unwrap().valid);
    }

    #[test]
    fn an_end_has_the_keys_that_it_counts() {
        let (results, id) = recorded_streams(&[pair(Protocol::Udp, 1, 1)]);
        let recorded = Recorded::open(results.path(), &id).unwrap();
        let rows = sampled(&recorded, &recorded.summary.streams[0]).unwrap();
        let keys = |end| -> Vec<String> {
            columns(&rows, end).into_iter().map(|column| column.name.into_owned()).collect()
        };
        assert_eq!(keys("tx"), ["time_ns", "number", "bytes", "datagrams"]);
        assert_eq!(keys("rx")[4..], ["duplicates", "reordered", "missing", "alive"]);
    }
}
