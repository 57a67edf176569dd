# Sourced by cluster.sh: runs the scenarios and counts their checks.
# shellcheck shell=bash disable=SC2154

SCENARIOS=(memif two_nodes search addresses examples kept role quotas refusals others clocks faults resume routed)
PREFIX=linerate-e2e-$$
work='' reason=''

# run_suite [SCENARIO…]
run_suite() {
    local scenario begun=$SECONDS
    local wanted=("$@")
    [ $# -gt 0 ] || wanted=("${SCENARIOS[@]}")
    for scenario in "${wanted[@]}"; do
        [[ " ${SCENARIOS[*]} " == *" $scenario "* ]] || usage_error "there is no scenario '$scenario', only: ${SCENARIOS[*]}"
    done
    work=$(mktemp -d)
    trap 'end_suite' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    if ! find_cluster; then
        for scenario in "${wanted[@]}"; do check_line "NOT RUN cluster: $scenario: $reason"; done
        return 0
    fi
    export KUBECONFIG
    mapfile -t nodes < <(kubectl get nodes -o name | sed 's|node/||')
    for scenario in "${wanted[@]}"; do
        say "cluster: $scenario"
        namespace=$PREFIX-${scenario//_/-}
        kubectl create namespace "$namespace" >/dev/null
        "scenario_$scenario"
        kubectl delete namespace "$namespace" --wait=false >/dev/null 2>&1
    done
    end_checks "$begun"
}

end_suite() {
    local left
    if [ -n "${KUBECONFIG:-}" ] && [ -z "$reason" ]; then
        for left in $(kubectl get namespaces -o name 2>/dev/null | grep "/$PREFIX-" || true); do
            kubectl delete "$left" --wait=false >/dev/null 2>&1 || true
        done
    fi
    end_cluster
    rm -rf "$work"
}

linerate() { "${LINERATE_BIN:-target/debug}/linerate" "$@"; }

# run NAME OPTIONS…: a small experiment in the scenario's namespace. Leaves NAME.json (the summary), NAME.err and the status in $status.
run() {
    local name=$1
    shift
    status=0
    timeout 180 "${LINERATE_BIN:-target/debug}/linerate" run "$@" --platform kubernetes --namespace "$namespace" --image "$IMAGE" \
        --results "$work/results" --json --quiet >"$work/$name.json" 2>"$work/$name.err" || status=$?
}

# Pods small enough for a cluster of one machine.
SMALL=(--cpu 1 --memory 256Mi --set spec.agents.memoryMb=64)
NO_HUGE=(--hugepages-2Mi 0)

# objects: how many of Linerate's there are in the namespace.
objects() {
    kubectl -n "$namespace" get pods,secrets,leases -l app.kubernetes.io/managed-by=linerate -o name | wc -l
}

# complete NAME TRIALS: the run ended well and every packet is accounted for.
complete() {
    [ "$status" = 0 ] || sed 's/^/     /' "$work/$1.err"
    check_equal "cluster: $scenario: $1: exit status" 0 "$status"
    check_json "cluster: $scenario: $1: $2 results, sent = received + lost" "$work/$1.json" \
        ".status == \"complete\" and (.trials | length == $2 and all(.sent_packets > 0 and .sent_packets == .received_packets + .lost_packets))"
    check_equal "cluster: $scenario: $1: nothing is left" 0 "$(objects)"
}
