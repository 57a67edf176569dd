#!/usr/bin/env bash
# Feeds the readers of documents, messages, frames, scripts and captures with whatever a fuzzer finds: scripts/fuzz.sh [SECONDS_PER_TARGET].
# Findings are kept below fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

case ${1:-} in
    -h | --help | help)
        echo "Usage: scripts/fuzz.sh [SECONDS_PER_TARGET]    (default: 60); findings are kept below fuzz/artifacts"
        exit 0
        ;;
    *[!0-9]*) printf '%s\n' "error: '$1' is no number of seconds; see scripts/fuzz.sh --help" >&2 && exit 2 ;;
esac
seconds=${1:-60}
need_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" clang g++
need_rust
command -v cargo-fuzz >/dev/null || cargo install --quiet --locked cargo-fuzz
for target in profile message probe pktgen capture; do
    say "fuzzing $target for $seconds s"
    # Coverage needs no more than a compiler flag; the sanitizers, which only a nightly compiler has, are left out: the code is safe Rust.
    cargo fuzz run --sanitizer none "$target" -- -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1
done
