use std::os::unix::fs::PermissionsExt;

use super::record::TRIAL_SCHEMA;
use super::trial_log::{FailureRecord, Head, ResultRecord};
use super::*;
use crate::fixtures::{extreme_record, summary};
use crate::summary::{Status, TrialFailure};

fn record() -> TrialRecord {
    TrialRecord {
        schema: TRIAL_SCHEMA.into(),
        profile: "p".into(),
        pair: "tx0-rx0".into(),
        repeat: 1,
        tag: 7,
        reason: Some("interrupted".into()),
        result: None,
        started_at: None,
        time_axis: String::new(),
        tx: None,
        rx: None,
        loss: None,
        nodes: Vec::new(),
        samples: record::Samples::default(),
    }
}

#[test]
fn a_summary_is_replaced_whole_and_read_back() {
    let results = tempfile::tempdir().unwrap();
    let store = Store::create(&results.path().join("deep/er")).unwrap();
    assert!(is_id(store.id()));
    store.write_summary(&summary(Status::Running)).unwrap();
    store.write_summary(&summary(Status::Complete)).unwrap();
    let names: Vec<_> = fs::read_dir(store.directory()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, [SUMMARY_FILE], "nothing unfinished stays");
    assert_eq!(load(&results.path().join("deep/er"), store.id()).unwrap(), summary(Status::Complete));
}

#[test]
fn a_trial_appears_whole_under_its_pair() {
    let results = tempfile::tempdir().unwrap();
    let store = Store::create(results.path()).unwrap();
    let Filed { path, files } = store.add_trial("profile/repeat-2", &record(), None).unwrap();
    assert_eq!(path, "tx0-rx0/profile/repeat-2/incomplete.json");
    let text = fs::read_to_string(store.directory().join(&path)).unwrap();
    assert_eq!(files, BTreeMap::from([(path, FileSum::of_bytes(text.as_bytes()))]));
    assert_eq!(serde_json::from_str::<TrialRecord>(&text).unwrap(), record());
    let again = store.add_trial("profile/repeat-2", &record(), None).unwrap_err();
    assert_eq!(again.reason.kind(), ErrorKind::DirectoryNotEmpty, "a result is never written over: {again}");
}

/// Counters of drivers, and sums of delays between clocks that cannot be compared, may have any value.
#[test]
fn whatever_is_counted_what_is_written_can_be_read() {
    let results = tempfile::tempdir().unwrap();
    let store = Store::create(results.path()).unwrap();
    let record = extreme_record();
    let result = record.result.clone().unwrap();
    assert_eq!(result.sent_packets, u64::MAX);
    assert_eq!(record.samples.rx[1].receive.unwrap().delay_sum_ns, u64::MAX);
    let Filed { path, files } = store.add_trial("p", &record, None).unwrap();
    assert_eq!(load_trial(results.path(), store.id(), &path).unwrap(), record);
    let head = LogRecord::Head(Box::new(Head::of(&summary(Status::Running))));
    let failure = TrialFailure {
        transmit: record.samples.tx[0].transmit,
        receive: record.samples.rx[0].receive,
        ..summary(Status::Running).failures.remove(0)
    };
    let records = [
        LogRecord::Result(Box::new(ResultRecord { number: 1, key: None, files, result: result.clone() })),
        LogRecord::Failure(Box::new(FailureRecord {
            number: 2,
            key: None,
            files: BTreeMap::new(),
            failure: failure.clone(),
        })),
    ];
    store.begin_log(&[head]).unwrap().append(&records).unwrap();
    let derived = load(results.path(), store.id()).unwrap();
    assert_eq!((&derived.trials[..], &derived.failures[..]), (&[result][..], &[failure][..]));
    store.write_summary(&Summary { status: Status::Complete, ..derived.clone() }).unwrap();
    assert_eq!(load(results.path(), store.id()).unwrap().trials, derived.trials);
}

#[test]
fn what_could_not_be_read_is_not_recorded() {
    let mut record = crate::fixtures::record();
    assert_eq!(record.without_unreadable(), None);
    record.rx.as_mut().unwrap().receive.as_mut().unwrap().headroom = vec![f64::NAN];
    let why = record.without_unreadable().unwrap();
    assert!(why.starts_with("the report of the receiver cannot be recorded: receive.headroom"), "{why}");
    assert!(record.rx.is_none() && record.tx.is_some() && record.result.is_some());
    record.result.as_mut().unwrap().received_pps = f64::INFINITY;
    let why = record.without_unreadable().unwrap();
    assert!(why.starts_with("the result cannot be recorded: received_pps"), "{why}");
}

#[test]
fn what_a_crash_left_is_passed_over() {
    let results = tempfile::tempdir().unwrap();
    let store = Store::create(results.path()).unwrap();
    store.write_summary(&summary(Status::Running)).unwrap();
    fs::write(store.directory().join(format!("{UNFINISHED}{SUMMARY_FILE}")), "{\"half\":").unwrap();
    fs::create_dir(store.directory().join(format!("{UNFINISHED}tx0-rx0-p"))).unwrap();
    fs::create_dir(results.path().join("0badf00d")).unwrap();
    fs::create_dir(results.path().join("notes")).unwrap();
    let listed = list(results.path()).unwrap();
    assert_eq!(
        listed.len(),
        2,
        "an id without a summary is listed as unreadable, other directories not at all"
    );
    for (id, loaded) in listed {
        assert_eq!(loaded.is_ok(), id == store.id());
    }
}

#[test]
fn experiments_never_share_a_directory() {
    let results = tempfile::tempdir().unwrap();
    let ids: std::collections::BTreeSet<String> =
        (0..20).map(|_| Store::create(results.path()).unwrap().id().to_owned()).collect();
    assert_eq!(ids.len(), 20);
}

#[test]
fn a_place_that_cannot_be_written_is_named_with_a_remedy() {
    let results = tempfile::tempdir().unwrap();
    let file = results.path().join("file");
    fs::write(&file, "").unwrap();
    let message = Store::create(&file.join("below")).unwrap_err().to_string();
    assert!(message.contains("file/below") && message.contains("--results"), "{message}");

    let closed = results.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    // Root may write anywhere, so the refusal cannot be tested.
    if !rustix::process::geteuid().is_root() {
        let message = Store::create(&closed).unwrap_err().to_string();
        assert!(message.contains("Permission denied") && message.contains("--results"), "{message}");
    }
    let full = error::at("write", &file)(ErrorKind::StorageFull.into());
    assert!(full.to_string().contains("free some space"), "{full}");
}
