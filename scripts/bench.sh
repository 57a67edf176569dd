#!/usr/bin/env bash
# Sets up what is missing and prints the benchmarks as ratios of one run.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

need_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" "${PEER_PACKAGES[@]}"
need_rust
cargo bench --quiet -p linerate-dataplane --bench transmit "$@"
echo
cargo bench --quiet -p linerate-dataplane --bench receive

# Instructions do not depend on what else the machine is doing: a regression shows here first.
if command -v valgrind >/dev/null; then
    cargo build --release --quiet -p linerate-dataplane --bins
    instructions() {
        valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/linerate-dataplane --no-huge --no-pci -m 128 \
            --lcores 0@0,1@0 --vdev net_null0 -- tx --peer-mac 02:00:00:00:00:02 --rate max --packets "$1" --flows 10000 \
            --flow-mode sd --quiet 2>&1 | awk '/Collected/ { print $NF }'
    }
    few=$(instructions 1000000)
    many=$(instructions 3000000)
    echo
    awk -v few="$few" -v many="$many" 'BEGIN { printf "transmit, instructions per packet, port included (callgrind): %.1f\n", (many - few) / 2e6 }'
else
    say "instructions per packet: NOT RUN, valgrind is not installed"
fi
