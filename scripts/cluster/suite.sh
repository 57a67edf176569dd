# Sourced by cluster.sh: runs the scenarios and counts their checks.
# shellcheck shell=bash disable=SC2154

# Of both nodes, or of none in particular.
ANYWHERE=(two_nodes search addresses streams balancers examples refusals)
# Pods of one node: these run at the same time, each row on a node of its own.
ON_ONE_NODE=(memif kept role quotas others unreachable clocks)
ON_THE_OTHER=(faults resume)
# Takes the place of the cluster that is up.
LAST=(routed)
SCENARIOS=("${ANYWHERE[@]}" "${ON_ONE_NODE[@]}" "${ON_THE_OTHER[@]}" "${LAST[@]}")
PREFIX=linerate-e2e-$$
work='' reason='' beside=''

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
    if [ $# -gt 0 ] || [ "${#nodes[@]}" -lt 2 ]; then
        run_scenarios "${wanted[@]}"
    else
        run_scenarios "${ANYWHERE[@]}"
        begin_beside
        run_on "${nodes[1]}" "${ON_THE_OTHER[@]}"
        end_beside
        run_scenarios "${LAST[@]}"
    fi
    end_checks "$begun"
}

run_scenarios() {
    local scenario
    for scenario in "$@"; do
        say "cluster: $scenario"
        namespace=$PREFIX-${scenario//_/-}
        kubectl create namespace "$namespace" >/dev/null
        "scenario_$scenario"
        kubectl delete namespace "$namespace" --wait=false >/dev/null 2>&1
    done
}

# run_on NODE SCENARIO…: pods of an experiment are on that node.
run_on() {
    local SMALL=("${SMALL[@]}" --node "$1,$1")
    shift
    run_scenarios "$@"
}

# begin_beside: one row of scenarios, in a process of its own. What it writes is shown when it has ended.
begin_beside() {
    mkdir "$work/beside"
    row_beside "$work/beside" >"$work/beside.out" 2>&1 </dev/null &
    beside=$!
}

# row_beside DIRECTORY: for its files.
row_beside() {
    local work=$1 LINERATE_NOT_RUN=''
    run_on "${nodes[0]}" "${ON_ONE_NODE[@]}"
}

# end_beside: its checks count as if they had been run here.
end_beside() {
    local status=0 line
    wait "$beside" || status=$?
    beside=''
    while IFS= read -r line; do check_line "$line"; done <"$work/beside.out"
    [ "$status" -eq 0 ] || check_line "FAIL cluster: ${ON_ONE_NODE[*]}: ended with $status"
}

end_suite() {
    local left
    proxies_go_on
    [ -z "$beside" ] || { pkill -TERM -P "$beside" && kill -TERM "$beside" && wait "$beside"; } 2>/dev/null || true
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

# id_of NAME: of that run's experiment.
id_of() { tail -n 1 "$work/$1.json" | jq -r '.experiment.id // "none"'; }

# results_valid CHECK DIRECTORY [ID…]: these experiments of a directory of results are whole, or all that are there. What is not is shown.
results_valid() {
    local check=$1 directory=$2 told invalid
    shift 2
    if told=$(linerate results validate --results "$directory" "$@" 2>&1); then
        check_line "PASS $check"
    else
        invalid=$(grep -v ': valid, [0-9]* files$' <<<"$told" || true)
        printf '%s\n' "$invalid" | sed 's/^/     /'
        check_line "FAIL $check: ${invalid%%$'\n'*}"
    fi
}

# complete NAME TRIALS: the run ended well and every packet is accounted for.
complete() {
    [ "$status" = 0 ] || sed 's/^/     /' "$work/$1.err"
    check_equal "cluster: $scenario: $1: exit status" 0 "$status"
    check_json "cluster: $scenario: $1: $2 results, sent = received + lost" "$work/$1.json" \
        ".status == \"complete\" and (.trials | length == $2 and all(.sent_packets > 0 and .sent_packets == .received_packets + .lost_packets))"
    check_equal "cluster: $scenario: $1: nothing is left" 0 "$(objects)"
}
