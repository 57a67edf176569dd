#!/usr/bin/env bash
# Sets up what is missing, builds, and runs the embedded experiment: two processes on this machine, joined by memif.
# Needs neither a NIC nor hugepages. Options are handed on to `linerate run`.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

case ${1:-} in
    -h | --help | help)
        cat <<'END'
Usage: scripts/demo.sh [OPTIONS OF linerate run]

Installs what is missing, builds, and runs the embedded experiment, or another: two processes on this machine, joined by memif.

scripts/demo.sh                                 the embedded experiment: 6 trials of 3 s
scripts/demo.sh --size 64 --flows 1000000       other traffic
scripts/demo.sh experiment.yaml                 an experiment of your own
END
        exit 0
        ;;
esac

need_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}"
need_rust
say "building"
# Not for release: link-time optimisation takes minutes, and the embedded experiment's loads need none.
cargo build -p linerate -p linerate-dataplane
say "running the embedded experiment; its results go to $PWD/results"
target=$(cargo metadata --format-version 1 --no-deps | grep -o '"target_directory":"[^"]*"' | cut -d'"' -f4)
exec "$target/debug/linerate" run "$@"
