#!/usr/bin/env bash
# Sets up what is missing and prints the benchmarks of HTTP load as ratios to wrk and h2load, in turns against nginx on the loopback interface.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

usage() {
    cat <<'END'
Usage: scripts/bench_http.sh [--seconds N] [--rounds N] [--connections LIST]

Prints, each as the median of several rounds and as ratios to the other programs of the same rounds: requests per second of one thread against an
nginx of one process, requests per second of the client's own CPU time, and the send error of an open loop. With two CPUs or more, client and
server have one each. Takes some minutes; the machine should do nothing else.

  --seconds N         how long each run sends (default: 3)
  --rounds N          rounds, an odd number (default: 5)
  --connections LIST  numbers of connections (default: "1 64 1000")
END
}
seconds=3 rounds=5 counts="1 64 1000"
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help | help) usage && exit 0 ;;
        --seconds) seconds=${2:-} && shift 2 ;;
        --rounds) rounds=${2:-} && shift 2 ;;
        --connections) counts=${2:-} && shift 2 ;;
        *) printf '%s\n' "error: there is no option '$1'; see scripts/bench_http.sh --help" >&2 && exit 2 ;;
    esac
done

need_packages nginx-light wrk nghttp2-client curl jq util-linux
need_rust
cargo build --release --quiet -p linerate-hostplane --bins
ours=target/release/linerate-hostplane
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
ulimit -n "$(ulimit -Hn)"
client=() serving=()
if [ "$(nproc)" -ge 2 ]; then client=(taskset 1) serving=(taskset 2); fi

cat >"$work/nginx.conf" <<END
daemon off; master_process off; pid $work/pid; error_log $work/error;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; client_body_temp_path $work/a; proxy_temp_path $work/b; fastcgi_temp_path $work/c;
uwsgi_temp_path $work/d; scgi_temp_path $work/e;
server { listen 127.0.0.1:18999 backlog=4096; location / { return 200 "172.16.61.6\n"; } } }
END
"${serving[@]}" /usr/sbin/nginx -c "$work/nginx.conf" -p "$work" 2>"$work/nginx.log" &
server=$!
url=http://127.0.0.1:18999/
for _ in $(seq 100); do
    if curl -s -o "$work/answer" "$url"; then break; fi
    sleep 0.05
done
[ -s "$work/answer" ] || die "nginx does not answer: $(cat "$work/nginx.log" "$work/error" 2>/dev/null)"

# measured COMMAND…: its output in $work/out; prints its user and system seconds.
measured() {
    local TIMEFORMAT='%U %S'
    { time "${client[@]}" "$@" >"$work/out" 2>"$work/err"; } 2>&1 | awk '{ print $1 + $2 }'
}
# row CPU: requests per second, and per CPU second, from $work/requests.
row() { awk -v cpu="$1" -v s="$seconds" '{ printf "%f\t%f\n", $1 / s, $1 / (cpu > 0 ? cpu : 1e-9) }' "$work/requests"; }

run_ours() {
    local cpu
    cpu=$(measured "$ours" http -t 1 -c "$1" -d "${seconds}s" --quiet --json "$url")
    jq .requests "$work/out" >"$work/requests"
    row "$cpu"
}
run_wrk() {
    local cpu
    cpu=$(measured wrk -t 1 -c "$1" -d "${seconds}s" "$url")
    awk '/requests in/ { print $1 }' "$work/out" >"$work/requests"
    row "$cpu"
}
run_h2load() {
    local cpu
    cpu=$(measured h2load --h1 -t 1 -c "$1" -D "$seconds" "$url")
    awk '/^requests:/ { print $8 }' "$work/out" >"$work/requests"
    row "$cpu"
}
# median COLUMN FILE
median() { cut -f"$1" "$2" | sort -g | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }

echo "HTTP/1.1 over loopback, nginx of one process, one thread, $seconds s each; median of $rounds rounds, in turns. Ratios: ours to the other's"
printf '%-18s %-8s %12s %8s   %16s %8s\n' '' '' 'requests/s' ratio 'per CPU second' ratio
for count in $counts; do
    rm -f "$work"/row.*
    for _ in $(seq "$rounds"); do
        for program in ours wrk h2load; do
            "run_$program" "$count" >>"$work/row.$program" || say "$program: no result"
        done
    done
    for program in ours wrk h2load; do
        label=
        if [ "$program" = ours ]; then label="$count connections"; fi
        awk -v connections="$label" -v name="$program" \
            -v rate="$(median 1 "$work/row.$program")" -v each="$(median 2 "$work/row.$program")" \
            -v own="$(median 1 "$work/row.ours")" -v own_each="$(median 2 "$work/row.ours")" \
            'BEGIN { printf "%-18s %-8s %12.0f %8.2f   %16.0f %8.2f\n", connections, name, rate, own / (rate > 0 ? rate : 1e-9), each, own_each / (each > 0 ? each : 1e-9) }'
    done
done

echo
echo "Open loop on 64 connections, $seconds s: send error"
printf '%-18s %12s %12s %12s %12s\n' 'requests/s' 'p50 µs' 'p99 µs' 'p99.9 µs' 'max µs'
cpus=()
if [ "$(nproc)" -ge 2 ]; then cpus=(--cpus 0); fi
for rate in 1000 10000; do
    "$ours" http -t 1 -c 64 -d "${seconds}s" --rate "$rate" "${cpus[@]}" --quiet --json "$url" >"$work/out"
    jq -r --arg rate "$rate" '.latency.send_error_ns | [$rate, .p50 / 1000, .p99 / 1000, .p999 / 1000, .max / 1000] | @tsv' "$work/out" \
        | awk '{ printf "%-18s %12.1f %12.1f %12.1f %12.1f\n", $1, $2, $3, $4, $5 }'
done
