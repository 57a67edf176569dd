# Sourced by test.sh: which tests of cargo failed, what they said, and whether they fail again when nothing else runs.
# shellcheck shell=bash

# From test.sh:
: "${scratch:?}"
# From more than so many on, what failed is not run again: that is no matter of a busy machine.
AGAIN_AT_MOST=5
# Lines of a failed test's output that are shown once more at the end.
SAID_LINES=25

# failed_tests LOG…: names, one a line, from the lists with which test programs end.
failed_tests() {
    cat "$@" | awk '
        /^failures:$/ { listed = 1; count = 0; next }
        listed && /^    [^ ]+$/ { names[count++] = $1; next }
        listed && /^test result: FAILED/ { for (i = 0; i < count; i++) print names[i] }
        !/^$/ { listed = 0; count = 0 }' | sort -u
}

# only_tests_failed LOG: no test program died, and what failed has names.
only_tests_failed() { ! grep -qF "process didn't exit successfully" "$1" && [ -n "$(failed_tests "$1")" ]; }

# said NAME LOG…: the end of what the test printed, and its panic, without backtraces.
said() {
    local name=$1
    shift
    cat "$@" | awk -v begin="---- $name stdout ----" '
        $0 == begin { inside = 1; next }
        /^---- .* stdout ----$/ || /^failures:$/ { inside = 0 }
        /^stack backtrace:$/ { traced = 1 }
        inside && !traced && !/^$/
        /^(note: Some details.*)?$/ { traced = 0 }' | tail -n "$SAID_LINES" | sed 's/^/     /'
}

# tell_failures LOG…: of cargo's tests that failed, `unsteady` is the number of those that passed when they were run again, one at a time and
# with the CPUs to themselves. Each is named on a line of its own, FAIL or UNSTEADY, below what it said the first time.
tell_failures() {
    local name names again="$scratch/again"
    unsteady=0
    mapfile -t names < <(failed_tests "$@")
    [ ${#names[@]} -gt 0 ] || return 0
    : >"$again"
    if [ ${#names[@]} -le "$AGAIN_AT_MOST" ]; then
        say "tests that failed, once more, one at a time"
        LINERATE_NOT_RUN="$again.unrun" tests --tests -- --test-threads=1 --exact "${names[@]}" >"$again" 2>&1 || true
    fi
    echo
    for name in "${names[@]}"; do
        said "$name" "$@"
        if passed_again "$name" "$again"; then
            unsteady=$((unsteady + 1))
            echo "UNSTEADY $name: failed, and passed when it was run once more"
        else
            said "$name" "$again"
            echo "FAIL $name"
        fi
    done
}

# passed_again NAME LOG: it was run to its end and did not fail; no test program died, which could have been this test. A program's own output may
# stand between a test's name and its `ok`.
passed_again() {
    grep -qF "test $1 ... " "$2" && ! grep -qF "process didn't exit successfully" "$2" && ! failed_tests "$2" | grep -qxF "$1" \
        && ! grep -qF "${1##*::}" "$2.unrun" 2>/dev/null
}
