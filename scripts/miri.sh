#!/usr/bin/env bash
# Runs the tests of the packet path's pure crates under Miri, which finds undefined behaviour, leaks and data races.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh
# shellcheck source=scripts/checks.sh
. scripts/checks.sh

CRATES=(measure wire traffic)
# Seconds for a crate: Miri is a hundred times slower than the tests are.
LIMIT_S=${LINERATE_MIRI_SECONDS:-900}
case ${1:-} in
    '') ;;
    -h | --help | help)
        cat <<'END'
Usage: scripts/miri.sh [CRATE…]

Runs unit tests of crates (default: measure, wire and traffic) under Miri and prints PASS, FAIL or NOT RUN for each. Miri needs a nightly
toolchain, which rustup installs where it is missing. Tests use smaller numbers there (`cfg!(miri)`); those that only do arithmetic, millions
of times, such as the pacer's, are left out.

Environment: LINERATE_MIRI_SECONDS  time limit for each crate (default: 900)

Exit codes: 0 all passed or could not run, 1 a check failed, 2 wrong usage.
END
        exit 0
        ;;
    -*) printf '%s\n' "error: there is no option '$1'; see scripts/miri.sh --help" >&2 && exit 2 ;;
    *) CRATES=("$@") ;;
esac

begun=$SECONDS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
need_rust

# can_run: what is missing is installed; `reason` says why it is not.
can_run() {
    if ! command -v rustup >/dev/null; then
        reason="Miri needs a nightly toolchain, and there is no rustup to install one"
        return 1
    fi
    if ! rustup run nightly cargo miri --version >/dev/null 2>&1 \
        && ! rustup toolchain install nightly --profile minimal --component miri --component rust-src >"$work/install" 2>&1; then
        reason="rustup could not install Miri: $(tail -1 "$work/install")"
        return 1
    fi
    if ! rustup run nightly cargo miri setup >"$work/setup" 2>&1; then
        reason="Miri cannot build its standard library: $(tail -1 "$work/setup")"
        return 1
    fi
}

reason=''
if ! can_run; then
    for crate in "${CRATES[@]}"; do check_line "NOT RUN miri: $crate: $reason"; done
    exit 0
fi
for crate in "${CRATES[@]}"; do
    ended=0
    timeout "$LIMIT_S" rustup run nightly cargo miri test --quiet -p "linerate-$crate" --lib >"$work/out" 2>&1 || ended=$?
    if [ "$ended" -eq 124 ]; then
        check_line "NOT RUN miri: $crate: not at its end after $LIMIT_S s; LINERATE_MIRI_SECONDS gives it more"
    elif [ "$ended" -eq 0 ]; then
        check_line "PASS miri: $crate: $(grep -o '^test result: ok\. [0-9]* passed' "$work/out" | grep -o '[0-9]* passed')"
    else
        tail -40 "$work/out"
        check_line "FAIL miri: $crate: see above"
    fi
done
end_checks "$begun"
