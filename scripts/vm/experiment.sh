#!/usr/bin/env bash
# An experiment from its document: the controller starts an agent on each VF, runs the trials, and files the results.
set -euo pipefail
# shellcheck source=scripts/vm/checks.sh
. "$VM_SCRIPTS/checks.sh"
# shellcheck source=scripts/vm/vfs.sh
. "$VM_SCRIPTS/vfs.sh"

read -r tx_vf rx_vf <<<"$VM_VFS"
read -r tx_mac rx_mac <<<"$VM_MACS"
work=$(mktemp -d)
cat >"$work/experiment.yaml" <<EOF
apiVersion: linerate.dev/v1alpha1
kind: Experiment
metadata: {name: two-vfs}
spec:
  traffic: {frameSizes: [128, 1518], flows: [1, 100], rates: [5kpps], flowMode: sd}
  trial: {packets: 5000, warmUp: {timeout: 30s}, drain: {settle: 1s}}
  agents: {memoryMb: 64, txd: 4096, rxd: 4096}
  local:
    devices: [{tx: "$tx_vf", rx: "$rx_vf"}]
    hugepages: always
EOF
start=$(uptime_s)
status=0
linerate run "$work/experiment.yaml" --results "$work/results" --json --quiet >"$work/summary.json" 2>"$work/run.err" || status=$?
note "the experiment took $(since "$start") s"
equal "the experiment ends well" 0 "$status"
[ "$status" -eq 0 ] || sed 's/^/     /' "$work/run.err" "$work"/results/*/*.log
summary=$work/summary.json
json "every trial has a result" "$summary" '.status == "complete" and (.trials | length) == 4 and .failures == []'
json "sent = received + lost in each" "$summary" 'all(.trials[]; .sent_packets == .received_packets + .lost_packets)'
json "all are sent and none is lost" "$summary" 'all(.trials[]; .sent_packets == 5000 and .lost_packets == 0)'
json "the senders' VF counted as many" "$summary" 'all(.trials[]; .tx_port.tx_packets == .sent_packets)'
json "the receivers' VF counted as many" "$summary" 'all(.trials[]; .rx_port.rx_packets == .received_packets)'
json "no counter disagrees" "$summary" 'all(.trials[]; .disagreements == [])'
jq -r '.trials[] | "     \(.profile): sent \(.sent_packets) received \(.received_packets) lost \(.lost_packets), \(.verdict.kind): \(.verdict.evidence)"' \
    < <(tail -n 1 "$summary")
# The warm-up's frames are those of the first trial.
warm_up=$(value "$summary" '.warm_up[0] | .sent_packets * .attempts')
echo "124 $((10000 + warm_up)) $tx_mac $rx_mac" >>"$VM_RESULTS/wire"
echo "1514 10000 $tx_mac $rx_mac" >>"$VM_RESULTS/wire"
nothing_held "afterwards"
end_scenario
