use linerate_results::fixtures::{
    extreme_record, received, record, recorded, recorded_of, summary, transmitted,
};
use linerate_results::store::record::TimedSample;
use linerate_results::store::{SUMMARY_FILE, Store};
use linerate_results::summary::{Status, Summary};
use linerate_results::validate::validate;
use linerate_wire::counters::{PortCounters, ReceiveCounters, TransmitCounters};
use linerate_wire::loss::LossTimeline;
use linerate_wire::report::LatencySummary;

use super::series::{PORT_KEYS, RATE_KEYS, READ_KEY, RECEIVE_KEYS, SeriesColumn, TIME_KEY, counting, values};
use super::*;

fn names(columns: &[SeriesColumn]) -> Vec<&str> {
    columns.iter().map(|column| column.name.as_ref()).collect()
}

#[test]
fn rates_are_of_the_true_time_between_samples() {
    let columns = transmitter(&record());
    // The last 10 ms are too short for a row of their own.
    assert_eq!(values(&columns, "pkts_tx"), [14_880_952, 1_980]);
    assert_eq!(values(&columns, TIME_KEY), [1_000_000_000, 1_510_000_000]);
    assert_eq!(values(&columns, "opackets"), values(&columns, "pkts_tx"));
    assert_eq!(values(&columns, "obytes"), [60 * 14_880_952, 118_824]);
    // 64 bytes per frame on layer 2; with 84 bytes on the wire the link carries 10 Gbit/s.
    assert_eq!(values(&columns, "mbits_tx"), [7_619, 1]);
    assert_eq!(values(&columns, "tx_l1_bps")[0], 14_880_952 * 84 * 8);
    let columns = receiver(&record());
    assert_eq!(values(&columns, "rx_pps")[1], 3_824);
    assert_eq!(values(&columns, TIME_KEY)[0], 1_000_000_100);
}

#[test]
fn the_older_kits_keys_are_all_there_and_the_loss_is_their_difference() {
    let (tx, rx) = (transmitter(&record()), receiver(&record()));
    for key in RATE_KEYS.iter().chain(&PORT_KEYS) {
        assert!(names(&tx).contains(key), "{key}");
    }
    for key in RECEIVE_KEYS {
        assert!(names(&rx).contains(&key), "{key}");
    }
    for columns in [&tx, &rx] {
        let unique: std::collections::BTreeSet<_> = names(columns).into_iter().collect();
        assert_eq!(unique.len(), columns.len());
        assert!(columns.iter().all(|column| column.values.len() == 2));
    }
    let most = |columns, key| values(columns, key).iter().max().unwrap().to_owned();
    let lost = most(&tx, "port_opackets") - most(&rx, "rx_packets");
    assert_eq!(lost as u64, record().result.unwrap().lost_packets);
}

#[test]
fn every_counter_with_a_key_is_exported_and_documented() {
    let (tx, rx) = (transmitter(&record()), receiver(&record()));
    let page = include_str!("../../../../docs/results/exports.md");
    let told: Vec<&str> = page.split([' ', '`', '\n']).collect();
    let sent = TransmitCounters::TABLE.map(|counter| (&tx, counter.shown.column));
    let received = ReceiveCounters::TABLE.map(|counter| (&rx, counter.shown.column));
    let of_ports = [&tx, &rx].map(|end| PortCounters::TABLE.map(|counter| (end, counter.shown.column)));
    let all = [&sent[..], &received, &of_ports[0], &of_ports[1]].concat();
    for (columns, key) in all.into_iter().filter_map(|(columns, key)| Some((columns, key?))) {
        assert!(names(columns).contains(&key), "{key} is not exported");
        assert!(told.contains(&key), "docs/results/exports.md does not name {key}");
    }
}

#[test]
fn a_port_that_was_reset_has_our_counters() {
    let mut record = record();
    record.samples.tx[1].port = None;
    assert_eq!(values(&transmitter(&record), "port_opackets"), [14_880_952, 14_881_962]);
    // What only the port counts is not known, and not 0.
    let keys =
        |columns: &[SeriesColumn]| columns.iter().map(|column| column.name.to_string()).collect::<Vec<_>>();
    let [tx, whole] = [&record, &self::record()].map(|record| keys(&transmitter(record)));
    assert!(whole.iter().any(|key| key == "port_ierrors") && whole.iter().any(|key| key == "imissed"));
    assert!(!tx.iter().any(|key| key == "port_ierrors" || key == "imissed"), "{tx:?}");
    record.samples.rx[0].port = None;
    assert!(!keys(&receiver(&record)).iter().any(|key| key == "rx_errors"));
}

#[test]
fn csv_has_the_older_form_and_one_with_a_header() {
    let (columns, record) = (transmitter(&record()), record());
    let start = started_at(&summary(Status::Complete), &record);
    let text = csv::port_stats(&columns, start);
    let line = "2030-01-02T03:04:07,ipackets=0,opackets=14880952,ibytes=0,obytes=892857120,ierrors=0,oerrors=0,rx_nombuf=0,imissed=0";
    assert_eq!(text.lines().next().unwrap(), line);
    let text = csv::rate_stats(&columns, start);
    let line = "2030-01-02T03:04:07,mbits_tx=7619,pkts_tx=14880952,obytes=892857120,opackets=14880952,imissed=0,oerrors=0,rx_nombuf=0,\
                pkts_rx=0,mbits_rx=0,ipackets=0,ibytes=0,ierrors=0";
    assert_eq!(text.lines().next().unwrap(), line);
    let table = String::from_utf8(csv::table(&columns).unwrap()).unwrap();
    assert!(
        table.starts_with("time_ns,read_ns,mbits_tx,") && table.contains("\n1000000000,1000000000,7619,"),
        "{table}"
    );
}

#[test]
fn every_form_is_written_whole_and_listed_in_the_manifest() {
    let (results, id) = recorded();
    let written =
        export(results.path(), std::slice::from_ref(&id), &[ExportFormat::All], None).unwrap().written;
    let directory = results.path().join(&id);
    let manifest = Manifest::read(&directory).unwrap().unwrap();
    for path in &written {
        assert!(
            fs::metadata(path).unwrap().len() > 0 || path.ends_with("rx0_warmup.log"),
            "{}",
            path.display()
        );
        if let Ok(below) = path.strip_prefix(&directory) {
            assert!(manifest.files.contains_key(below.to_str().unwrap()), "{}", below.display());
        }
    }
    let first: Vec<_> = written.iter().map(|path| fs::read(path).unwrap()).collect();
    let again =
        export(results.path(), std::slice::from_ref(&id), &[ExportFormat::All], None).unwrap().written;
    assert!(
        again == written && again.iter().zip(&first).all(|(path, bytes)| &fs::read(path).unwrap() == bytes)
    );
    let name = written.iter().find(|path| path.extension().is_some_and(|end| end == "npz")).unwrap();
    let profile = &record().profile;
    let wanted = format!("{id}_tx0_tx_txcores_1_rxcores_1_spec_{profile}_20300102_030406.npz");
    assert_eq!(name.file_name().unwrap().to_str(), Some(&wanted[..]));
    assert_eq!(name.parent().unwrap(), directory.join("tx0-rx0").join(profile));

    let elsewhere = results.path().join("elsewhere");
    let written = export(results.path(), std::slice::from_ref(&id), &[ExportFormat::Npz], Some(&elsewhere))
        .unwrap()
        .written;
    assert!(written.len() == 2 && written.iter().all(|path| path.starts_with(elsewhere.join(&id))));
}

#[test]
fn numbers_of_any_size_are_exported() {
    let (results, id) = recorded_of(extreme_record());
    let written = export(results.path(), &[id], &[ExportFormat::All], None).unwrap().written;
    assert!(written.len() > 10, "{written:?}");
}

#[test]
fn unreadable_experiments_are_named_when_the_table_of_all_lacks_them() {
    let (results, id) = recorded();
    fs::create_dir(results.path().join("00000000")).unwrap();
    let exported = export(results.path(), &[id], &[ExportFormat::Summary], None).unwrap();
    let [(left_out, reason)] = &exported.left_out[..] else { panic!("{exported:?}") };
    assert_eq!(left_out, "00000000");
    assert!(reason.to_string().contains("no summary.json"), "{reason}");
    let table = fs::read_to_string(&exported.written[0]).unwrap();
    assert_eq!(table.lines().count(), 2, "{table}");
}

#[test]
fn a_damaged_trial_of_another_experiment_leaves_only_that_one_out_of_the_table_of_all() {
    let (results, id) = recorded();
    let other = Store::create(results.path()).unwrap();
    let mut summary = Recorded::open(results.path(), &id).unwrap().summary;
    summary.experiment.id = other.id().to_owned();
    other.write_summary(&summary).unwrap();
    let exported = export(results.path(), std::slice::from_ref(&id), &[ExportFormat::All], None).unwrap();
    let [(left_out, reason)] = &exported.left_out[..] else { panic!("{exported:?}") };
    assert!(left_out == other.id() && reason.to_string().contains("trial.json"), "{left_out}: {reason}");
    let table = fs::read_to_string(results.path().join("summary_all_experiments.csv")).unwrap();
    assert!(table.lines().count() == 2 && table.contains(&id), "{table}");
    let damaged = export(results.path(), &[other.id().to_owned()], &[ExportFormat::Summary], None);
    assert!(damaged.unwrap_err().to_string().contains("trial.json"), "what is asked for is not left out");
}

#[test]
fn the_table_of_all_experiments_loses_the_rows_of_removed_ones_only() {
    let (results, id) = recorded();
    let path = results.path().join("summary_all_experiments.csv");
    let forget = |ids: &[&str]| {
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        forget_removed(results.path(), &ids).unwrap();
    };
    forget(&["00000000"]);
    assert!(!path.exists(), "no table is made");
    export(results.path(), std::slice::from_ref(&id), &[ExportFormat::Summary], None).unwrap();
    let table = fs::read_to_string(&path).unwrap();
    let (header, row) = table.split_once('\n').unwrap();
    // Cells with a comma stay as they are; so do rows of another length, and those that somebody added.
    let of = |id: &str| format!("{id},\"tx0-rx0, far\",64\n");
    let others = format!("{}{}", of("our own"), of("0badf00d"));
    fs::write(&path, format!("{header}\n{}{row}{}{others}", of("00000000"), of("ffffffff"))).unwrap();
    forget(&["00000000", "ffffffff"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{table}{others}"));

    forget(&[&id]);
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{header}\n{others}"));
    let foreign = "name,id\nours,00000000\n";
    fs::write(&path, foreign).unwrap();
    forget(&["00000000", "ours"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), foreign, "a table of somebody else");
}

#[test]
fn the_summary_table_and_the_metadata_have_the_older_names() {
    let (results, id) = recorded();
    let written = export(
        results.path(),
        std::slice::from_ref(&id),
        &[ExportFormat::Summary, ExportFormat::Metadata],
        None,
    )
    .unwrap()
    .written;
    let text =
        |name: &str| fs::read_to_string(written.iter().find(|path| path.ends_with(name)).unwrap()).unwrap();
    let table = text("summary_all_experiments.csv");
    let (header, row) = table.split_once('\n').unwrap();
    assert_eq!(
        header,
        "exp_id,pod_pair,pkt_size,percent_rate,num_flows,tx_mpps,rx_mpps,max_tx_mpps,max_rx_mpps,tx_packets,rx_packets,tx_bytes,rx_bytes"
    );
    assert_eq!(
        row.trim_end(),
        format!(
            "{id},tx0-rx0,64,,1,7.440981,7.440975,14.880952,14.879999,14881962,14881950,892917720,892917120"
        )
    );
    let metadata = text("metadata.txt");
    let keys: Vec<&str> = metadata.lines().map(|line| line.split_once('=').unwrap().0).collect();
    let old = "expid timestamp profile tx_pod rx_pod tx_node rx_node tx_mac rx_mac tx_numa rx_numa tx_cmdline rx_cmdline";
    assert_eq!(keys[..13], old.split(' ').collect::<Vec<_>>()[..]);
    assert!(metadata.contains("\noption.spec.trial.duration=2s\n"), "{metadata}");
}

#[test]
fn percentages_are_of_the_links_line_rate() {
    let mut summary: Summary = summary(Status::Complete);
    let mut trial = record().result.unwrap();
    trial.intended_pps = Some(7_440_476.190_476);
    assert_eq!(summary.percent_of_line_rate(&trial), None);
    summary.experiment.agents = vec![linerate_results::summary::AgentInfo {
        name: "tx0".into(),
        node: "n".into(),
        command_line: vec![],
        device: String::new(),
        driver: String::new(),
        mac: linerate_traffic::mac::MacAddr([0; 6]),
        numa_node: None,
        link_bps: Some(10_000_000_000),
        lcores: vec![1],
        hugepages: false,
        tick_hz: 1,
        tick_rate: None,
    }];
    assert_eq!(summary.percent_of_line_rate(&trial), Some(50.0));
    assert!((summary.line_rate_pps(&trial).unwrap() - 14_880_952.38).abs() < 0.01);
    trial.intended_pps = None;
    assert_eq!(summary.percent_of_line_rate(&trial), None, "no load was asked for");
}

/// A lossless trial at 1 Mpps for 2 s, sampled every 200 ms, with a packet delay of `delay_ms`: the last
/// samples are those of the drain.
fn lossless(delay_ms: i64, clocks_agree: bool) -> TrialRecord {
    let mut record = record();
    let result = record.result.as_mut().unwrap();
    let delay_ns = delay_ms as u64 * 1_000_000;
    result.duration_s = 2.0;
    result.clock.one_way_valid = clocks_agree;
    let times =
        LatencySummary { min: delay_ns, p50: delay_ns, max: 2 * delay_ns, ..LatencySummary::default() };
    result.latency_ns = clocks_agree.then_some(times);
    let packets = |at_ms: i64| at_ms.clamp(0, 2000) as u64 * 1000;
    let sent = |at_ms| TimedSample { at_ns: at_ms * 1_000_000, ..transmitted(packets(at_ms)) };
    let received =
        |at_ms: i64| TimedSample { at_ns: at_ms * 1_000_000, ..received(packets(at_ms - delay_ms)) };
    record.samples.tx = (1..10).map(|index| index * 200).chain([2000, 2003]).map(sent).collect();
    let last = 2000 + delay_ms;
    let drained = [last + 1, last + 250].into_iter();
    let grid = (1..).map(|index| index * 200).take_while(|at_ms| *at_ms <= last);
    record.samples.rx = grid.chain(drained).map(received).collect();
    record
}

#[test]
fn the_mean_of_a_rate_is_that_of_the_trial_whatever_the_drain_takes() {
    for (delay_ms, clocks_agree) in [(0, true), (0, false), (30, true), (30, false), (300, true), (700, true)]
    {
        let record = lossless(delay_ms, clocks_agree);
        for (columns, key) in [(transmitter(&record), "pkts_tx"), (receiver(&record), "rx_pps")] {
            let column = columns.iter().find(|column| column.name == key).unwrap();
            let plain = column.values.iter().sum::<i64>() as f64 / column.values.len() as f64;
            let what = format!("{key} of {delay_ms} ms, {clocks_agree}: {:?}", column.values);
            assert!((plain - 1e6).abs() < 1e3, "as a notebook takes it: {plain} {what}");
            assert!((column.mean().unwrap() - 1e6).abs() < 1e3, "weighed by time: {what}");
            assert!(column.values.iter().all(|pps| (*pps - 1_000_000).abs() < 10_000), "{what}");
            assert!((9..=11).contains(&column.values.len()), "{what}");
        }
        let rx = receiver(&record);
        assert_eq!(values(&rx, "rx_packets").last(), Some(&2_000_000), "after the drain");
        let (time, read) = (values(&rx, TIME_KEY), values(&rx, READ_KEY));
        assert_eq!(time[..time.len() - 1], read[..read.len() - 1]);
        assert!(time.last() < read.last());
    }
}

#[test]
fn an_experiment_that_is_not_there_is_named() {
    let results = tempfile::tempdir().unwrap();
    for (id, word) in
        [("../../etc", "8 hexadecimal digits"), ("0badf00d", "0badf00d: there is no such experiment")]
    {
        let error =
            export(results.path(), &[id.to_owned()], &[ExportFormat::All], None).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        assert!(!results.path().join(SUMMARY_FILE).exists());
    }
}

#[test]
fn several_queues_have_a_column_each() {
    let mut record = record();
    assert!(!names(&receiver(&record)).iter().any(|name| name.starts_with("rx_queue")), "one is the whole");
    for (sample, frames) in record.samples.rx.iter_mut().zip([[1, 2], [3, 5], [8, 9]]) {
        sample.queue_frames = frames.to_vec();
    }
    let columns = receiver(&record);
    assert_eq!(values(&columns, "rx_queue_0_frames"), [1, 8]);
    assert_eq!(values(&columns, "rx_queue_1_frames"), [2, 9]);
}

#[test]
fn of_a_round_trip_the_transmitters_file_has_what_came_back() {
    let mut record = record();
    assert!(values(&transmitter(&record), "rx_packets").is_empty());
    assert_eq!(counting(&record), receiver(&record));
    record.result.as_mut().unwrap().direction = linerate_experiment::direction::Direction::RoundTrip;
    for (sample, packets) in record.samples.tx.iter_mut().zip([14_000_000, 14_001_000, 14_001_962]) {
        sample.receive = Some(ReceiveCounters { packets, ..ReceiveCounters::default() });
    }
    let columns = transmitter(&record);
    let most = |key: &str| values(&columns, key).iter().copied().max().unwrap();
    assert_eq!(most("port_opackets") - most("rx_packets"), 880_000, "lost on the way there and back");
    assert_eq!(values(&columns, "rx_pps")[1], 3_847);
    let mut names = names(&columns);
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "no key twice");
    assert_eq!(counting(&record), columns);
}

#[test]
fn what_was_exported_is_valid() {
    let (results, id) = recorded();
    export(results.path(), std::slice::from_ref(&id), &[ExportFormat::All], None).unwrap();
    let verdict = validate(results.path(), &id, None).unwrap();
    assert!(verdict.valid && verdict.files > 10, "{verdict:?}");
}

#[test]
fn our_own_npz_files_are_valid_for_the_older_kits_readers() {
    let (results, id) = recorded();
    let to = results.path().join("npz");
    export(results.path(), std::slice::from_ref(&id), &[ExportFormat::Npz], Some(&to)).unwrap();
    let verdict = validate(results.path(), to.to_str().unwrap(), Some(2)).unwrap();
    assert!(verdict.valid && verdict.files == 2, "{verdict:?}");
}

#[test]
fn losses_are_a_table_of_intervals_that_adds_up() {
    let lossy = |unplaced_packets| LossTimeline {
        interval_ns: 10_000_000,
        intervals: vec![(3, 5), (u64::MAX, 5)],
        unplaced_packets,
        ..LossTimeline::default()
    };
    let exported = |loss: Option<LossTimeline>| {
        let (results, id) = recorded_of(TrialRecord { loss, ..record() });
        let files = export(results.path(), &[id], &[ExportFormat::Csv], None).unwrap();
        let table = files.written.into_iter().find(|path| path.ends_with("losses.csv"));
        table.map(|path| fs::read_to_string(path).unwrap())
    };
    assert_eq!(
        exported(Some(lossy(2))).unwrap(),
        "from_ns,to_ns,lost_packets\n30000000,40000000,5\n18446744073709551615,18446744073709551615,5\n,,2\n"
    );
    assert!(exported(Some(lossy(0))).unwrap().ends_with(",5\n"));
    assert_eq!(exported(None), None);
}
