# Sourced by vm.sh: runs the scenarios and counts their checks.
# shellcheck shell=bash

# Neighbours that need the same machine share a guest: see options_of.
SCENARIOS=(pair experiment routed reflect netem balancers streams tune faults machine no-iommu)
# They count no packets, so that their guests may share the CPUs with that of `faults`.
BESIDE_FAULTS=(machine no-iommu)
passed=0 failed=0 skipped=0 work='' child='' beside='' with_beside='' reason=''

# options_of SCENARIO: of the machine it needs, for `run`.
options_of() {
    case $1 in
        # Nothing else may be on its wire.
        pair) echo "--wire hub" ;;
        experiment | routed) echo "--wire hub --time-limit 900" ;;
        reflect | netem) echo "--time-limit 1500" ;;
        balancers | streams | tune) echo "--hugepages 0 --driver igbvf --time-limit 900" ;;
        no-iommu) echo "--no-iommu" ;;
        machine) echo "none of ours" ;;
    esac
}

# run_suite [SCENARIO…]
run_suite() {
    local scenario options='' begun=$SECONDS
    local wanted=("$@") guest=()
    [ $# -gt 0 ] || wanted=("${SCENARIOS[@]}")
    for scenario in "${wanted[@]}"; do
        [[ " ${SCENARIOS[*]} " == *" $scenario "* ]] || usage_error "there is no scenario '$scenario', only: ${SCENARIOS[*]}"
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
    if [ $# -eq 0 ]; then
        wanted=("${SCENARIOS[@]:0:${#SCENARIOS[@]}-${#BESIDE_FAULTS[@]}}")
        with_beside=true
    fi
    for scenario in "${wanted[@]}"; do
        [ "$(options_of "$scenario")" = "$options" ] || boot_guest
        options=$(options_of "$scenario")
        if [ "$scenario" = machine ]; then
            say "virtual machine: machine"
            scenario_machine
        else
            guest+=("$scenario")
        fi
    done
    boot_guest
    [ -z "$beside" ] || end_beside
    echo "$passed passed, $failed failed, $skipped not run in $((SECONDS - begun)) s"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

# boot_guest: the scenarios in `guest`, one after the other in one guest with `options`; on a wire with a capture, to compare with.
boot_guest() {
    [ ${#guest[@]} -gt 0 ] || return 0
    local name="${guest[*]}" words=()
    say "virtual machine: $name"
    [ -z "$with_beside" ] || [ "$name" != faults ] || begin_beside
    read -ra words <<<"$options"
    [[ $options != *"--wire hub"* ]] || words+=(--capture "$work/$name.pcap")
    boot_scenarios "$name" "${words[@]}"
    capture_agrees "$name" "${guest[0]}"
    guest=()
}

# begin_beside: the scenarios beside `faults`, one after the other, in a process of their own.
begin_beside() {
    LINERATE_NOT_RUN='' scripts/vm.sh test "${BESIDE_FAULTS[@]}" >"$work/beside.out" 2>&1 </dev/null &
    beside=$!
}

# end_beside: their checks count as if they had been run here.
end_beside() {
    local status=0 before=$failed line
    wait "$beside" || status=$?
    beside=''
    while IFS= read -r line; do check_line "$line"; done <"$work/beside.out"
    [ "$status" -eq 0 ] || [ "$failed" -gt "$before" ] || check_line "FAIL ${BESIDE_FAULTS[*]}: ended with $status"
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
    [ -z "$beside" ] || { kill -TERM "$beside" 2>/dev/null && wait "$beside"; } || true
    [ -z "$child" ] || { kill -TERM "$child" 2>/dev/null && wait "$child"; } || true
    rm -rf "$work"
}

# boot_scenarios NAMES [OPTIONS of run]: the guest's checks are counted; that it fails without saying so is one check, too.
boot_scenarios() {
    local name=$1 status=0 before=$failed begun=$SECONDS line
    local scenarios=()
    read -ra scenarios <<<"$1"
    shift
    mkdir -p "$work/$name"
    mkfifo "$work/$name.out"
    # In the background and read through a pipe, so that a signal to this script is heard at once.
    (run --results "$work/$name" "$@" -- "$PWD/scripts/vm/in_turn.sh" "${scenarios[@]}") >"$work/$name.out" 2>&1 &
    child=$!
    while IFS= read -r line; do check_line "$line"; done <"$work/$name.out"
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

# capture_agrees GUEST SCENARIO: what QEMU saw on the guest's wire is what the scenario's sender says it sent, each length a line
# LENGTH SENT FROM TO in `wire`. Of `pair`, nothing else of the VFs.
capture_agrees() {
    local length sent from to total=0
    [ -s "$work/$1/wire" ] || return 0
    while read -r length sent from to; do
        check_count "$2: frames of $length bytes on the wire" "$sent" \
            "$(frames "$1" "eth.src == $from && eth.dst == $to && udp && frame.len == $length")"
        total=$((total + ${sent%-*}))
    done <"$work/$1/wire"
    # An experiment warms up as well.
    [ "$2" != pair ] || check_equal "$2: nothing else of a VF on the wire" "$total" "$(frames "$1" 'eth.addr[0:5] == 02:00:00:00:0a')"
}

# frames GUEST FILTER
frames() { tshark -r "$work/$1.pcap" -Y "$2" -T fields -e frame.number 2>/dev/null | wc -l; }

# check_equal NAME EXPECTED ACTUAL
check_equal() { if [ "$2" = "$3" ]; then check_line "PASS $1"; else check_line "FAIL $1: expected $2, is $3"; fi; }

# check_count NAME EXPECTED ACTUAL; expected is a number, or LEAST-MOST.
check_count() {
    if [ "$3" -ge "${2%-*}" ] && [ "$3" -le "${2#*-}" ]; then check_line "PASS $1"; else check_line "FAIL $1: expected $2, is $3"; fi
}
