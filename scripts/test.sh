#!/usr/bin/env bash
# Sets up what is missing, then checks form, lints and runs every test. What cannot run on this machine is named at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

case ${1:-} in
    '') ;;
    -h | --help | help)
        cat <<'END'
Usage: scripts/test.sh

Sets up what is missing, then checks form, lints and runs every test: those of the programs, and three stages that bring up a virtual machine,
containers and a Kubernetes cluster (scripts/vm.sh, containers.sh, cluster.sh). Needs root for most of them; what cannot run is named at the end.

One part alone: cargo test -p linerate --test e2e local_run; scripts/vm.sh test; scripts/cluster.sh test memif

Exit codes: 0 all passed or could not run, 1 a test failed, 2 wrong usage.
END
        exit 0
        ;;
    *) printf '%s\n' "error: there are no options; see scripts/test.sh --help" >&2 && exit 2 ;;
esac

need_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" "${PEER_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
need_rust
need_python "${PYTHON_PACKAGES[@]}"
need_promtool

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export LINERATE_NOT_RUN="$scratch/not-run"
: >"$LINERATE_NOT_RUN"

say "form: cargo fmt, shellcheck"
cargo fmt --all --check
shellcheck -x scripts/*.sh scripts/vm/*.sh scripts/containers/*.sh scripts/vm/init docker/*.sh .ci/run
# Parts of one script: what one of them sets another uses.
shellcheck -x --exclude=SC2034 scripts/cluster/*.sh

say "lints: clippy, warnings denied"
cargo clippy --workspace --all-targets --quiet -- -D warnings

say "documentation: rustdoc, warnings denied"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet

say "tests, two at a time"
# With the tests: without them cargo would build the libraries once more, with fewer features.
cargo build --workspace --bins --tests --quiet
status=0
cargo test --workspace --no-fail-fast -- --test-threads=2 --skip alone:: --skip on_stub:: 2>&1 | tee "$scratch/log" || status=$?
say "tests of rates and times, one at a time: each has the CPUs to itself"
cargo test --workspace --no-fail-fast --test e2e -- --test-threads=1 alone:: 2>&1 | tee -a "$scratch/log" || status=$?
say "tests on a stub of the Kubernetes API, side by side: mostly they wait"
cargo test --workspace --test api_stub -- --test-threads=8 2>&1 | tee -a "$scratch/log" || status=$?

sum() { awk -v word="$1" '/^test result:/ { for (i = 1; i < NF; i++) if ($(i + 1) == word";") total += $i } END { print total + 0 }' "$scratch/log"; }
passed=$(sum passed)
failed=$(sum failed)
skipped=$(wc -l <"$LINERATE_NOT_RUN")
# A test that could not run returns early and counts as passed for cargo; it does not here.
passed=$((passed - skipped))

# stage NAME COMMAND…: of those that print PASS, FAIL and NOT RUN lines.
stage() {
    local log="$scratch/$1"
    shift
    "$@" 2>&1 | tee "$log" || status=$?
    passed=$((passed + $(grep -c '^PASS ' "$log" || true)))
    failed=$((failed + $(grep -c '^FAIL ' "$log" || true)))
    skipped=$((skipped + $(grep -c '^NOT RUN ' "$log" || true)))
}

say "virtual machine: SR-IOV VFs behind an IOMMU, netem"
stage vm scripts/vm.sh test
say "containers: the images, unprivileged containers, pods"
stage containers scripts/containers.sh test
say "cluster: pods on a real Kubernetes cluster"
stage cluster scripts/cluster.sh test

if [ -s "$LINERATE_NOT_RUN" ]; then
    echo
    sort -u "$LINERATE_NOT_RUN"
fi
echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ] || status=1
exit "$status"
