#!/usr/bin/env bash
# Sets up what is missing and shows how well HTTP load through a balancer repeats where nothing changes: not even the speed of the CPUs.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

usage() {
    cat <<'END'
Usage: scripts/bench_repeat.sh [--pairs N] [--repeats N] [--seconds N] [--targets LIST] [--backends LIST] [--connections N]

Runs one experiment of HTTP load twice in a virtual machine and compares the two runs; so for every pair. The virtual machine's clock counts
instructions, so that nothing else on this machine makes it faster or slower: two runs differ by what the load, the balancer and the kernel do.
Rates are those of the emulated CPU, which executes an instruction in 8 ns; only their scatter counts.

  --pairs N        pairs of runs (default: 2)
  --repeats N      repeats of each trial in a run, in rounds (default: 10)
  --seconds N      how long each trial lasts, of the guest's time (default: 2)
  --targets LIST   balancers (default: "ipvs-rr")
  --backends LIST  numbers of backends (default: "1, 10, 40")
  --connections N  connections of the client (default: 40)

Environment: LINERATE_BIN  directory of linerate and linerate-hostplane (default: target/release, built before)

Exit codes: 0 no run is better or worse than its partner as far as can be told, 1 one is or a run failed, 2 wrong usage.
END
}
usage_error() { printf '%s\n' "error: $*; see scripts/bench_repeat.sh --help" >&2 && exit 2; }
pairs=2 repeats=10 seconds=2 targets=ipvs-rr backends="1, 10, 40" connections=40
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help | help) usage && exit 0 ;;
        --pairs | --repeats | --seconds | --targets | --backends | --connections) [ $# -ge 2 ] || usage_error "$1 needs a value" ;;
        *) usage_error "there is no option '$1'" ;;
    esac
    printf -v "${1#--}" '%s' "$2"
    shift 2
done
for number in "$pairs" "$repeats" "$seconds" "$connections"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] || usage_error "'$number' is not a number above 0"
done

if [ -z "${LINERATE_BIN:-}" ]; then
    need_packages "${BUILD_PACKAGES[@]}"
    need_rust
    cargo build --release --quiet -p linerate -p linerate-hostplane --bins
fi
LINERATE_BIN=$(realpath -e "${LINERATE_BIN:-${CARGO_TARGET_DIR:-target}/release}")
export LINERATE_BIN
scripts/vm.sh prepare
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/repeat.yaml" <<END
apiVersion: linerate.dev/v1alpha1
kind: Experiment
metadata: {name: repeat}
spec:
  platform: local
  local: {network: namespaces}
  http:
    targets: [$targets]
    backends: [$backends]
    connections: [$connections]
  trial: {duration: ${seconds}s, repeats: $repeats, order: rounds}
END
# An emulated CPU takes several seconds for one of its own.
scripts/vm.sh run --counted-clock --no-iommu --hugepages 0 --time-limit 14400 -- scripts/vm/repeat.sh "$pairs" "$work/repeat.yaml"
