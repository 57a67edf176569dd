# Sourced by cluster.sh: two controllers in one namespace, with clocks that differ.
# shellcheck shell=bash disable=SC2154

# with_clock OFFSET COMMAND…: its wall clock is off by so much; the monotonic one is right.
with_clock() {
    local offset=$1
    shift
    # Fields of the environment, not of the shell: the command is a function.
    LD_PRELOAD=$faketime FAKETIME=$offset DONT_FAKE_MONOTONIC=1 FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_NO_CACHE=1 "$@"
}

scenario_clocks() {
    local faketime tries
    need_packages faketime
    faketime=$(find /usr/lib -name libfaketime.so.1 2>/dev/null | head -1)
    if [ -z "$faketime" ]; then
        check_line "NOT RUN cluster: clocks: there is no libfaketime"
        return 0
    fi
    begin clocks
    wait_for clocks '"event":"trial"' || true
    tries=(-n 1 --link memif "${SMALL[@]}" "${NO_HUGE[@]}")
    with_clock +10m run ahead "${tries[@]}"
    check_equal "cluster: clocks: a second controller, ten minutes ahead, is refused" 1 "$status"
    check_contains "cluster: clocks: it names the run that lives" "uses the pods" "$work/ahead.err"
    ends_well clocks "cluster: clocks: the first run ends well"
    check_json "cluster: clocks: nobody touched its pods" "$work/clocks.json" '(.recoveries | length == 0) and (.trials | length == 3)'

    # One whose clock is ahead is killed: its lease seems renewed for ten minutes to come. The next run removes what it left when the lease has not
    # changed for 30 s.
    with_clock +10m begin future
    wait_for future '"event":"trial"' || true
    kill -9 "$run_pid"
    wait "$run_pid" 2>/dev/null || true
    run after "${tries[@]}" --size 64 --flows 1 --rate 1kpps --packets 1000 --set "spec.kubernetes.link.hostDirectory=/var/lib/$PREFIX"
    complete after 1
}
