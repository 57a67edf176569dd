use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::backup::backup;
use super::purge::{PurgeError, finish_earlier, incomplete, may_be_removed, purge, unfinished};
use super::scan::{State, scan};
use crate::fixtures::recorded;
use crate::fixtures::summary;
use crate::store::{DOCUMENT_FILE, Recorded, Store};
use crate::summary::{Status, TrialSummary};
use crate::validate::validate;
use linerate_experiment::DEFAULT_DOCUMENT;
use linerate_experiment::plan::plan;

#[test]
fn a_scan_lists_complete_and_missing_trials() {
    let results = tempfile::tempdir().unwrap();
    let store = Store::create(results.path()).unwrap();
    store.write_text(DOCUMENT_FILE, DEFAULT_DOCUMENT).unwrap();
    store.write_summary(&summary(Status::Interrupted)).unwrap();
    let experiment =
        linerate_experiment::Experiment::parse(DEFAULT_DOCUMENT, "e.yaml", &Default::default()).unwrap();
    let trials = plan(&experiment, None).unwrap().trials;
    let mut record = crate::fixtures::record();
    store.add_trial(&trials[0].directory(), &record, None).unwrap();
    record.result = None::<TrialSummary>;
    store.add_trial(&trials[1].directory(), &record, None).unwrap();

    let scan = scan(results.path(), store.id()).unwrap();
    assert_eq!(scan.trials.len(), trials.len() * experiment.pairs());
    let states: Vec<State> = scan.trials.iter().map(|trial| trial.state).collect();
    assert_eq!(states[..3], [State::Complete, State::Incomplete, State::Missing]);
    assert_eq!(scan.count(State::Missing), trials.len() - 2);

    // A truncated record does not count as complete.
    let path = store.directory().join("tx0-rx0").join(trials[0].directory()).join("trial.json");
    fs::write(path, "{\"schema\": ").unwrap();
    assert_eq!(super::scan::scan(results.path(), store.id()).unwrap().trials[0].state, State::Incomplete);
}

#[test]
fn a_purge_removes_an_experiment_and_nothing_else() {
    let (results, id) = recorded();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("kept"), "kept").unwrap();
    symlink(outside.path(), results.path().join(&id).join("link")).unwrap();
    fs::create_dir(results.path().join(".part-purge-0badf00d")).unwrap();
    fs::create_dir(results.path().join(".part-purge-other")).unwrap();
    purge(results.path(), &id).unwrap();
    assert_eq!(unfinished(results.path()).unwrap(), ["0badf00d"]);
    finish_earlier(results.path()).unwrap();
    let left: Vec<_> =
        fs::read_dir(results.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".part-purge-other"]);
    assert!(outside.path().join("kept").exists(), "what a link points to stays");
}

#[test]
fn a_purge_never_leaves_the_results() {
    let (results, id) = recorded();
    let (other, other_id) = recorded();
    let root = results.path();
    for name in ["..", ".", "", "/", "../etc", &format!("../{id}"), "0BADF00D", "0badf00d/..", "notes"] {
        assert!(matches!(may_be_removed(root, name), Err(PurgeError::NoId(_))), "{name}");
    }
    symlink(other.path().join(&other_id), root.join("00000001")).unwrap();
    fs::write(root.join("00000002"), "a file").unwrap();
    fs::create_dir(root.join("00000003")).unwrap();
    fs::write(root.join("00000003/thesis.txt"), "").unwrap();
    for name in ["00000001", "00000002", "00000003"] {
        let error = purge(root, name).unwrap_err();
        assert!(matches!(error, PurgeError::Foreign { .. }), "{error}");
        assert!(root.join(name).symlink_metadata().is_ok());
    }
    assert!(other.path().join(other_id).join("summary.json").exists());
    assert!(matches!(purge(root, "0badf00d"), Err(PurgeError::Store(_))));
}

#[test]
fn what_runs_is_not_removed() {
    let results = tempfile::tempdir().unwrap();
    let store = Store::create(results.path()).unwrap();
    store.write_summary(&summary(Status::Running)).unwrap();
    let id = store.id().to_owned();
    assert!(matches!(purge(results.path(), &id), Err(PurgeError::Runs { .. })));
    assert_eq!(incomplete(results.path()).unwrap(), [""; 0]);
    drop(store);
    assert_eq!(incomplete(results.path()).unwrap(), std::slice::from_ref(&id));
    purge(results.path(), &id).unwrap();
}

/// It may be complete: nothing tells.
#[test]
fn what_cannot_be_read_is_not_taken_for_incomplete() {
    let (results, id) = recorded();
    assert_eq!(incomplete(results.path()).unwrap(), [""; 0]);
    fs::write(results.path().join(&id).join("summary.json"), "{\"damaged").unwrap();
    assert_eq!(incomplete(results.path()).unwrap(), [""; 0]);
    purge(results.path(), &id).unwrap();
}

#[test]
fn a_backup_is_whole_and_valid_when_it_is_unpacked() {
    let (results, id) = recorded();
    fs::write(results.path().join(&id).join(".part-1-summary.json"), "{\"half\"").unwrap();
    let place = tempfile::tempdir().unwrap();
    let archive = place.path().join("all.tar.gz");
    let files = backup(results.path(), std::slice::from_ref(&id), &archive).unwrap();
    assert_eq!(names(place.path()), ["all.tar.gz"]);
    let unpacked = tempfile::tempdir().unwrap();
    let mut reader = tar::Archive::new(flate2::read::GzDecoder::new(fs::File::open(&archive).unwrap()));
    reader.unpack(unpacked.path()).unwrap();
    let verdict = validate(unpacked.path(), &id, None).unwrap();
    assert!(verdict.valid && verdict.files + 1 == files, "{verdict:?}");
    let there = Recorded::open(unpacked.path(), &id).unwrap();
    assert_eq!(there.summary, Recorded::open(results.path(), &id).unwrap().summary);

    let again = backup(results.path(), std::slice::from_ref(&id), &archive).unwrap_err().to_string();
    assert!(again.contains("all.tar.gz"), "an archive is never written over: {again}");
    let missing = backup(results.path(), &["0badf00d".to_owned()], &place.path().join("b.tar.gz"));
    assert!(missing.is_err() && names(place.path()) == ["all.tar.gz"], "nothing unfinished stays");
}

fn names(directory: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    fs::read_dir(directory).unwrap().map(name).collect()
}
