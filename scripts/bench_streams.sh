#!/usr/bin/env bash
# Sets up what is missing and prints the benchmarks of streams as ratios to iperf3, both in turns on the loopback interface.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

usage() {
    cat <<'END'
Usage: scripts/bench_streams.sh [--seconds N] [--rounds N]

Prints, each as the median of several rounds and as a ratio to iperf3 of the same rounds: TCP over 1, 8 and 128 streams (Gbit/s, and CPU seconds of
both ends per Gbit), and UDP datagrams per second with one CPU for each end, with and without segmentation offload. Takes some minutes; the machine
should do nothing else.

  --seconds N   how long each run sends (default: 3)
  --rounds N    rounds, an odd number (default: 5)
END
}
seconds=3 rounds=5
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help | help) usage && exit 0 ;;
        --seconds) seconds=${2:-} && shift 2 ;;
        --rounds) rounds=${2:-} && shift 2 ;;
        *) printf '%s\n' "error: there is no option '$1'; see scripts/bench_streams.sh --help" >&2 && exit 2 ;;
    esac
done

need_packages iperf3 jq
need_rust
cargo build --release --quiet -p linerate-hostplane --bins
ours=target/release/linerate-hostplane
LINERATE_TOKEN=$(head -c 24 /dev/urandom | base64)
export LINERATE_TOKEN
work=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT

# serve NAME OPTION…: our server; its port is in $work/NAME.
serve() {
    local log="$work/$1.log"
    "$ours" serve --listen 127.0.0.1:0 --json "${@:2}" >"$log" 2>/dev/null &
    servers+=($!)
    until [ -s "$log" ]; do sleep 0.05; done
    head -1 "$log" | jq -r '.listening[0] | split(":")[-1]' >"$work/$1"
}

serve free
iperf3 --server --port 15201 >/dev/null 2>&1 &
servers+=($!)

# Each prints: received Gbit/s, CPU seconds of both ends per received Gbit, datagrams per second sent and received.
by_us() {
    "$ours" "$1" 127.0.0.1 --port "$(cat "$work/$2")" --json --quiet --duration "${seconds}s" "${@:3}" | jq -r '.directions[0] as $d
        | ($d.received_bytes * 8 / 1e9) as $gbit
        | [$d.received_bps / 1e9, (.client.cpu.process_s + .server.cpu.process_s) / $gbit, ($d.udp.offered_pps // 0), ($d.udp.received_pps // 0)] | @tsv'
}
# iperf3 gives CPU use in per cent of one CPU.
by_iperf3() {
    iperf3 --client 127.0.0.1 --port 15201 --json --time "$seconds" "$@" | jq -r '.end as $e | ($e.sum_received // $e.sum) as $r
        | ($e.sum.packets // 0) as $sent | ($sent - ($e.sum.lost_packets // 0)) as $received | ($e.sum.seconds // 1) as $seconds
        | ($r.bits_per_second * (if $sent > 0 then $received / $sent else 1 end) / 1e9) as $gbps
        | [$gbps, ($e.cpu_utilization_percent.host_total + $e.cpu_utilization_percent.remote_total) / 100 / $gbps,
           $sent / $seconds, $received / $seconds] | @tsv'
}

# median COLUMN FILE
median() { cut -f"$1" "$2" | sort -g | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }

# compare NAME: the files $work/ours and $work/theirs, by Gbit/s and CPU.
compare_tcp() {
    awk -v name="$1" -v a="$(median 1 "$work/ours")" -v b="$(median 1 "$work/theirs")" -v c="$(median 2 "$work/ours")" -v d="$(median 2 "$work/theirs")" \
        'BEGIN { printf "%-12s %8.2f %8.2f %8.2f   %9.4f %9.4f %8.2f\n", name, a, b, a / b, c, d, c / d }'
}

echo "TCP over loopback, $seconds s each; median of $rounds rounds, in turns"
printf '%-12s %8s %8s %8s   %9s %9s %8s\n' '' 'Gbit/s' iperf3 ratio 'CPU s/Gbit' iperf3 ratio
for streams in 1 8 128; do
    : >"$work/ours" && : >"$work/theirs"
    for _ in $(seq "$rounds"); do
        by_us tcp free --parallel "$streams" >>"$work/ours"
        by_iperf3 --parallel "$streams" >>"$work/theirs"
    done
    compare_tcp "$streams streams"
done

if [ "$(nproc)" -lt 2 ]; then
    say "UDP with one CPU for each end: NOT RUN, there is one CPU"
    exit 0
fi
echo
echo "UDP over loopback, 1472 bytes, one CPU for each end, $seconds s each; median of $rounds rounds, in turns"
printf '%-34s %12s %12s %8s\n' '' 'sent /s' 'received /s' ratio
serve pinned --cpus 1
rm -f "$work"/udp.*
for _ in $(seq "$rounds"); do
    by_iperf3 --udp --bitrate 0 --length 1472 --affinity 0,1 >>"$work/udp.0"
    by_us udp pinned --rate max --size 1472 --cpus 0 >>"$work/udp.1"
    by_us udp pinned --rate max --size 1472 --cpus 0 --gso 44 >>"$work/udp.2"
    by_us udp pinned --rate max --size 1472 --cpus 0 --gso 44 --gro >>"$work/udp.3"
done
names=('iperf3' 'ours' 'ours, the kernel cuts (--gso)' 'ours, cuts and joins (--gso --gro)')
base=$(median 4 "$work/udp.0")
for index in 0 1 2 3; do
    awk -v name="${names[$index]}" -v sent="$(median 3 "$work/udp.$index")" -v got="$(median 4 "$work/udp.$index")" -v base="$base" \
        'BEGIN { printf "%-34s %12.0f %12.0f %8.2f\n", name, sent, got, got / base }'
done
