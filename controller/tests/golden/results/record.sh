#!/bin/bash
# Records the runs that golden tests read, with the programs of a directory; needs root. See ../README.md.
# Usage: record.sh PROGRAMS INTO NAME…, as in record.sh target/debug controller/tests/golden/results/recorded one-way round-trip
set -euo pipefail
if [ "${1:-}" != inside ]; then
    programs=$(realpath "$1")
    mkdir -p "$2"
    # A host name and a kernel command line of nobody's; paths that are the same everywhere.
    exec unshare --mount --uts "$0" inside "$programs" "$(realpath "$2")" "${@:3}"
fi
programs=$2 into=$3 names=" ${*:4} "
hostname lab1
mount -t tmpfs none /opt
mkdir /opt/linerate /opt/work
cp "$programs/linerate" "$programs/linerate-dataplane" /opt/linerate/
echo 'BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro quiet' >/opt/cmdline
mount --bind /opt/cmdline /proc/cmdline
cd /opt/work

document() { # name, the rest of spec
    printf 'apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nmetadata: {name: %s}\nspec:\n  local: {hugepages: never}\n%s\n' "$1" "$2" >"$1.yaml"
}
record() {
    [[ $names == *" $1 "* ]] || return 0
    document "$@" && /opt/linerate/linerate run "$1.yaml" --quiet
}
# Until the second trial sends; then the signal.
broken_off() { # signal, name, spec
    [[ $names == *" $2 "* ]] || return 0
    document "$2" "$3"
    /opt/linerate/linerate run "$2.yaml" --json >events & pid=$!
    until grep '"event":"sample"' events | grep -q '"number":2'; do sleep 0.02; done
    kill -"$1" "$pid"
    wait "$pid" || true
}

SHORT='  trial: {duration: 300ms, sampleInterval: 100ms'
record one-way "  traffic: {frameSizes: [64, 512], flows: [1, 10], flowMode: sd, rates: [100pps]}
$SHORT, allFlows: true}"
for name in repeats-a repeats-b; do
    record $name "  traffic: {frameSizes: [64], flows: [10], flowMode: sd, rates: [100pps]}
$SHORT, repeats: 2}"
done
record before-the-log "  traffic: {frameSizes: [64, 512], flows: [10], flowMode: sd, rates: [100pps]}
$SHORT}"
record bidirectional "  traffic: {frameSizes: [128], flows: [4], flowMode: sdpp, rates: [100pps]}
$SHORT, direction: bidirectional}"
record round-trip "  traffic: {frameSizes: [64], flows: [4], flowMode: sp, rates: [100pps]}
$SHORT, direction: round-trip}"
record search "  traffic: {frameSizes: [64]}
  trial: {sampleInterval: 100ms}
  search:
    goals: [{name: ndr, duration: 300ms, initialDuration: 300ms, sum: 600ms}, {name: pdr, duration: 300ms, initialDuration: 300ms, sum: 600ms}]
    load: {min: 300pps, max: 600pps}
    repeats: 2
    warmUp: 200ms" || [ $? = 3 ] # Its results are irregular.
broken_off INT interrupted "  traffic: {frameSizes: [imix, 64], flows: [1], rates: [max]}
$SHORT}"
broken_off KILL killed "  traffic: {frameSizes: [64, 512], flows: [1], rates: [100pps]}
$SHORT}"
cp -r results/. "$into/"
