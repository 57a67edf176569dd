# Sourced by scripts that check: one line for each check, PASS, FAIL or NOT RUN, and how many there were of each.
# shellcheck shell=bash

passed=0 failed=0 skipped=0

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

# check_equal NAME EXPECTED ACTUAL
check_equal() { if [ "$2" = "$3" ]; then check_line "PASS $1"; else check_line "FAIL $1: expected $2, is $3"; fi; }

# check_contains NAME TEXT FILE
check_contains() {
    if grep -qF -- "$2" "$3"; then check_line "PASS $1"; else check_line "FAIL $1: no '$2' in: $(tail -3 "$3" | tr '\n' ' ')"; fi
}

# check_json NAME FILE FILTER: passes when the jq filter is true of the last line of FILE.
check_json() {
    if [ -s "$2" ] && tail -n 1 "$2" | jq -e "$3" >/dev/null 2>&1; then
        check_line "PASS $1"
    else
        check_line "FAIL $1: not true: $3, in $(tail -n 1 "$2" 2>/dev/null | head -c 1000)"
    fi
}

# end_checks SECONDS-OF-BEGINNING: the sum; fails when a check failed or none passed.
end_checks() {
    echo "$passed passed, $failed failed, $skipped not run in $((SECONDS - $1)) s"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}
