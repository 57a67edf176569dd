# Sourced by vm.sh: runs the scenarios and counts their checks.
# shellcheck shell=bash

# Neighbours that need the same machine share a guest: see options_of.
COUNTING=(pair experiment routed queues reflect netem balancers streams tune)
# They count no packets: their guests may share the CPUs with anything.
OTHERS=(faults machine no-iommu)
SCENARIOS=("${COUNTING[@]}" "${OTHERS[@]}")
passed=0 failed=0 skipped=0 work='' child='' reason=''
# Guests that were started, by their scenarios: the process that runs each.
names=()
declare -A guests=()

# options_of SCENARIO: of the machine it needs, for `run`.
options_of() {
    case $1 in
        pair | experiment | routed | queues) echo "--wire hub --time-limit 1200" ;;
        reflect | netem) echo "--time-limit 1500" ;;
        balancers | streams | tune) echo "--hugepages 0 --driver igbvf --time-limit 900" ;;
        faults) echo "--time-limit 900" ;;
        no-iommu) echo "--no-iommu --time-limit 900" ;;
        machine) echo "none of ours" ;;
    esac
}

# run_suite [SCENARIO…|counting|others]
run_suite() {
    local scenario options='' begun=$SECONDS
    local wanted=("$@") guest=()
    case $* in
        '') wanted=("${SCENARIOS[@]}") ;;
        counting) wanted=("${COUNTING[@]}") ;;
        others) wanted=("${OTHERS[@]}") ;;
    esac
    for scenario in "${wanted[@]}"; do
        [[ " ${SCENARIOS[*]} " == *" $scenario "* ]] || usage_error "there is no scenario '$scenario', only: ${SCENARIOS[*]} counting others"
    done
    if ! can_run; then
        for scenario in "${wanted[@]}"; do check_line "NOT RUN $scenario: $reason"; done
        return 0
    fi
    need_programs
    work=$(mktemp -d)
    trap 'end_suite' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    for scenario in "${wanted[@]}"; do
        [ "$(options_of "$scenario")" = "$options" ] || begin_guest "$options"
        options=$(options_of "$scenario")
        if [ "$scenario" = machine ]; then
            say "virtual machine: machine"
            scenario_machine
        else
            guest+=("$scenario")
        fi
    done
    begin_guest "$options"
    end_guests
    echo "$passed passed, $failed failed, $skipped not run in $((SECONDS - begun)) s"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

# begin_guest OPTIONS: a guest with these, in a process of its own, for the scenarios in `guest`. Guests that count packets run at the same time: one alone
# keeps little more than one CPU busy. The others run one after the other, in the CPU time that is left.
begin_guest() {
    [ ${#guest[@]} -gt 0 ] || return 0
    local name="${guest[*]}" scenario=${guest[0]}
    mkdir "$work/$name"
    run_guest "$name" "$1" >"$work/$name.out" 2>&1 </dev/null &
    guests[$name]=$!
    names+=("$name")
    guest=()
    [[ " ${COUNTING[*]} " == *" $scenario "* ]] || end_guests
}

# run_guest NAME OPTIONS: the scenarios of NAME, one after the other in one guest; on a wire with a capture, to compare with.
run_guest() {
    local LINERATE_NOT_RUN='' words=()
    trap 'end_child' EXIT
    trap 'exit 143' TERM
    read -ra words <<<"$2"
    [[ $2 != *"--wire hub"* ]] || words+=(--capture "$work/$1.pcap")
    boot_scenarios "$1" "${words[@]}"
    capture_agrees "$1"
}

# end_guests: shows what they wrote, each as a whole and the first while it runs; their checks count as if they had been run here.
end_guests() {
    local name line ended
    for name in "${names[@]}"; do
        say "virtual machine: $name"
        while IFS= read -r line; do check_line "$line"; done < <(tail --pid="${guests[$name]}" -s 0.2 -n +1 -f "$work/$name.out")
        ended=0
        wait "${guests[$name]}" || ended=$?
        unset "guests[$name]"
        [ "$ended" -eq 0 ] || check_line "FAIL $name: ended with $ended"
    done
    names=()
}

# can_run: prepares the machine; where that is impossible for good reason, `reason` says so. What else goes wrong is an error.
can_run() {
    reason=''
    if [ "$(uname -m)" != x86_64 ]; then
        reason="the guest runs this machine's programs and is x86-64; this is $(uname -m)"
    elif [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        # Works without root where all packages are there.
        (prepare) || reason="scripts/vm.sh prepare needs root here"
    else
        prepare
    fi
    [ -z "$reason" ]
}

need_programs() {
    local bin program
    bin=$(programs)
    for program in linerate linerate-dataplane linerate-hostplane hugepage-check; do
        [ -x "$bin/$program" ] || die "$bin/$program is not there: run cargo build --workspace --bins, or say where it is: LINERATE_BIN"
    done
}

end_suite() {
    local pid
    for pid in "${guests[@]}"; do { kill -TERM "$pid" && wait "$pid"; } 2>/dev/null || true; done
    end_child
    rm -rf "$work"
}

end_child() { [ -z "$child" ] || { kill -TERM "$child" && wait "$child"; } 2>/dev/null || true; }

# boot_scenarios NAMES [OPTIONS of run]: the guest's checks are counted; that it fails without saying so is one check, too.
boot_scenarios() {
    local name=$1 status=0 before=$failed begun=$SECONDS line
    local scenarios=()
    read -ra scenarios <<<"$1"
    shift
    mkfifo "$work/$name.fifo"
    # In the background and read through a pipe, so that a signal to this script is heard at once.
    (run --results "$work/$name" "$@" -- "$PWD/scripts/vm/in_turn.sh" "${scenarios[@]}") >"$work/$name.fifo" 2>&1 &
    child=$!
    while IFS= read -r line; do check_line "$line"; done <"$work/$name.fifo"
    wait "$child" || status=$?
    child=''
    [ "$status" -eq 0 ] || [ "$failed" -gt "$before" ] || check_line "FAIL $name: the guest: ended with $status"
    echo "     $name: $((SECONDS - begun)) s in all"
}

# check_line LINE: shows it, and counts it if it is a check's.
check_line() {
    case $1 in
        "PASS "*) passed=$((passed + 1)) ;;
        "FAIL "*) failed=$((failed + 1)) ;;
        "NOT RUN "*)
            skipped=$((skipped + 1))
            [ -z "${LINERATE_NOT_RUN:-}" ] || printf '%s\n' "$1" >>"$LINERATE_NOT_RUN"
            ;;
    esac
    printf '%s\n' "$1"
}

# capture_agrees GUEST: what QEMU saw on the guest's wire is what a scenario's sender says it sent, each length a line SCENARIO LENGTH SENT FROM TO in
# `wire`. Of `pair`, nothing else of the VFs.
capture_agrees() {
    local scenario length sent from to of_pair=0 captured="$work/$1/captured"
    [ -s "$work/$1/wire" ] || return 0
    tshark -n -r "$work/$1.pcap" -T fields -e frame.len -e eth.src -e eth.dst -e frame.protocols 2>"$captured.err" >"$captured" \
        || check_line "FAIL $1: tshark does not read what was captured: $(tail -n 1 "$captured.err")"
    while read -r scenario length sent from to; do
        check_count "$scenario: frames of $length bytes on the wire" "$sent" \
            "$(awk -v row="$length $from $to" '$4 ~ /:udp/ && $1" "$2" "$3 == row { count++ } END { print count + 0 }' "$captured")"
        [ "$scenario" != pair ] || of_pair=$((of_pair + sent))
    done <"$work/$1/wire"
    # The scenario behind it begins with frames of a length of its own: see experiment.sh.
    [ "$of_pair" -eq 0 ] || check_equal "pair: nothing else of a VF on the wire" "$of_pair" \
        "$(awk '($2" "$3) ~ /02:00:00:00:0a:/ { if ($1 == 124) exit; count++ } END { print count + 0 }' "$captured")"
}

# check_equal NAME EXPECTED ACTUAL
check_equal() { if [ "$2" = "$3" ]; then check_line "PASS $1"; else check_line "FAIL $1: expected $2, is $3"; fi; }

# check_count NAME EXPECTED ACTUAL; expected is a number, or LEAST-MOST.
check_count() {
    if [ "$3" -ge "${2%-*}" ] && [ "$3" -le "${2#*-}" ]; then check_line "PASS $1"; else check_line "FAIL $1: expected $2, is $3"; fi
}
