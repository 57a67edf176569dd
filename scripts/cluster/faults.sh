# Sourced by cluster.sh: what clusters do to experiments.
# shellcheck shell=bash disable=SC2154

LONG=(-n 1 --link memif --size "64,512,1500" --flows 10 --rate 1kpps --duration 4s)

# begin NAME: a longer run in the background; its process is in $run_pid.
begin() {
    "${LINERATE_BIN:-target/debug}/linerate" run "${LONG[@]}" "${SMALL[@]}" "${NO_HUGE[@]}" --set "spec.kubernetes.link.hostDirectory=/var/lib/$PREFIX" \
        --platform kubernetes --namespace "$namespace" --image "$IMAGE" --results "$work/$1.results" --json >"$work/$1.json" 2>"$work/$1.err" &
    run_pid=$!
}

# wait_for NAME TEXT: until the run has said it.
wait_for() {
    local end=$((SECONDS + 60))
    until grep -qs -- "$2" "$work/$1.json" "$work/$1.err"; do
        [ "$SECONDS" -lt "$end" ] && kill -0 "$run_pid" 2>/dev/null || return 1
        sleep 0.1
    done
}

scenario_faults() {
    begin pod
    wait_for pod '"event":"trial"' || true
    kubectl -n "$namespace" delete pod rx0 --wait=false >/dev/null || true
    status=0
    wait "$run_pid" || status=$?
    check_equal "cluster: faults: a pod is deleted: the run still ends well" 0 "$status"
    [ "$status" = 0 ] || sed 's/^/     /' "$work/pod.err"
    check_json "cluster: faults: a pod is deleted: the pair was brought back, and no trial is missing or doubled" "$work/pod.json" \
        '(.recoveries | length >= 1) and ([.trials[].profile] | length == 3 and (unique | length) == 3) and (.trials | all(.sent_packets == .received_packets + .lost_packets))'
    check_equal "cluster: faults: a pod is deleted: nothing is left" 0 "$(objects)"

    begin killed
    wait_for killed '"event":"trial"' || true
    kill -9 "$run_pid"
    wait "$run_pid" 2>/dev/null || true
    tr -d '\n' <"$(echo "$work"/killed.results/*/summary.json)" >"$work/killed.summary"
    check_json "cluster: faults: the controller is killed: the finished trial is on disk" "$work/killed.summary" '.trials | length >= 1'
    run early -n 1 --link memif "${SMALL[@]}" "${NO_HUGE[@]}"
    check_contains "cluster: faults: the controller is killed: its lease still counts" "uses the pods" "$work/early.err"
    say "cluster: waiting for the lease of the killed run to end"
    sleep 32
    run after -n 1 --link memif "${SMALL[@]}" "${NO_HUGE[@]}" --size 64 --flows 1 --rate 1kpps --packets 1000 \
        --set "spec.kubernetes.link.hostDirectory=/var/lib/$PREFIX"
    complete after 1
}
