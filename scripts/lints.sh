#!/usr/bin/env bash
# Form and lints of the code, its documentation and the scripts.
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
Usage: scripts/lints.sh

Checks the form of the code (cargo fmt), its lints (clippy) and documentation (rustdoc) with warnings denied, examples there, and the scripts
(shellcheck).
Prints PASS or FAIL for each.

Environment: CARGO_TARGET_DIR  directory of what is compiled (default: target)

Exit codes: 0 all passed, 1 a check failed, 2 wrong usage.
END
        exit 0
        ;;
    *) printf '%s\n' "error: there are no options; see scripts/lints.sh --help" >&2 && exit 2 ;;
esac

begun=$SECONDS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
need_packages shellcheck
need_rust

# lint NAME COMMAND…
lint() {
    if "${@:2}" >"$work/out" 2>&1; then
        check_line "PASS lints: $1"
    else
        cat "$work/out"
        check_line "FAIL lints: $1: see above"
    fi
}

lint "cargo fmt" cargo fmt --all --check
lint "shellcheck" shellcheck -x scripts/*.sh scripts/vm/*.sh scripts/containers/*.sh scripts/vm/init docker/*.sh .ci/run
# Parts of one script: what one of them sets another uses.
lint "shellcheck of the cluster's scripts" shellcheck -x --exclude=SC2034 scripts/cluster/*.sh
lint "clippy" cargo clippy --workspace --all-targets --quiet -- -D warnings
# rustdoc needs the metadata of every library. These are the variables that cargo-clippy sets: with them, cargo finds what clippy has written and
# checks no library twice.
driver="$(rustc --print sysroot)/bin/clippy-driver"
if [ -x "$driver" ]; then
    export RUSTC_WORKSPACE_WRAPPER="$driver" CLIPPY_ARGS="-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__"
fi
# There are no examples: with them, cargo takes the dependencies' features of the tests, with which all is compiled already.
RUSTDOCFLAGS="-D warnings" lint "rustdoc" cargo doc --workspace --no-deps --document-private-items --lib --examples --quiet
# Of all crates, this one has examples.
lint "examples in documentation" cargo test --doc --package hugepage-check --quiet
end_checks "$begun"
