use std::fs;
use std::path::Path;

use super::*;
use crate::fixtures::record;
use crate::fixtures::search::two_pairs;
use crate::fixtures::summary;
use crate::store::{Store, load};
use crate::summary::{OverheadPart, SearchEnd};
use linerate_experiment::search::SearchMode;

fn head(status: Status) -> LogRecord {
    LogRecord::Head(Box::new(Head::of(&summary(status))))
}

/// A trial on one pair: its result, and its end.
fn trial(number: u32, pair: &str) -> [LogRecord; 2] {
    let mut result = record().result.unwrap();
    (result.repeat, result.pair) = (number, pair.to_owned());
    result.trial = format!("{pair}/p/repeat-{number}/trial.json");
    let files = BTreeMap::from([(result.trial.clone(), FileSum::of_bytes(b"{}"))]);
    let mut overhead = Overhead::default();
    overhead.add(OverheadPart::Trials, f64::from(number));
    [
        LogRecord::Result(Box::new(ResultRecord { number, key: Some("k".into()), files, result })),
        LogRecord::TrialEnd(Box::new(TrialEnd { number, aggregate: None, overhead })),
    ]
}

fn repeats(directory: &Path) -> Vec<u32> {
    derive(directory).unwrap().unwrap().summary.trials.iter().map(|trial| trial.repeat).collect()
}

#[test]
fn a_log_gives_the_summary_in_the_order_of_the_plan() {
    let place = tempfile::tempdir().unwrap();
    assert_eq!(derive(place.path()).unwrap(), None);
    let mut log = TrialLog::begin(place.path(), &[head(Status::Running)]).unwrap();
    for number in [1, 3, 2] {
        log.append(&trial(number, "tx0-rx0")).unwrap();
    }
    log.append(&[LogRecord::Recovery("tx0-rx0 was started anew".into())]).unwrap();
    log.append(&[head(Status::Complete)]).unwrap();
    let derived = derive(place.path()).unwrap().unwrap();
    assert_eq!(repeats(place.path()), [1, 2, 3]);
    assert_eq!((derived.summary.status, derived.summary.recoveries.len()), (Status::Complete, 1));
    assert_eq!((derived.sums.len(), derived.torn), (3, false));
}

#[test]
fn searches_are_read_one_by_one_and_as_older_programs_wrote_them() {
    let whole = two_pairs(SearchMode::Each).summary.searches;
    let [a, b] = &whole[..] else { panic!("{whole:?}") };
    let early = SearchSummary { ended: SearchEnd::Interrupted, trials: 1, ..a.clone() };
    let one = |search: &SearchSummary| LogRecord::Search(Box::new(search.clone()));
    let all = |searches: &[&SearchSummary]| LogRecord::Searches(searches.iter().copied().cloned().collect());
    for (records, read) in [
        (vec![all(&[&early]), all(&[a, b])], [a, b]),
        (vec![one(&early), one(b), one(a)], [a, b]),
        (vec![all(&[&early, b]), one(a)], [a, b]),
        (vec![one(a), one(b), all(&[]), one(b), one(a)], [b, a]),
    ] {
        let place = tempfile::tempdir().unwrap();
        let mut log = TrialLog::begin(place.path(), &[head(Status::Running)]).unwrap();
        log.append(&records).unwrap();
        let searches = derive(place.path()).unwrap().unwrap().summary.searches;
        assert_eq!(searches.iter().collect::<Vec<_>>(), read);
    }
}

#[test]
fn a_log_that_was_cut_at_any_byte_has_every_whole_line_and_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let mut log = TrialLog::begin(place.path(), &[head(Status::Running)]).unwrap();
    log.append(&trial(1, "tx0-rx0")).unwrap();
    let two = fs::read(place.path().join(TRIAL_LOG_FILE)).unwrap().len();
    log.append(&trial(2, "tx0-rx0")).unwrap();
    let whole = fs::read(place.path().join(TRIAL_LOG_FILE)).unwrap();
    for cut in (two..whole.len()).step_by(97).chain([two, whole.len() - 1]) {
        fs::write(place.path().join(TRIAL_LOG_FILE), &whole[..cut]).unwrap();
        let derived = derive(place.path()).unwrap().unwrap();
        assert_eq!(derived.torn, cut != two && whole[cut - 1] != b'\n', "cut at {cut}");
        assert!(!derived.summary.trials.is_empty(), "cut at {cut}: the first trial was whole");
        assert!(derived.summary.overhead.adds_up());
    }
    // Zeros: what a file system may leave of a write that did not reach the disk.
    let mut zeros = whole[..two].to_vec();
    zeros.extend([0; 300]);
    fs::write(place.path().join(TRIAL_LOG_FILE), &zeros).unwrap();
    assert_eq!(repeats(place.path()), [1]);
    fs::write(place.path().join(TRIAL_LOG_FILE), &whole[..40]).unwrap();
    assert_eq!(derive(place.path()).unwrap(), None, "not even the first line");
}

/// A line is whole on the disk before what it says is acknowledged, so none may be passed over in silence.
#[test]
fn a_whole_line_that_cannot_be_understood_is_damage_wherever_it_is() {
    let place = tempfile::tempdir().unwrap();
    let mut log = TrialLog::begin(place.path(), &[head(Status::Running)]).unwrap();
    for number in [1, 2] {
        log.append(&trial(number, "tx0-rx0")).unwrap();
    }
    let path = place.path().join(TRIAL_LOG_FILE);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let zeros = "\0".repeat(99);
    // (lines, where the damage is, trials that are left, whether the end is torn)
    for (changed, damaged, left, torn) in [
        ([lines[0], lines[1], lines[2], lines[3], "{\"result\":{}}\n"], &["line 5"][..], &[1, 2][..], false),
        ([lines[0], lines[1], lines[2], "nonsense\n", "more\n"], &["line 4", "line 5"], &[1], false),
        ([lines[0], "nonsense\n", lines[2], lines[3], lines[4]], &["line 2"], &[2], false),
        ([lines[0], "nonsense\n", lines[2], lines[3], &lines[4][..20]], &["line 2"], &[2], true),
        ([lines[0], &format!("{zeros}\n"), lines[2], lines[3], lines[4]], &["line 2"], &[2], false),
        ([lines[0], lines[1], lines[2], &format!("{zeros}\n{zeros}\n"), ""], &[], &[1], true),
        ([lines[0], lines[1], lines[2], &format!("{{\"res{zeros}"), ""], &[], &[1], true),
        ([lines[0], lines[1], lines[2], lines[3], lines[4]], &[], &[1, 2], false),
    ] {
        fs::write(&path, changed.concat()).unwrap();
        let readable = derive_readable(place.path()).unwrap().unwrap();
        let repeats: Vec<u32> = readable.summary.trials.iter().map(|trial| trial.repeat).collect();
        assert_eq!((&repeats[..], readable.torn), (left, torn), "{changed:?}");
        assert_eq!(readable.damaged.len(), damaged.len(), "{:?}", readable.damaged);
        assert!(readable.damaged.iter().zip(damaged).all(|(told, line)| told.starts_with(line)));
        match derive(place.path()) {
            Ok(derived) => assert!(damaged.is_empty() && derived == Some(readable), "{changed:?}"),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains(damaged[0]) && error.contains("--resume"), "{error}");
            }
        }
    }
}

/// A disk that is full takes part of a line, and may not let it be taken back at once.
#[test]
fn a_part_of_a_line_is_cut_before_the_next() {
    let place = tempfile::tempdir().unwrap();
    let mut log = TrialLog::begin(place.path(), &[head(Status::Running)]).unwrap();
    log.append(&trial(1, "tx0-rx0")).unwrap();
    log.leave_rest(b"{\"result\":{\"num");
    log.append(&trial(2, "tx0-rx0")).unwrap();
    assert_eq!(repeats(place.path()), [1, 2]);
}

#[test]
fn damage_before_the_last_line_is_named() {
    let place = tempfile::tempdir().unwrap();
    let mut log = TrialLog::begin(place.path(), &[head(Status::Running)]).unwrap();
    log.append(&trial(1, "tx0-rx0")).unwrap();
    let path = place.path().join(TRIAL_LOG_FILE);
    let text = fs::read_to_string(&path).unwrap().replacen("\"number\":1", "\"number\":\"one\"", 1);
    fs::write(&path, text).unwrap();
    let error = derive(place.path()).unwrap_err().to_string();
    assert!(error.contains("trials.jsonl") && error.contains("line 2"), "{error}");
}

#[test]
fn the_summary_of_an_ended_run_is_read_from_its_file_and_any_other_from_the_log() {
    let results = tempfile::tempdir().unwrap();
    let store = Store::create(results.path()).unwrap();
    let mut log = store.begin_log(&[head(Status::Running)]).unwrap();
    log.append(&trial(1, "tx0-rx0")).unwrap();
    assert_eq!(load(results.path(), store.id()).unwrap().trials.len(), 1, "before the first summary");
    store.write_summary(&summary(Status::Running)).unwrap();
    assert_eq!(load(results.path(), store.id()).unwrap().trials.len(), 1);
    store.write_summary(&summary(Status::Failed)).unwrap();
    assert_eq!(load(results.path(), store.id()).unwrap(), summary(Status::Failed));
}

#[test]
fn a_line_costs_the_same_however_many_there_are() {
    let place = tempfile::tempdir().unwrap();
    let mut log = TrialLog::begin(place.path(), &[head(Status::Running)]).unwrap();
    let size = || fs::metadata(place.path().join(TRIAL_LOG_FILE)).unwrap().len();
    let mut grown = vec![size()];
    for number in 1000..2000 {
        log.append(&trial(number, "tx0-rx0")).unwrap();
        grown.push(size());
    }
    let each: Vec<u64> = grown.windows(2).map(|sizes| sizes[1] - sizes[0]).collect();
    assert!(each.iter().all(|bytes| *bytes == each[0] && *bytes < 8192), "{each:?}");
}
