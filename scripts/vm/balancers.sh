#!/usr/bin/env bash
# Experiments of HTTP through the kernel's IP Virtual Server with each of its usual schedulers: every request is counted at both ends, and
# connections reach the backends as the scheduler says.
set -euo pipefail
# shellcheck source=scripts/vm/checks.sh
. "$VM_SCRIPTS/checks.sh"

CONNECTIONS=12

modprobe -a veth bridge ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_sh nf_conntrack nf_tables nft_chain_nat nft_masq
cat >"$VM_RESULTS/balancers.yaml" <<END
apiVersion: linerate.dev/v1alpha1
kind: Experiment
metadata: {name: balancers}
spec:
  platform: local
  local: {network: namespaces}
  http:
    targets: [ipvs-rr, ipvs-wrr, ipvs-lc, ipvs-sh]
    backends: [1, 3]
    connections: [$CONNECTIONS]
    clients: 2
    rates: [100]
    timeout: 20s
  trial: {duration: 1s}
END
status=0
linerate run "$VM_RESULTS/balancers.yaml" --results "$VM_RESULTS/balancers" --quiet >"$VM_RESULTS/balancers.out" 2>"$VM_RESULTS/balancers.err" || status=$?
equal "ends well" 0 "$status"
[ "$status" -eq 0 ] || sed 's/^/     /' "$VM_RESULTS/balancers.err"
summary=$(ls "$VM_RESULTS"/balancers/*/summary.json)
tr -d '\n' <"$summary" >"$VM_RESULTS/summary.line"
line="$VM_RESULTS/summary.line"

note "$(value "$line" '[.http[] | "\(.target) \(.backends): \([.by_backend[].connections] | join(","))"] | join("; ")')"
# spread TARGET FILTER of the sorted numbers of connections
spread() { echo ".http[] | select(.target == \"$1\" and .backends == 3) | [.by_backend[].connections] | sort | $2"; }
jsons "$line" "IPVS" \
    "a trial of each scheduler and number of backends" '.http | length == 8 and all(.complete)' \
    "intended = sent + skipped" '.http | all(.requests | .intended == .sent + .skipped and .sent > 0)' \
    "answers of each backend at both ends are the same" '.http | all(.[].by_backend[]; .answers == .answered and .answered == .requests)' \
    "no end contradicts the other" '.http | all(.disagreements == [])' \
    "rr: each backend has as many connections" "$(spread ipvs-rr ". == [4, 4, 4]")" \
    "wrr: by weight 1, 2, 3" "$(spread ipvs-wrr ". == [2, 4, 6]")" \
    "lc: nearly as many" "$(spread ipvs-lc "add == $CONNECTIONS and .[2] - .[0] <= 2")" \
    "sh: a client stays with its backend" "$(spread ipvs-sh "add == $CONNECTIONS and all(. % ($CONNECTIONS / 2) == 0)")"
status=0
linerate results validate --results "$VM_RESULTS/balancers" "$(basename "$(dirname "$summary")")" >>"$VM_RESULTS/balancers.out" 2>&1 || status=$?
equal "the results are valid" 0 "$status"
equal "no namespace is left" "" "$(ip netns list)"
end_scenario
