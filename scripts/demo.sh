#!/usr/bin/env bash
# Sets up what is missing, builds, and runs the embedded experiment: two processes on this machine, joined by memif.
# Needs neither a NIC nor hugepages. Options are handed on to `linerate run`.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

need_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}"
need_rust
say "building"
cargo build --release --quiet -p linerate -p linerate-dataplane
say "running the embedded experiment; its results go to $PWD/results"
exec cargo run --release --quiet -p linerate -- run "$@"
