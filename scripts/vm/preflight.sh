# Sourced by the scenarios about faults: what hugepage-check and linerate-dataplane say of one.
# shellcheck shell=bash

read -r vf _ <<<"$VM_VFS"
MEMORY_MB=64
LCORES="0@0,1@1"
REQUIRE=(--require "socket-mem=$MEMORY_MB" --require "device=$vf")
# Not every version knows it; of one that does not, the usage error is 2.
lcores_known=0
hugepage-check --require "lcores=$LCORES" >/dev/null 2>&1 || lcores_known=$?
[ "$lcores_known" -eq 2 ] || REQUIRE+=(--require "lcores=$LCORES")
CHECK=(hugepage-check --json "${REQUIRE[@]}")
START=(linerate-dataplane --lcores "$LCORES" -m "$MEMORY_MB" -a "$vf" -- ports --json)
status=0

# attempt COMMAND…: its exit status goes to `status`.
attempt() {
    status=0
    "$@" || status=$?
}

# as_nobody COMMAND…: without any privilege.
as_nobody() { setpriv --reuid nobody --regid nogroup --clear-groups env XDG_RUNTIME_DIR=/tmp "$@"; }

# all_is_well NAME
all_is_well() {
    local report="$VM_RESULTS/$1.json"
    attempt "${CHECK[@]}" >"$report"
    json "$1: hugepage-check finds nothing that fails" "$report" "$status == 0 and .satisfied and all(.checks[]; .status != \"fail\")"
    attempt "${START[@]}" >"$report" 2>/dev/null
    json "$1: linerate-dataplane starts" "$report" "$status == 0 and length == 1"
}

# names FAULT CHECK WORDS: examines FAULT.json: CHECK must fail, with WORDS (a pattern) in its summary, and tell what to do.
names() {
    local report="$VM_RESULTS/$1.json"
    json "$1: hugepage-check names it ($2)" "$report" "$status == 1 and any(.checks[]; .id == \"$2\" and .status == \"fail\"
        and (.summary | test(\"$3\")) and (.remedy | length > 0))"
    note "$1: $(value "$report" '[.checks[] | select(.status == "fail") | "\(.id): \(.summary)"] | join("; ")')"
}

# refuses FAULT WORDS: examines FAULT.start: an error with WORDS (a pattern) and a remedy.
refuses() {
    local answer="$VM_RESULTS/$1.start" said
    said="$(tail -n 1 "$answer" | jq -r '.error.message // "no error" | split("\n")[0]' 2>/dev/null) (exit code $status)"
    json "$1: linerate-dataplane refuses and names it" "$answer" \
        "$status == 1 and (.error.message | test(\"$2\") and test(\"remedy\"))"
    note "$1: $said"
}
