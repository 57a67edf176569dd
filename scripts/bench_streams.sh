#!/usr/bin/env bash
# Sets up what is missing and prints the benchmarks of streams as ratios to iperf3, iperf2, nuttcp, riperf3, qperf and sockperf, all in turns on
# the loopback interface.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

usage() {
    cat <<'END'
Usage: scripts/bench_streams.sh [--seconds N] [--rounds N] [--streams LIST] [--only tcp|udp|rr]

Prints, each as the median of several rounds and as ratios to other programs of the same rounds: TCP over 1, 8, 128 and 3,000 streams (Gbit/s, and
CPU seconds of both ends per Gbit, as the kernel counts them for the processes), and UDP datagrams per second with one CPU for each end, with and
without segmentation offload, and requests per second, one at a time, of TCP and UDP. iperf3, riperf3 and nuttcp have at most 128 streams. Takes
some minutes; the machine should do nothing else.

  --seconds N        how long each run sends (default: 3)
  --rounds N         rounds, an odd number (default: 5)
  --streams LIST     numbers of TCP streams (default: "1 8 128 3000")
  --only tcp|udp|rr  one of the parts
END
}
seconds=3 rounds=5 counts="1 8 128 3000" only=
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help | help) usage && exit 0 ;;
        --seconds) seconds=${2:-} && shift 2 ;;
        --rounds) rounds=${2:-} && shift 2 ;;
        --streams) counts=${2:-} && shift 2 ;;
        --only) only=${2:-} && shift 2 ;;
        *) printf '%s\n' "error: there is no option '$1'; see scripts/bench_streams.sh --help" >&2 && exit 2 ;;
    esac
done

need_packages iperf3 iperf nuttcp qperf sockperf jq util-linux
need_rust
need_riperf3
cargo build --release --quiet -p linerate-hostplane --bins
ours=target/release/linerate-hostplane
LINERATE_TOKEN=$(head -c 24 /dev/urandom | base64)
export LINERATE_TOKEN
work=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
# Thousands of sockets at both ends.
ulimit -n "$(ulimit -Hn)"

# serve NAME PORT COMMAND…: a server of another program; its process is in $work/NAME.pid.
serve() {
    "${@:3}" >"$work/$1.log" 2>/dev/null &
    servers+=($!)
    echo $! >"$work/$1.pid"
    echo "$2" >"$work/$1.port"
}
# serve_ours NAME PREFIX…: our server on a free port, behind other commands.
serve_ours() {
    local log="$work/$1.log"
    "${@:2}" "$ours" serve --listen 127.0.0.1:0 --json >"$log" 2>/dev/null &
    servers+=($!)
    echo $! >"$work/$1.pid"
    until [ -s "$log" ]; do sleep 0.05; done
    head -1 "$log" | jq -r '.listening[0] | split(":")[-1]' >"$work/$1.port"
}
port() { cat "$work/$1.port"; }

# cpu_ticks PID…: user and system time of processes and of their children that have ended, in hundredths of a second.
cpu_ticks() {
    local pid total=0 ticks
    for pid in "$@"; do
        ticks=$(sed 's/.*) //' "/proc/$pid/stat" | awk '{ print $12 + $13 + $14 + $15 }')
        total=$((total + ticks))
    done
    echo "$total"
}

# measured NAME COMMAND…: runs a client; its output goes to $work/out, the CPU seconds of both ends to $work/cpu.
measured() {
    local server before after client
    server=$(cat "$work/$1.pid")
    # A server may have crashed under an earlier test.
    [ -e "/proc/$server" ] || return 1
    before=$(cpu_ticks "$server")
    { TIMEFORMAT='%U %S' && time "${@:2}" >"$work/out" 2>"$work/err"; } 2>"$work/time" || true
    sleep 0.1
    [ -e "/proc/$server" ] || return 1
    after=$(cpu_ticks "$server")
    client=$(awk '{ print $1 + $2 }' "$work/time")
    awk -v client="$client" -v ticks="$((after - before))" 'BEGIN { print client + ticks / 100 }' >"$work/cpu"
}
# row GBIT_PER_S GBIT SENT_PER_S RECEIVED_PER_S: Gbit/s, CPU seconds per Gbit, datagrams per second.
row() { awk -v gbps="$1" -v gbit="$2" -v cpu="$(cat "$work/cpu")" -v sent="$3" -v got="$4" 'BEGIN { printf "%s\t%s\t%s\t%s\n", gbps, cpu / (gbit > 0 ? gbit : 1e-9), sent, got }'; }
# Values in the order that `row` wants.
rows_of() { local values && read -ra values && [ "${values[0]}" != 0 ] && row "${values[@]}"; }

# Each runs one test and prints a row: NAME of the server, tcp or udp, streams or options.
ours_tcp() {
    measured "$1" "${@:3}" "$ours" tcp 127.0.0.1 --port "$(port "$1")" --json --quiet --duration "${seconds}s" --parallel "$2" || return 1
    jq -r '.directions[0] | "\(.received_bps / 1e9) \(.received_bytes * 8 / 1e9) 0 0"' "$work/out" | rows_of
}
iperf3_tcp() {
    measured "$1" "${@:3}" iperf3 --client 127.0.0.1 --port "$(port "$1")" --json --time "$seconds" --parallel "$2" || return 1
    jq -r '.end.sum_received | "\(.bits_per_second / 1e9) \(.bytes * 8 / 1e9) 0 0"' "$work/out" | rows_of
}
riperf3_tcp() {
    measured "$1" "${@:3}" "$LINERATE_RIPERF3" --client 127.0.0.1 --port "$(port "$1")" --json --time "$seconds" --parallel "$2" || return 1
    jq -r '.end.sum_received | "\(.bits_per_second / 1e9) \(.bytes * 8 / 1e9) 0 0"' "$work/out" | rows_of
}
iperf2_tcp() {
    measured "$1" "${@:3}" iperf --client 127.0.0.1 --port "$(port "$1")" --reportstyle C --time "$seconds" --parallel "$2" || return 1
    # A line per stream.
    awk -F, '$6 > 0 { bytes += $8; rate += $9 } END { print rate / 1e9, bytes * 8 / 1e9, 0, 0 }' "$work/out" | rows_of
}
nuttcp_tcp() {
    measured "$1" "${@:3}" nuttcp -fparse -P "$(port "$1")" -p 15310 -T "$seconds" -N "$2" 127.0.0.1 || return 1
    tr ' ' '\n' <"$work/out" | awk -F= '{ value[$1] = $2 } END { print value["rate_Mbps"] / 1e3, value["megabytes"] * 8 * 1.048576 / 1e3, 0, 0 }' | rows_of
}
ours_udp() {
    measured "$1" taskset 1 "$ours" udp 127.0.0.1 --port "$(port "$1")" --json --quiet --duration "${seconds}s" --rate max --size 1472 --cpus 0 "${@:2}" || return 1
    jq -r '.directions[0] | "\(.received_bps / 1e9) \(.received_bytes * 8 / 1e9) \(.udp.offered_pps) \(.udp.received_pps)"' "$work/out" | rows_of
}
# iperf3's own form: sent and lost.
iperf3_form_udp() {
    jq -r '.end.sum as $s | ($s.packets - $s.lost_packets) as $got
        | "\($got * 1472 * 8 / 1e9 / $s.seconds) \($got * 1472 * 8 / 1e9) \($s.packets / $s.seconds) \($got / $s.seconds)"' "$work/out" | rows_of
}
iperf3_udp() {
    measured "$1" taskset 1 iperf3 --client 127.0.0.1 --port "$(port "$1")" --json --time "$seconds" --udp --bitrate 0 --length 1472 || return 1
    iperf3_form_udp
}
riperf3_udp() {
    measured "$1" taskset 1 "$LINERATE_RIPERF3" --client 127.0.0.1 --port "$(port "$1")" --json --time "$seconds" --udp --bitrate 0 --length 1472 || return 1
    iperf3_form_udp
}
iperf2_udp() {
    # Its server of UDP may crash after a test: each test has its own. What arrived is in the server's report.
    serve "$1" 15212 taskset 2 iperf --server --udp --len 1472 --port 15212
    sleep 0.2
    measured "$1" taskset 1 iperf --client 127.0.0.1 --port 15212 --time "$seconds" --udp --bandwidth 100g --len 1472 || return 1
    kill "$(cat "$work/$1.pid")" 2>/dev/null || true
    tr '/' ' ' <"$work/$1.log" | awk -v s="$seconds" '/%\)/ { for (i = 1; i < NF; i++) if ($(i + 2) ~ /%/) { lost = $i; all = $(i + 1) } }
        END { got = all - lost; print got * 11776 / 1e9 / s, got * 11776 / 1e9, all / s, got / s }' | rows_of
}
nuttcp_udp() {
    measured "$1" taskset 1 nuttcp -fparse -P "$(port "$1")" -p 15311 -T "$seconds" -u -Ru -l1472 127.0.0.1 || return 1
    tr ' ' '\n' <"$work/out" | awk -F= -v s="$seconds" '{ value[$1] = $2 } END { got = value["pkt"] - value["drop"]
        print got * 11776 / 1e9 / s, got * 11776 / 1e9, value["pkt"] / s, got / s }' | rows_of
}

# median COLUMN FILE
median() { cut -f"$1" "$2" | sort -g | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }

peers=(iperf3 iperf2 nuttcp riperf3)
[ -x "$LINERATE_RIPERF3" ] || peers=(iperf3 iperf2 nuttcp)

tcp() {
    serve_ours tcp
    serve iperf3 15201 iperf3 --server --port 15201
    serve iperf2 15202 iperf --server --port 15202
    serve nuttcp 15203 nuttcp -S --nofork -P 15203
    serve riperf3 15204 "$LINERATE_RIPERF3" --server --port 15204
    sleep 0.5
    echo "TCP over loopback, $seconds s each; median of $rounds rounds, in turns. Ratios: ours to the other's"
    printf '%-14s %-10s %8s %8s   %10s %8s\n' '' '' 'Gbit/s' ratio 'CPU s/Gbit' ratio
    local streams peer own
    for streams in $counts; do
        rm -f "$work"/row.*
        for _ in $(seq "$rounds"); do
            ours_tcp tcp "$streams" >>"$work/row.ours" || { cat "$work/err" "$work/out" >&2 && die "no result of this program"; }
            for peer in "${peers[@]}"; do
                [ "$streams" -le 128 ] || [ "$peer" = iperf2 ] || continue
                "${peer}_tcp" "$peer" "$streams" >>"$work/row.$peer" || say "$peer: no result"
            done
        done
        own=$(median 1 "$work/row.ours") cost=$(median 2 "$work/row.ours")
        printf '%-14s %-10s %8.2f %8s   %10.4f\n' "$streams streams" ours "$own" '' "$cost"
        for peer in "${peers[@]}"; do
            [ -s "$work/row.$peer" ] || continue
            awk -v name="$peer" -v a="$own" -v b="$(median 1 "$work/row.$peer")" -v c="$cost" -v d="$(median 2 "$work/row.$peer")" \
                'BEGIN { printf "%-14s %-10s %8.2f %8.2f   %10.4f %8.2f\n", "", name, b, a / (b > 0 ? b : 1e-9), d, c / (d > 0 ? d : 1e-9) }'
        done
    done
}

udp() {
    if [ "$(nproc)" -lt 2 ]; then
        say "UDP with one CPU for each end: NOT RUN, there is one CPU"
        return 0
    fi
    serve_ours udp taskset 2
    serve iperf3u 15211 taskset 2 iperf3 --server --port 15211
    serve nuttcpu 15213 taskset 2 nuttcp -S --nofork -P 15213
    serve riperf3u 15214 taskset 2 "$LINERATE_RIPERF3" --server --port 15214
    sleep 0.5
    echo "UDP over loopback, 1472 bytes, one CPU for each end, $seconds s each; median of $rounds rounds, in turns. Ratios: ours to the other's"
    printf '%-36s %12s %12s %8s %12s\n' '' 'sent /s' 'received /s' ratio 'CPU s/Gbit'
    rm -f "$work"/row.*
    local peer name base
    for _ in $(seq "$rounds"); do
        ours_udp udp >>"$work/row.ours"
        ours_udp udp --gso 44 >>"$work/row.gso"
        ours_udp udp --gso 44 --gro >>"$work/row.gro"
        for peer in "${peers[@]}"; do
            "${peer}_udp" "${peer}u" >>"$work/row.$peer" 2>/dev/null || say "$peer: no result"
        done
    done
    base=$(median 4 "$work/row.ours")
    for peer in ours gso gro "${peers[@]}"; do
        [ -s "$work/row.$peer" ] || continue
        case $peer in
            gso) name='ours, the kernel cuts (--gso)' ;;
            gro) name='ours, cuts and joins (--gso --gro)' ;;
            *) name=$peer ;;
        esac
        awk -v name="$name" -v sent="$(median 3 "$work/row.$peer")" -v got="$(median 4 "$work/row.$peer")" -v base="$base" -v cpu="$(median 2 "$work/row.$peer")" \
            'BEGIN { printf "%-36s %12.0f %12.0f %8.2f %12.4f\n", name, sent, got, base / (got > 0 ? got : 1e-9), cpu }'
    done
}

# Each runs requests one at a time and prints their rate: NAME of the server, tcp or udp. One byte, but for sockperf, whose least is 14.
ours_rr() {
    local options=(--request 1 --response 1)
    [ "$2" = tcp ] || options=(--udp)
    taskset 1 "$ours" rr 127.0.0.1 --port "$(port "$1")" --json --duration "${seconds}s" --cpus 0 "${options[@]}" 2>"$work/err" | jq -r .per_second
}
# Half of a round trip, in a unit that fits.
qperf_rr() {
    taskset 1 qperf -lp "$(port "$1")" -t "$seconds" -m 1 127.0.0.1 "$2_lat" \
        | awk '/latency/ { per_s["ns"] = 1e9; per_s["us"] = 1e6; per_s["ms"] = 1e3; per_s["sec"] = 1; print per_s[$4] / (2 * $3) }'
}
sockperf_rr() {
    local options=()
    [ "$2" = udp ] || options=(--tcp)
    taskset 1 sockperf ping-pong "${options[@]}" -i 127.0.0.1 -p "$(port "$1-$2")" -m 14 -t "$seconds" 2>/dev/null \
        | sed -n 's/.*\[Valid Duration\] RunTime=\([0-9.]*\) sec.*ReceivedMessages=\([0-9]*\).*/\1 \2/p' | awk '{ print $2 / $1 }'
}

rr() {
    if [ "$(nproc)" -lt 2 ]; then
        say "requests with one CPU for each end: NOT RUN, there is one CPU"
        return 0
    fi
    serve_ours rr taskset 2
    serve qperf 15221 taskset 2 qperf -lp 15221
    serve sockperf-tcp 15222 taskset 2 sockperf server --tcp -i 127.0.0.1 -p 15222
    serve sockperf-udp 15223 taskset 2 sockperf server -i 127.0.0.1 -p 15223
    sleep 0.5
    echo "Requests one at a time over loopback, one CPU for each end, $seconds s each; median of $rounds rounds, in turns. Ratios: ours to the other's"
    printf '%-14s %-10s %10s %8s\n' '' '' 'requests/s' ratio
    local of tool own
    for of in tcp udp; do
        rm -f "$work"/row.*
        for _ in $(seq "$rounds"); do
            for tool in ours qperf sockperf; do
                case $tool in
                    ours) ours_rr rr "$of" ;;
                    *) "${tool}_rr" "$tool" "$of" ;;
                esac >>"$work/row.$tool" || say "$tool: no result"
            done
        done
        own=$(median 1 "$work/row.ours")
        printf '%-14s %-10s %10.0f\n' "$of" ours "$own"
        for tool in qperf sockperf; do
            [ -s "$work/row.$tool" ] || continue
            awk -v name="$tool" -v a="$own" -v b="$(median 1 "$work/row.$tool")" 'BEGIN { printf "%-14s %-10s %10.0f %8.2f\n", "", name, b, a / (b > 0 ? b : 1e-9) }'
        done
    done
}

for part in tcp udp rr; do
    [ "${only:-$part}" = "$part" ] || continue
    "$part"
    echo
done
