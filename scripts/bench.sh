#!/usr/bin/env bash
# Sets up what is missing and prints the benchmarks as ratios of one run.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

usage() {
    cat <<'END'
Usage: scripts/bench.sh

Prints, each as a ratio of one run on this machine: transmitting and receiving beside a bare loop and testpmd, one lcore beside several, ordinary
memory beside hugepages (where 128 of 2 MiB are free), the instructions per packet, and streams beside
iperf3. Takes some minutes; the machine should do nothing else.
END
}
case ${1:-} in
    '') ;;
    -h | --help | help) usage && exit 0 ;;
    *) printf '%s\n' "error: there are no options; see scripts/bench.sh --help" >&2 && exit 2 ;;
esac

need_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" "${PEER_PACKAGES[@]}" valgrind
need_rust
cargo bench --quiet -p linerate-dataplane --bench transmit
echo
cargo bench --quiet -p linerate-dataplane --bench receive

cargo build --release --quiet -p linerate-dataplane --bins

# offered LCORES EAL-OPTION…: packets per second of our program on that many TX lcores, each on a CPU of its own.
offered() {
    local lcores="0@0" lcore
    for lcore in $(seq "$1"); do lcores+=",$lcore@$((lcore - 1))"; done
    target/release/linerate-dataplane --no-pci --lcores "$lcores" --vdev net_null0 "${@:2}" -- tx --peer-mac 02:00:00:00:00:02 --rate max --duration 1s \
        --flows 10000 --flow-mode sd --quiet --json 2>/dev/null | grep -o '"offered_pps":[0-9.]*' | cut -d: -f2
}

# compare TITLE FIRST SECOND: two ways to call `offered`, turn and turn about; the median of three rounds of each, and their ratio.
compare() {
    local first='' second=''
    for _ in 1 2 3; do
        # shellcheck disable=SC2086
        first+="$(offered $2)"$'\n' second+="$(offered $3)"$'\n'
    done
    awk -v title="$1" -v first="$(sort -n <<<"$first" | grep . | sed -n 2p)" -v second="$(sort -n <<<"$second" | grep . | sed -n 2p)" \
        'BEGIN { printf "%-46s %6.1f Mpps and %6.1f: %.2f\n", title, first / 1e6, second / 1e6, (first > 0 ? second / first : 0) }'
}

echo
echo "transmit, 64-byte frames, 10000 flows, the whole program; median of 3 rounds"
for lcores in $(seq 2 "$(nproc)"); do
    compare "one lcore and $lcores" "1 --no-huge -m 256" "$lcores --no-huge -m 256"
done
if [ "$(awk '/HugePages_Free/ { print $2 }' /proc/meminfo)" -ge 128 ]; then
    compare "ordinary memory and hugepages" "1 --no-huge -m 256" "1 --in-memory"
else
    say "ordinary memory and hugepages: NOT RUN, fewer than 128 hugepages are free"
fi

# Instructions do not depend on what else the machine is doing: a regression shows here first.
if command -v valgrind >/dev/null; then
    instructions() {
        valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/linerate-dataplane --no-huge --no-pci -m 128 \
            --lcores 0@0,1@0 --vdev net_null0 -- tx --peer-mac 02:00:00:00:00:02 --rate max --packets "$1" --flows 10000 \
            --flow-mode sd --quiet 2>&1 | awk '/Collected/ { print $NF }'
    }
    few=$(instructions 1000000)
    many=$(instructions 3000000)
    echo
    awk -v few="$few" -v many="$many" 'BEGIN { printf "transmit, instructions per packet, port included (callgrind): %.1f\n", (many - few) / 2e6 }'
    # counted FRAMES OPTION…: instructions that the analysis takes for each of the frames that the benchmark examines.
    bench=$(cargo bench --no-run --message-format=json -p linerate-dataplane --bench receive 2>/dev/null | grep -o '"executable":"[^"]*/receive-[^"]*"' | cut -d'"' -f4)
    counted() {
        valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*examine*' "$bench" "${@:2}" 2>&1 \
            | awk -v frames="$1" '/Collected/ { printf "%.1f", $NF / frames }'
    }
    # examined FLOWS [EVERY]: of EVERY frames one is missing.
    examined() { counted $((400000 - ${2:+400000 / $2 + }0)) --examine "$@"; }
    echo "receive, instructions per frame, checksums included, without port (callgrind): $(examined 10000)"
    echo "the same, one of 10 frames lost: $(examined 10000 10)"
    echo "the same, one flow, every second frame late, 100 gaps open: $(counted 400000 --examine-late 100)"
else
    say "instructions per packet: NOT RUN, valgrind is not installed"
fi

echo
scripts/bench_streams.sh
