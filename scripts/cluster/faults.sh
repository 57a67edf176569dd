# Sourced by cluster.sh: what clusters do to experiments.
# shellcheck shell=bash disable=SC2154

LONG=(-n 1 --link memif --size "64,512,1500" --flows 10 --rate 1kpps --duration 3s)

# begin NAME [OPTION]: a longer run in the background; its process is in $run_pid.
begin() {
    : >"$work/$1.json"
    "${LINERATE_BIN:-target/debug}/linerate" run "${LONG[@]}" "${SMALL[@]}" "${NO_HUGE[@]}" --set "spec.kubernetes.link.hostDirectory=/var/lib/$PREFIX" \
        --platform kubernetes --namespace "$namespace" --image "$IMAGE" --results "$work/$1.results" --json ${2:+"$2"} >"$work/$1.json" 2>"$work/$1.err" &
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

# ends_well NAME CHECK: the run of that name does.
ends_well() {
    local status=0
    wait "$run_pid" || status=$?
    check_equal "$2" 0 "$status"
    [ "$status" = 0 ] || sed 's/^/     /' "$work/$1.err"
}

scenario_faults() {
    begin pod
    wait_for pod '"event":"trial"' || true
    kubectl -n "$namespace" delete pod rx0 --wait=false >/dev/null || true
    ends_well pod "cluster: faults: a pod is deleted: the run still ends well"
    check_json "cluster: faults: a pod is deleted: the pair was brought back, and no trial is missing or doubled" "$work/pod.json" \
        '(.recoveries | length >= 1) and ([.trials[].profile] | length == 3 and (unique | length) == 3) and (.trials | all(.sent_packets == .received_packets + .lost_packets))'
    check_equal "cluster: faults: a pod is deleted: nothing is left" 0 "$(objects)"

    receiver_killed

    begin killed
    wait_for killed '"event":"trial"' || true
    kill -9 "$run_pid"
    wait "$run_pid" 2>/dev/null || true
    tr -d '\n' <"$(echo "$work"/killed.results/*/summary.json)" >"$work/killed.summary"
    check_json "cluster: faults: the controller is killed: the finished trial is on disk" "$work/killed.summary" '.trials | length >= 1'
    # The very run may go on at once: its directory is locked, so that nobody else can be at it.
    begin killed --resume
    ends_well killed "cluster: faults: the controller is killed: the run is resumed at once, and ends well"
    whole_and_gone killed
}

# A receiver that is killed leaves its memif's socket behind; the next one listens there.
receiver_killed() {
    local name="cluster: faults: the receiver is killed" id
    if [ -z "$lab_is_ours" ]; then
        check_line "NOT RUN $name: its process is not on this machine"
        return 0
    fi
    begin receiver
    wait_for receiver '"event":"trial"' || true
    id=$(basename "$(dirname "$(echo "$work"/receiver.results/*/summary.json)")")
    check_equal "$name: there is one" 1 "$(pgrep -c -f "role=server.*socket=/run/memif/$id-0[.]sock")"
    pkill -9 -f "role=server.*socket=/run/memif/$id-0[.]sock" || true
    ends_well receiver "$name: the run still ends well"
    check_json "$name: the pair was brought back, and no trial is missing or doubled" "$work/receiver.json" \
        '(.recoveries | length >= 1) and ([.trials[].profile] | length == 3 and (unique | length) == 3)'
}

# whole_and_gone NAME: every trial is there once, in one experiment that is valid, and the cluster has nothing of it.
whole_and_gone() {
    check_json "cluster: $1: no trial is lost and none doubled" "$work/$1.json" \
        '[.trials[].profile] | length == 3 and (unique | length) == 3'
    check_equal "cluster: $1: all of it is one experiment" 1 "$(find "$work/$1.results" -name summary.json | wc -l)"
    results_valid "cluster: $1: its results are valid" "$work/$1.results"
    check_equal "cluster: $1: nothing is left" 0 "$(objects)"
}

# Each time a little further: before anything is there, while pods come, in the warm-up, in a trial, and when the pods go.
scenario_resume() {
    local phase delay
    while IFS='|' read -r phase delay; do
        begin resume --resume
        wait_for resume "$phase" || true
        sleep "$delay"
        kill -9 "$run_pid" 2>/dev/null || true
        wait "$run_pid" 2>/dev/null || true
        echo "     killed $delay s after: $phase"
    done <<'END_OF_PHASES'
starting 2 agents|0
starting 2 agents|1.5
warming up|0
"event":"sample"|0.5
"event":"trial"|0
"event":"trial"|2
ending the agents|0
END_OF_PHASES
    begin resume --resume
    ends_well resume "cluster: resume: killed in every phase: the last run ends well"
    whole_and_gone resume
    note_times resume
}
