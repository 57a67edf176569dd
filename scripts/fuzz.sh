#!/usr/bin/env bash
# Feeds the readers of documents, messages, frames, scripts, captures and the kernel's files with whatever a fuzzer finds: scripts/fuzz.sh [SECONDS_PER_TARGET].
# Findings are kept below fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh
# shellcheck source=scripts/checks.sh
. scripts/checks.sh

TARGETS=(profile message probe pktgen capture iperf3 host http)
case ${1:-} in
    -h | --help | help)
        cat <<'END'
Usage: scripts/fuzz.sh [SECONDS_PER_TARGET]    (default: 60)

Runs each fuzz target for so long, two at a time for each CPU, and prints PASS, FAIL or NOT RUN for each. Findings are kept below
fuzz/artifacts; inputs that reach further than earlier ones in ~/.cache/linerate/fuzz, from where the next run goes on. Installs cargo-fuzz from
crates.io where it is missing.

Exit codes: 0 all passed or could not run, 1 a target found something, 2 wrong usage.
END
        exit 0
        ;;
    *[!0-9]*) printf '%s\n' "error: '$1' is no number of seconds; see scripts/fuzz.sh --help" >&2 && exit 2 ;;
esac
seconds=${1:-60}
begun=$SECONDS
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
need_packages gcc libc6-dev g++
need_rust
if ! need_cargo_tool cargo-fuzz; then
    for target in "${TARGETS[@]}"; do check_line "NOT RUN fuzz: $target: cargo-fuzz could not be installed from crates.io"; done
    exit 0
fi
# Coverage needs no more than a compiler flag; the sanitizers, which only a nightly compiler has, are left out: the code is safe Rust.
if ! cargo fuzz build --sanitizer none; then
    check_line "FAIL fuzz: the targets do not build; see above"
    exit 1
fi

# fuzz TARGET: its output goes to a file of its own.
fuzz() {
    mkdir -p "$CACHE_DIR/fuzz/$1"
    cargo fuzz run --sanitizer none "$1" "$CACHE_DIR/fuzz/$1" -- -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 >"$work/$1" 2>&1
}

say "fuzzing ${TARGETS[*]}, each for $seconds s"
for target in "${TARGETS[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$((2 * $(nproc)))" ]; do wait -n || true; done
    { fuzz "$target" && touch "$work/$target.passed"; } &
done
wait
for target in "${TARGETS[@]}"; do
    if [ -e "$work/$target.passed" ]; then
        check_line "PASS fuzz: $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$target") inputs in $seconds s"
    else
        tail -40 "$work/$target"
        check_line "FAIL fuzz: $target: see above and fuzz/artifacts/$target"
    fi
done
end_checks "$begun"
