# Sourced by the scenarios, in the guest: one line per check, and what several scenarios need.
# shellcheck shell=bash

# Set by guest.sh:
: "${VM_SCRIPTS:?}" "${VM_RESULTS:?}"
SCENARIO=$(basename "$0" .sh)
FAILED=0

pass() { echo "PASS $SCENARIO: $1"; }
# fail NAME REASON
fail() {
    echo "FAIL $SCENARIO: $1: $2"
    FAILED=1
}
# not_run NAME REASON
not_run() { echo "NOT RUN $SCENARIO: $1: $2"; }
note() { echo "     $*"; }
end_scenario() { exit "$FAILED"; }

# jq 1.6 reads its own library at each start, a third of a second on an emulated CPU.
jq() { gojq "$@"; }

# equal NAME EXPECTED ACTUAL
equal() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "expected $2, is $3"; fi; }

# json NAME FILE FILTER: passes when the jq filter is true of the last line of FILE.
json() { if holds "$2" "$3"; then pass "$1"; else fail "$1" "not true: $3, in $(tail -n 1 "$2" | head -c 1000)"; fi; }
# jq -e is content with no input at all.
holds() { [ -s "$1" ] && tail -n 1 "$1" | jq -e "$2" >/dev/null 2>&1; }

# jsons FILE PREFIX NAME FILTER [NAME FILTER…]: as `json` for each filter, which are asked at once: every start of a program takes an emulated CPU
# a while. A check's name is "PREFIX: NAME".
jsons() {
    local file=$1 prefix=$2 checks=("${@:3}") filter='' number answers=()
    for ((number = 1; number < ${#checks[@]}; number += 2)); do
        filter+="${filter:+, }(try ([${checks[number]}] | length > 0 and last) catch false)"
    done
    [ ! -s "$file" ] || mapfile -t answers < <(tail -n 1 "$file" | jq "$filter" 2>/dev/null)
    for ((number = 0; number < ${#checks[@]}; number += 2)); do
        if [ "${answers[number / 2]:-}" = true ]; then
            pass "$prefix: ${checks[number]}"
        else
            fail "$prefix: ${checks[number]}" "not true: ${checks[number + 1]}, in $(tail -n 1 "$file" 2>/dev/null | head -c 1000)"
        fi
    done
}

# value FILE FILTER: from the last line of FILE.
value() { tail -n 1 "$1" | jq -r "$2"; }

uptime_s() { cut -d' ' -f1 /proc/uptime; }
# since UPTIME: seconds, to a tenth.
since() { awk -v from="$1" '{ printf "%.1f", $1 - from }' /proc/uptime; }

meminfo() { awk -v name="$1:" '$1 == name { print $2 }' /proc/meminfo; }

# nothing_held WHEN: hugepages and VFIO groups are as free as before. A group can be opened once.
nothing_held() {
    local vf group
    equal "every hugepage is free $1" "$(meminfo HugePages_Total)" "$(meminfo HugePages_Free)"
    for vf in $VM_VFS; do
        group=/dev/vfio/$(group_of "$vf")
        if (: <>"$group") 2>/dev/null; then pass "$group can be opened $1"; else fail "$group can be opened $1" "it is held, or not there"; fi
    done
}
