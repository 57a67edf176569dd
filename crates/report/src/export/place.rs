//! Names and times of exported files.

use std::time::{Duration, SystemTime};

use linerate_results::store::inner_path::bounded_name;
use linerate_results::store::record::TrialRecord;
use linerate_results::summary::Summary;

/// Largest length of a list of cores in a name, in characters.
const LONGEST_CORES: usize = 40;

/// Last second that is written, the end of the year 9999, in seconds since 1970.
const LAST_SECOND: u64 = 253_402_300_799;

/// When a trial began to send, in UTC; for trials recorded without it, the experiment's start.
pub(super) fn started_at(summary: &Summary, record: &TrialRecord) -> SystemTime {
    let text = record.started_at.as_deref().unwrap_or(&summary.experiment.started_at);
    humantime::parse_rfc3339(text).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// `YYYY-MM-DDTHH:MM:SS` of the time `at_ns` after `start`. Times before 1970 and after 9999, which cannot be
/// written, are written as the first or the last one that can.
pub(super) fn instant(start: SystemTime, at_ns: i64) -> String {
    let distance = Duration::from_nanos(at_ns.unsigned_abs());
    let at = if at_ns < 0 { start.checked_sub(distance) } else { start.checked_add(distance) };
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(LAST_SECOND);
    let at = at.unwrap_or(if at_ns < 0 { SystemTime::UNIX_EPOCH } else { last });
    let text = humantime::format_rfc3339_seconds(at.clamp(SystemTime::UNIX_EPOCH, last)).to_string();
    text.trim_end_matches('Z').to_owned()
}

/// `YYYYmmdd_HHMMSS`.
fn stamp(at: SystemTime) -> String {
    instant(at, 0).replace(['-', ':'], "").replace('T', "_")
}

/// The two agents' names of a pair such as `tx0-rx0`.
pub(super) fn ends(pair: &str) -> (&str, &str) {
    pair.split_once('-').unwrap_or((pair, pair))
}

/// The name of an end's npz file. `role` is `tx` or `rx`.
pub(super) fn npz_name(summary: &Summary, record: &TrialRecord, agent: &str, role: &str) -> String {
    let lcores = |report: &Option<linerate_results::store::report::TrialReport>| {
        report.as_ref().map(|report| report.lcores.clone()).unwrap_or_default()
    };
    let stem = format!(
        "{}_{agent}_{role}_txcores_{}_rxcores_{}_spec_{}_{}",
        summary.experiment.id,
        bounded_cores(ranges(&lcores(&record.tx))),
        bounded_cores(list(&lcores(&record.rx))),
        record.profile,
        stamp(started_at(summary, record)),
    );
    bounded_name(&stem, ".npz")
}

/// List of cores for a name: a long list is cut, and the number of omitted entries is added.
fn bounded_cores(cores: String) -> String {
    if cores.len() <= LONGEST_CORES {
        return cores;
    }
    let cut = cores[..LONGEST_CORES].rfind(',').unwrap_or(LONGEST_CORES);
    let left = cores[cut..].bytes().filter(|byte| *byte == b',').count();
    format!("{},and_{left}_more", &cores[..cut])
}

fn list(lcores: &[u32]) -> String {
    lcores.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// Lcores with neighbours as ranges: `1-2`, `1-2,5`.
fn ranges(lcores: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &lcore in lcores {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(lcore) => *last = lcore,
            _ => runs.push((lcore, lcore)),
        }
    }
    let run = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    runs.iter().map(run).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lcores_are_written_as_the_older_kits_wrote_them() {
        assert_eq!((ranges(&[1, 2]), list(&[1, 2])), ("1-2".to_owned(), "1,2".to_owned()));
        assert_eq!(
            (ranges(&[3]), ranges(&[1, 2, 5]), ranges(&[])),
            ("3".into(), "1-2,5".into(), String::new())
        );
    }

    #[test]
    fn a_name_is_one_however_many_lcores_there_are() {
        let mut record = linerate_results::fixtures::record();
        for lcores in [50_u32, 1000] {
            record.rx.as_mut().unwrap().lcores = (1..=lcores).collect();
            record.tx.as_mut().unwrap().lcores = (1..=lcores).map(|lcore| 2 * lcore).collect();
            record.profile = "p".repeat(200);
            let summary = linerate_results::fixtures::summary(linerate_results::summary::Status::Complete);
            let name = npz_name(&summary, &record, "rx0", "rx");
            assert!(
                name.len() <= 255 && name.ends_with(".npz") && name.contains("_rx_txcores_2,4,6,"),
                "{name}"
            );
            record.profile = "p".into();
            let name = npz_name(&summary, &record, "rx0", "rx");
            assert!(name.contains(",and_") && name.contains("_spec_p_20300102_030406.npz"), "{name}");
        }
    }

    #[test]
    fn instants_are_in_utc() {
        let start = humantime::parse_rfc3339("2030-01-02T03:04:05.600Z").unwrap();
        assert_eq!(instant(start, 10_500_000_000), "2030-01-02T03:04:16");
        assert_eq!(instant(start, -1_000_000_000), "2030-01-02T03:04:04");
        assert_eq!(stamp(start), "20300102_030405");
    }

    #[test]
    fn times_that_cannot_be_written_are_the_first_or_the_last_that_can() {
        let start = humantime::parse_rfc3339("2026-01-02T03:04:05Z").unwrap();
        assert_eq!(instant(start, -9_000_000_000_000_000_000), "1970-01-01T00:00:00");
        assert_eq!(instant(SystemTime::UNIX_EPOCH, -1), "1970-01-01T00:00:00");
        let end = humantime::parse_rfc3339("9999-12-31T23:59:59Z").unwrap();
        assert_eq!(instant(end, 1_000_000_000), "9999-12-31T23:59:59");
        assert_eq!(instant(end, i64::MAX), "9999-12-31T23:59:59");
    }

    #[test]
    fn the_largest_number_of_an_lcore_is_the_end_of_a_range() {
        assert_eq!(ranges(&[u32::MAX - 1, u32::MAX, 0]), "4294967294-4294967295,0");
    }
}
