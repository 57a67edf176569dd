# Sourced by vm.sh: runs the scenarios and counts their checks.
# shellcheck shell=bash

SCENARIOS=(pair reflect experiment routed netem balancers streams tune faults machine no-iommu)
# They need neither hugepages nor VFs that DPDK has: one guest runs all of them.
IN_ONE_GUEST=(balancers streams tune)
# They count no packets, so that their guests may share the CPUs with that of `faults`.
BESIDE_FAULTS=(machine no-iommu)
passed=0 failed=0 skipped=0 work='' child='' beside='' reason=''

# run_suite [SCENARIO…]
run_suite() {
    local scenario begun=$SECONDS
    local wanted=("$@") together=()
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
    [ $# -gt 0 ] || wanted=("${SCENARIOS[@]:0:${#SCENARIOS[@]}-${#BESIDE_FAULTS[@]}}")
    for scenario in "${wanted[@]}"; do
        if [[ " ${IN_ONE_GUEST[*]} " == *" $scenario "* ]]; then
            together+=("$scenario")
            continue
        fi
        if [ "${#together[@]}" -gt 0 ]; then
            boot_together
        fi
        say "virtual machine: $scenario"
        [ $# -gt 0 ] || [ "$scenario" != faults ] || begin_beside
        case $scenario in
            machine) scenario_machine ;;
            pair | experiment) scenario_wire "$scenario" ;;
            # Three trials of 20,000 packets there and back.
            reflect) boot_scenario reflect --time-limit 600 ;;
            routed) boot_scenario routed --wire hub ;;
            no-iommu) boot_scenario no-iommu --no-iommu ;;
            netem) boot_scenario netem --time-limit 900 ;;
            *) boot_scenario "$scenario" ;;
        esac
    done
    [ "${#together[@]}" -eq 0 ] || boot_together
    [ -z "$beside" ] || end_beside
    echo "$passed passed, $failed failed, $skipped not run in $((SECONDS - begun)) s"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
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

# scenario_wire NAME: with a capture of the wire, to compare with.
scenario_wire() {
    boot_scenario "$1" --wire hub --capture "$work/$1.pcap"
    capture_agrees "$1"
}

# boot_together: what `together` has, in one guest.
boot_together() {
    say "virtual machine: ${together[*]}"
    boot_scenario "${together[*]}" --hugepages 0 --driver igbvf --time-limit 900
    together=()
}

# boot_scenario NAMES [OPTIONS of run]: the guest's checks are counted; that it fails without saying so is one check, too.
boot_scenario() {
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

# capture_agrees: what QEMU saw on the wire is what the sender says it sent, and nothing else of the VFs.
capture_agrees() {
    local length sent from to total=0
    [ -s "$work/$1/wire" ] || return 0
    while read -r length sent from to; do
        check_equal "$1: frames of $length bytes on the wire" "$sent" \
            "$(frames "$1" "eth.src == $from && eth.dst == $to && udp && frame.len == $length")"
        total=$((total + sent))
    done <"$work/$1/wire"
    # An experiment warms up as well.
    [ "$1" = experiment ] || check_equal "$1: nothing else of a VF on the wire" "$total" "$(frames "$1" 'eth.addr[0:5] == 02:00:00:00:0a')"
}

# frames SCENARIO FILTER
frames() { tshark -r "$work/$1.pcap" -Y "$2" -T fields -e frame.number 2>/dev/null | wc -l; }

# check_equal NAME EXPECTED ACTUAL
check_equal() { if [ "$2" = "$3" ]; then check_line "PASS $1"; else check_line "FAIL $1: expected $2, is $3"; fi; }
