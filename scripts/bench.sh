#!/usr/bin/env bash
# Sets up what is missing and prints the benchmarks as ratios of one run.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

need_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" "${PEER_PACKAGES[@]}"
need_rust
exec cargo bench --quiet -p linerate-dataplane --bench transmit "$@"
