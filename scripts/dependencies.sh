#!/usr/bin/env bash
# Holds the crates that Linerate is made of to deny.toml: licences, duplicates, sources, and known vulnerabilities where their list can be had.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh
# shellcheck source=scripts/checks.sh
. scripts/checks.sh

case ${1:-} in
    '') ;;
    -h | --help | help)
        cat <<'END'
Usage: scripts/dependencies.sh

Checks licences, duplicates and sources of all crates in Cargo.lock, as deny.toml has them, and asks RustSec's list for known vulnerabilities.
Prints PASS, FAIL or NOT RUN for each. Installs cargo-deny from crates.io where it is missing.

Exit codes: 0 all passed or could not run, 1 a check failed, 2 wrong usage.
END
        exit 0
        ;;
    *) printf '%s\n' "error: there are no options; see scripts/dependencies.sh --help" >&2 && exit 2 ;;
esac

begun=$SECONDS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
need_rust

# deny CHECK NAME
deny() {
    if cargo deny --log-level warn check --hide-inclusion-graph "$1" >"$work/out" 2>&1; then
        check_line "PASS dependencies: $2"
    else
        cat "$work/out"
        check_line "FAIL dependencies: $2: cargo deny check $1; see above"
    fi
}

if ! need_cargo_tool cargo-deny; then
    for name in licences duplicates sources vulnerabilities; do
        check_line "NOT RUN dependencies: $name: cargo-deny could not be installed from crates.io"
    done
    exit 0
fi
deny licenses "every licence is one of those in deny.toml"
deny bans "no crate is there twice but those that deny.toml names"
deny sources "every crate comes from crates.io"
# The list is a git repository: it is fetched apart, so that no network is not a finding.
if cargo deny --log-level warn fetch db >"$work/fetch" 2>&1; then
    deny advisories "no crate has a known vulnerability"
else
    check_line "NOT RUN dependencies: vulnerabilities: RustSec's list cannot be fetched: $(grep -i 'fatal\|error' "$work/fetch" | tail -1)"
fi
end_checks "$begun"
