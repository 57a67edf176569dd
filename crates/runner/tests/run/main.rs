//! Runs in which agents misbehave.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod agent;
mod http;
mod lab;
mod memory;
mod watcher;

use std::fs;

use agent::Script;
use lab::Lab;
use linerate_results::nodes::NodeSummary;
use linerate_results::store::load_trial;
use linerate_results::store::trial_log::{LogRecord, TRIAL_LOG_FILE, derive};
use linerate_results::summary::{Status, Summary, TrialFailure};
use linerate_runner::run::EarlierRun;
use watcher::Fate;

/// The shortest trial.
const SHORT: &str = "packets: 1000, duration: null";

fn complete(summary: &Summary) {
    assert_eq!((summary.status, &summary.reason), (Status::Complete, &None), "{:?}", summary.failures);
    for trial in &summary.trials {
        assert_eq!(trial.sent_packets, trial.received_packets + trial.lost_packets);
    }
}

fn skipped(summary: &Summary) -> &str {
    let ways: Vec<_> = summary.warm_up.iter().map(|entry| (entry.from.as_str(), entry.to.as_str())).collect();
    assert_eq!(ways, [("tx0", "rx0"), ("rx0", "tx0")]);
    assert_eq!(summary.warm_up[0].skipped, None);
    summary.warm_up[1].skipped.as_deref().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_may_not_send_is_no_obstacle_to_one_way_trials() {
    let refusing = Script { refuses_to_send: Some("not to that network"), ..Script::default() };
    let lab = Lab::new(&format!("trial: {{{SHORT}}}")).agent("rx0", refusing.clone());
    let summary = lab.run().await;
    complete(&summary);
    assert_eq!(summary.trials.len(), 1);
    assert_eq!(skipped(&summary), "rx0: prepare was refused: not to that network");
    let both = Lab::new(&format!("trial: {{{SHORT}, direction: bidirectional}}")).agent("rx0", refusing);
    assert_eq!(both.run().await.reason.unwrap(), "rx0: prepare was refused: not to that network");
}

#[tokio::test(start_paused = true)]
async fn the_link_of_a_port_that_only_receives_needs_no_speed() {
    let slow = Script { has_no_link_speed: true, ..Script::default() };
    let spec = |direction: &str| {
        format!(
            "traffic: {{rates: [10%]}}, safety: {{maxRate: 50%}}, trial: {{{SHORT}, direction: {direction}}}"
        )
    };
    let summary = Lab::new(&spec("one-way")).agent("rx0", slow.clone()).run().await;
    complete(&summary);
    assert!(skipped(&summary).contains("speed"), "{}", skipped(&summary));
    let reason = Lab::new(&spec("bidirectional")).agent("rx0", slow).run().await.reason.unwrap();
    assert!(reason.contains("speed"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_way_back_that_is_not_found_is_no_obstacle_to_one_way_trials() {
    let at = |address: &str| Script { addresses: vec![address.parse().unwrap()], ..Script::default() };
    let lost = Script { finds_no_way: Some("there is no route"), ..at("10.0.0.2/24") };
    let lab = |direction: &str| {
        Lab::new(&format!("trial: {{{SHORT}, direction: {direction}}}"))
            .agent("tx0", at("10.0.0.1/24"))
            .agent("rx0", lost.clone())
    };
    let summary = lab("one-way").run().await;
    complete(&summary);
    assert!(skipped(&summary).contains("there is no route"), "{}", skipped(&summary));
    let reason = lab("bidirectional").run().await.reason.unwrap();
    assert!(reason.contains("there is no route"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn each_path_of_each_trial_has_a_tag_of_its_own() {
    for (direction, paths) in [("one-way", 2), ("bidirectional", 4)] {
        let lab = Lab::new(&format!("pairs: 2, trial: {{{SHORT}, repeats: 2, direction: {direction}}}"));
        let summary = lab.run().await;
        complete(&summary);
        // What an agent counts is what its peer sent with the tag that it was told to expect.
        assert!(summary.trials.iter().all(|trial| trial.received_packets == 1000), "{direction}");
        let tag = |trial: &linerate_results::summary::TrialSummary| {
            load_trial(lab.results.path(), &summary.experiment.id, &trial.trial).unwrap().tag
        };
        let mut tags: Vec<u16> = summary.trials.iter().map(tag).collect();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), 2 * paths, "{direction}: {tags:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_drain_with_many_samples_loses_no_agent() {
    let slow = Script { drains_slowly: true, ..Script::default() };
    let spec = format!("trial: {{{SHORT}, sampleInterval: 10ms, drain: {{settle: 90s, limit: 100s}}}}");
    let lab = Lab::new(&spec).agent("rx0", slow);
    let summary = lab.run().await;
    complete(&summary);
    assert_eq!(summary.recoveries, [""; 0]);
    let directory = lab.results.path().join(&summary.experiment.id);
    let text = fs::read_to_string(directory.join(&summary.trials[0].trial)).unwrap();
    assert!(text.matches("\"at_ns\"").count() >= 9000, "every sample is recorded");
}

#[tokio::test(start_paused = true)]
async fn a_report_that_could_not_be_read_again_is_a_failure() {
    let nonsense = Script { reports_nonsense: true, ..Script::default() };
    let lab = Lab::new(&format!("trial: {{{SHORT}, repeats: 2}}")).agent("tx0", nonsense);
    let summary = lab.run().await;
    let reasons: Vec<_> = summary.failures.iter().map(|failure| failure.reason.as_str()).collect();
    assert!(
        reasons.len() == 2
            && reasons.iter().all(|why| why.contains("transmit.offered_pps") && why.contains("too large")),
        "{reasons:?}"
    );
    let trial = summary.failures[0].trial.as_ref().unwrap();
    let record = load_trial(lab.results.path(), &summary.experiment.id, trial).unwrap();
    assert!(record.tx.is_none() && record.rx.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_resumed_run_needs_room_only_for_what_is_left() {
    let one = Lab::new(&format!("traffic: {{flows: [1]}}, trial: {{{SHORT}}}")).run().await.trials.remove(0);
    // A thousand files of more than four million flows, and as many small ones.
    let lab = Lab::new(&format!(
        "traffic: {{flows: [4194304, 1]}}, trial: {{{SHORT}, repeats: 1000, allFlows: true}}"
    ));
    let refused = lab.run_in(&lab.store(), None).await.unwrap_err().to_string();
    assert!(refused.contains("are free"), "{refused}");
    let recorded = lab.plan.trials.iter().take(1999).map(|trial| {
        let mut result = one.clone();
        (result.profile, result.repeat) = trial.label();
        result
    });
    let summary = Summary { trials: recorded.collect(), ..Lab::new("").run().await };
    let earlier = EarlierRun { summary, sums: Default::default() };
    let summary = lab.run_in(&lab.store(), Some(&earlier)).await.unwrap();
    complete(&summary);
    assert_eq!(summary.trials.len(), 2000);
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_outlives_its_host_setting_fails_and_what_is_not_restored_is_the_result() {
    let mut lab = Lab::new(&format!(
        "hostSettings: [{{}}, {{name: lost, rps: on}}, {{name: after}}], traffic: {{frameSizes: [64]}}, trial: {{{SHORT}}}"
    ));
    let settings = |summary: &Summary| {
        let all = summary.trials.iter().map(|trial| trial.host_setting.as_ref().unwrap().name.clone());
        all.collect::<Vec<_>>()
    };
    let open = |summary: &Summary| {
        let all = summary.experiment.host_settings.iter();
        all.filter(|period| period.restored_at.is_none())
            .map(|period| period.setting.clone())
            .collect::<Vec<_>>()
    };
    let whole = lab.run().await;
    complete(&whole);
    assert_eq!(settings(&whole), ["as-it-is", "lost", "after"]);
    assert_eq!(open(&whole), [""; 0]);
    lab.unheld = Some("lost");
    let summary = lab.run().await;
    assert_eq!((summary.status, summary.failures.len()), (Status::Failed, 1), "{:?}", summary.failures);
    assert_eq!(summary.failures[0].reason, "its process ended");
    let trial = summary.failures[0].trial.as_ref().unwrap();
    let record = load_trial(lab.results.path(), &summary.experiment.id, trial).unwrap();
    assert!(record.result.is_none() && record.tx.is_some());
    assert_eq!(settings(&summary), ["as-it-is", "after"]);
    (lab.unheld, lab.unrestored) = (None, Some("not restored: eth0"));
    let summary = lab.run().await;
    let told = (summary.status, summary.reason.as_deref(), summary.trials.len());
    assert_eq!(told, (Status::Failed, Some("not restored: eth0"), 3));
    assert_eq!(open(&summary), ["after"]);
}

/// Ports without IPv6 addresses cannot send the second profile.
#[tokio::test(start_paused = true)]
async fn profiles_that_the_filter_leaves_out_do_not_stop_a_run() {
    let at = |address: &str| Script { addresses: vec![address.parse().unwrap()], ..Script::default() };
    let spec = format!(
        "profiles: [{{frameSize: 64}}, {{frameSize: 128, source: {{ip: '::'}}}}], trial: {{{SHORT}}}"
    );
    let lab = || Lab::new(&spec).agent("tx0", at("10.0.0.1/24")).agent("rx0", at("10.0.0.2/24"));
    let reason = lab().run().await.reason.unwrap();
    assert!(reason.contains("has no IPv6 address"), "{reason}");
    let summary = lab().filter("64B").run().await;
    complete(&summary);
    assert_eq!(summary.trials.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pair_whose_results_are_not_stored_is_a_failure_and_no_part_of_a_sum() {
    let lab = Lab::new(&format!("pairs: 3, trial: {{{SHORT}}}"));
    let store = lab.store();
    fs::write(store.directory().join("tx1-rx1"), "in the way").unwrap();
    let error = lab.run_in(&store, None).await.unwrap_err().to_string();
    let summary = derive(store.directory()).unwrap().unwrap().summary;
    assert_eq!(summary.aggregates, []);
    let pairs: Vec<_> = summary.trials.iter().map(|trial| trial.pair.as_str()).collect();
    assert_eq!(pairs, ["tx0-rx0", "tx2-rx2"]);
    let failures: Vec<_> =
        summary.failures.iter().map(|failure| (failure.pair.as_str(), failure.reason.as_str())).collect();
    assert_eq!(failures, [("tx1-rx1", error.as_str())]);
    assert_eq!(summary.failures[0].receive.unwrap().packets, 1000, "what is known of it is told");
    assert_eq!((summary.status, summary.reason), (Status::Failed, Some(error)));
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_pair_fails_on_every_path() {
    let mut lab =
        Lab::new(&format!("pairs: 2, trial: {{{SHORT}, direction: bidirectional, retries: 1, repeats: 2}}"))
            // After the two of the warm-up.
            .agent("rx1", Script { dies_at_starts: vec![3], ..Script::default() });
    lab.restarts_fail = Some("there is no room");
    let summary = lab.run().await;
    let failures: Vec<_> =
        summary.failures.iter().map(|failure| (failure.pair.as_str(), failure.repeat)).collect();
    assert_eq!(failures, [("tx1-rx1", 1), ("rx1-tx1", 1), ("tx1-rx1", 2), ("rx1-tx1", 2)]);
    assert!(summary.failures.iter().all(|failure| failure.reason.contains("there is no room")));
    assert_eq!(summary.trials.len(), 4);
    assert_eq!(summary.reason.unwrap(), "4 trials could not be finished");
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_is_lost_in_every_attempt_is_not_reported_as_lost_after_its_trial() {
    // Each process has two starts of its warm-up before the trial's.
    let dying = Script { dies_at_starts: vec![3, 6], ..Script::default() };
    let summary = Lab::new(&format!("trial: {{{SHORT}, retries: 1}}")).agent("tx0", dying).run().await;
    assert_eq!(summary.recoveries, ["tx0-rx0 was started anew: tx0 was killed by signal 9"]);
    assert_eq!(summary.failures.len(), 1);
    assert_eq!(summary.failures[0].reason, "tx0 was killed by signal 9");
}

#[tokio::test(start_paused = true)]
async fn a_resumed_run_keeps_the_keys_of_its_trials() {
    let lab = Lab::new(&format!("trial: {{{SHORT}, repeats: 3}}"));
    let summary = lab.run().await;
    let directory = lab.results.path().join(&summary.experiment.id);
    let keys = || {
        let text = fs::read_to_string(directory.join(TRIAL_LOG_FILE)).unwrap();
        let records = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let keyed = records.filter_map(|record| match record {
            LogRecord::Result(record) => Some((record.number, record.key)),
            _ => None,
        });
        let mut keyed: Vec<_> = keyed.collect();
        keyed.sort();
        keyed
    };
    let before = keys();
    assert!(before.len() == 3 && before.iter().all(|(_, key)| key.is_some()), "{before:?}");
    fs::remove_file(directory.join(&summary.trials[1].trial)).unwrap();
    let (summary, place) = lab.resume().await;
    complete(&summary);
    assert_eq!((keys(), place), (before, directory.clone()));
}

/// Interface, queues with packets, share of the busiest one.
fn queues(node: &NodeSummary) -> Option<(&str, Option<u32>, f64)> {
    let interface = node.interfaces.first()?;
    Some((&interface.interface, interface.rx_queues_used, interface.busiest_rx_queue?.share))
}

/// Why nodes were not watched in a trial.
fn reasons(summary: &Summary, trial: usize) -> Vec<Option<&str>> {
    summary.trials[trial].nodes.iter().map(|node| node.reason.as_deref()).collect()
}

#[tokio::test(start_paused = true)]
async fn nodes_are_watched_beside_each_trial_and_stand_with_its_first_path() {
    let spec = format!("pairs: 2, traffic: {{frameSizes: [64, 128]}}, trial: {{{SHORT}}}");
    let mut lab = Lab::new(&spec);
    lab.watchers = vec![Fate::Lives, Fate::Lives];
    let summary = lab.run().await;
    complete(&summary);
    let watched: Vec<_> = summary.trials.iter().filter(|trial| !trial.nodes.is_empty()).collect();
    assert_eq!((summary.trials.len(), watched.len()), (4, 2));
    for trial in watched {
        let names: Vec<&str> = trial.nodes.iter().map(|node| node.node.as_str()).collect();
        assert_eq!((trial.pair.as_str(), &names[..]), ("tx0-rx0", &["n0", "n1"][..]));
        assert_eq!(queues(&trial.nodes[0]), Some(("eth0", Some(2), 0.75)));
        let record = load_trial(lab.results.path(), &summary.experiment.id, &trial.trial).unwrap();
        assert_eq!(record.nodes.iter().map(NodeSummary::from).collect::<Vec<_>>(), trial.nodes);
        assert_eq!(record.nodes[1].devices.as_ref().unwrap().interfaces[0].queues[1].packets, Some(30));
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_watches_fails_no_trial_whatever_befalls_it() {
    let mut lab = Lab::new(&format!("traffic: {{frameSizes: [64, 128]}}, trial: {{{SHORT}}}"));
    lab.watchers = vec![Fate::Refuses, Fate::Dies, Fate::Hangs, Fate::LosesConnection, Fate::Lives];
    let summary = lab.run().await;
    complete(&summary);
    let reasons = |trial: usize| reasons(&summary, trial);
    let [refused, died, hung, lost, lives] = reasons(0)[..] else { panic!("{:?}", reasons(0)) };
    assert!(refused.unwrap().contains("unknown work `watch`"), "{refused:?}");
    assert!(died.unwrap().contains("was killed by signal 9"), "{died:?}");
    assert!(hung.unwrap().contains("within"), "{hung:?}");
    assert!(lost.is_some() && lives.is_none(), "{:?}", reasons(0));
    // In the next trial, the one whose connection broke is connected again; the one that is dead still has its reason.
    let [_, died, _, again, lives] = reasons(1)[..] else { panic!("{:?}", reasons(1)) };
    assert!(died.unwrap().contains("was killed by signal 9"), "{died:?}");
    assert_eq!((again, lives), (None, None), "{:?}", reasons(1));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_watches_no_more_is_given_up() {
    let mut lab = Lab::new(&format!("trial: {{{SHORT}, repeats: 5}}"));
    lab.watchers = vec![Fate::Dies, Fate::HangsAlways, Fate::NeverRuns, Fate::LosesAcknowledgement];
    let summary = lab.run().await;
    complete(&summary);
    for trial in 0..5 {
        let [died, hung, never, acknowledged] = reasons(&summary, trial)[..] else { panic!("{trial}") };
        let is_given_up = |reason: Option<&str>| reason.unwrap().contains("given up after 3 failures");
        assert!(died.unwrap().contains("was killed by signal 9"), "{died:?}");
        for reason in [died, hung] {
            assert_eq!(is_given_up(reason), trial >= 2, "{trial}: {reason:?}");
        }
        assert_eq!(never, Some("not scheduled: Too many pods"));
        // What it saw was in hand each time, until it was given up, too.
        assert_eq!(acknowledged.is_none(), trial < 3, "{trial}: {acknowledged:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_ends_the_wait_for_an_agent_that_watches() {
    let mut lab = Lab::new(&format!("trial: {{{SHORT}, repeats: 2}}"));
    lab.watchers = vec![Fate::HangsAndInterrupts];
    let summary = lab.run().await;
    assert_eq!((summary.status, summary.trials.len()), (Status::Interrupted, 1));
    assert_eq!(reasons(&summary, 0), [Some("interrupted")]);
}

#[tokio::test(start_paused = true)]
async fn nodes_stand_with_the_first_path_that_has_a_result() {
    let nonsense = Script { reports_nonsense: true, ..Script::default() };
    let mut lab = Lab::new(&format!("pairs: 3, trial: {{{SHORT}}}")).agent("tx0", nonsense.clone());
    lab.watchers = vec![Fate::Lives];
    let summary = lab.run().await;
    let nodes: Vec<_> = summary.trials.iter().map(|trial| (trial.pair.as_str(), trial.nodes.len())).collect();
    assert_eq!(nodes, [("tx1-rx1", 1), ("tx2-rx2", 0)]);
    let mut lab = Lab::new(&format!("pairs: 2, trial: {{{SHORT}}}"))
        .agent("tx0", nonsense.clone())
        .agent("tx1", nonsense);
    lab.watchers = vec![Fate::Lives];
    let summary = lab.run().await;
    let of = |failure: &TrialFailure| {
        let trial = failure.trial.as_ref().unwrap();
        load_trial(lab.results.path(), &summary.experiment.id, trial).unwrap().nodes.len()
    };
    assert_eq!(
        summary.failures.iter().map(of).collect::<Vec<_>>(),
        [1, 0],
        "with the first, if none has one"
    );
}
