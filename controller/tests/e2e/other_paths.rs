//! Two pairs behind one bridge that floods: each receiver gets the other pair's packets as well.

use std::time::Duration;

use crate::bridge::BridgedPath;
use crate::support::{Bench, stderr};
use linerate_results::summary::Summary;

#[test]
fn packets_of_another_pair_do_not_hide_loss() {
    let Some(path) = BridgedPath::new("packets_of_another_pair_do_not_hide_loss") else { return };
    let more = "set -e; for end in near2 far2; do
            ip link add $end arp off type veth peer name ${end}1
            ip link set ${end}1 arp off master hub; ip link set $end up; ip link set ${end}1 up
        done
        for port in near1 far1 near21 far21; do ip link set $port type bridge_slave learning off; done";
    path.succeed("sh", &["-c", more]);
    path.filter("near1", "numgen inc mod 10 == 0 counter drop");
    let bench = Bench::new(
        "  pairs: 2
  traffic: {rates: [2kpps]}
  trial: {packets: 4000, sampleInterval: 100ms}\n",
    );
    let devices = "spec.local.devices=[\
        {tx: 'net_af_packet0,iface=near', rx: 'net_af_packet0,iface=far,framecnt=16384'}, \
        {tx: 'net_af_packet0,iface=near2', rx: 'net_af_packet0,iface=far2,framecnt=16384'}]";
    let bare = bench.command(&["--json", "--quiet", "--set", devices]);
    let mut command = path.command(bare.get_program().to_str().unwrap());
    let output = command.args(bare.get_args()).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let summary: Summary = serde_json::from_slice(&output.stdout).unwrap();
    for (pair, lost) in [("tx0-rx0", 400), ("tx1-rx1", 0)] {
        let trial = summary.trials.iter().find(|trial| trial.pair == pair).unwrap();
        assert_eq!((trial.sent_packets, trial.lost_packets), (4000, lost), "{trial:?}");
        assert_eq!((trial.received_packets, trial.duplicate_packets), (4000 - lost, 0), "{trial:?}");
        assert!(trial.stale_packets > 0, "{trial:?}");
        assert!(trial.notes.iter().any(|note| note.contains("of another path")), "{:?}", trial.notes);
    }
    bench.assert_nothing_left(Duration::from_secs(2));
}
