#!/usr/bin/env bash
# Prints what the monitor of a host costs: share of a CPU at 1, 10 and 100 samples a second.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

usage() {
    cat <<'END'
Usage: scripts/bench_monitor.sh [--seconds N] [--interface NAME]

Prints the CPU time of the monitor's process and of its readings as shares of one CPU, at 1, 10 and 100 samples a second.

  --seconds N        how long each run lasts (default: 10)
  --interface NAME   what is watched (default: lo)
END
}
seconds=10 interface=lo
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help | help) usage && exit 0 ;;
        --seconds) seconds=${2:-} && shift 2 ;;
        --interface) interface=${2:-} && shift 2 ;;
        *) printf '%s\n' "error: there is no option '$1'; see scripts/bench_monitor.sh --help" >&2 && exit 2 ;;
    esac
done

need_packages jq
need_rust
cargo build --release --quiet -p linerate-hostplane --bins
for rate in 1 10 100; do
    target/release/linerate-hostplane monitor --interface "$interface" --interval "$((1000 / rate))ms" --count "$((rate * seconds))" --json |
        tail -n 1 | jq -r --arg rate "$rate" '.summary |
            "monitor, \($rate) samples a second: \(.process_cpu_share * 1e5 | round / 1e3) % of a CPU, readings \(.reading_cpu_s / .elapsed_s * 1e5 | round / 1e3) %, \(.missed) missed"'
done
