#!/usr/bin/env bash
# Sets up what is missing and prints the benchmarks of HTTP load as ratios to wrk and h2load, in turns against nginx on the loopback interface.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

usage() {
    cat <<'END'
Usage: scripts/bench_http.sh [--seconds N] [--rounds N] [--connections LIST] [--only PART]

Prints, each as the median of several rounds and as ratios to the other programs of the same rounds: requests per second of one thread against an
nginx of one process, requests per second of the client's own CPU time, and the send error of an open loop. With two CPUs or more, client and
server have one each. Takes some minutes; the machine should do nothing else.

  --seconds N         how long each run sends (default: 3)
  --rounds N          rounds, an odd number (default: 5)
  --connections LIST  numbers of connections (default: "1 64 1000")
  --only PART         plain, tls, http2 or open (default: all)
END
}
seconds=3 rounds=5 counts="1 64 1000" only=all
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help | help) usage && exit 0 ;;
        --seconds) seconds=${2:-} && shift 2 ;;
        --rounds) rounds=${2:-} && shift 2 ;;
        --connections) counts=${2:-} && shift 2 ;;
        --only) only=${2:-} && shift 2 ;;
        *) printf '%s\n' "error: there is no option '$1'; see scripts/bench_http.sh --help" >&2 && exit 2 ;;
    esac
done

need_packages nginx-light wrk nghttp2-client curl jq util-linux openssl
need_rust
cargo build --release --quiet -p linerate-hostplane --bins
ours=target/release/linerate-hostplane
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
ulimit -n "$(ulimit -Hn)"
client=() serving=()
if [ "$(nproc)" -ge 2 ]; then client=(taskset 1) serving=(taskset 2); fi

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -addext 'subjectAltName=IP:127.0.0.1' \
    -days 2 -keyout "$work/key.pem" -out "$work/cert.pem" 2>"$work/openssl.log" || die "openssl makes no certificate: $(cat "$work/openssl.log")"
cat >"$work/nginx.conf" <<END
daemon off; master_process off; pid $work/pid; error_log $work/error;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; client_body_temp_path $work/a; proxy_temp_path $work/b; fastcgi_temp_path $work/c;
uwsgi_temp_path $work/d; scgi_temp_path $work/e;
ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem; http2_max_requests 1000000000; http2_max_concurrent_streams 256;
server { listen 127.0.0.1:18999 backlog=4096; listen 127.0.0.1:18998 ssl backlog=4096; location / { return 200 "172.16.61.6\n"; } }
server { listen 127.0.0.1:18997 http2 backlog=4096; listen 127.0.0.1:18996 ssl http2 backlog=4096; location / { return 200 "172.16.61.6\n"; } } }
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

# Each: CONNECTIONS URL [STREAMS, by HTTP/2].
run_ours() {
    local cpu more=()
    if [ -n "${3:-}" ]; then more=(--http2 --streams "$3"); fi
    case $2 in https:*) more+=(--insecure) ;; esac
    cpu=$(measured "$ours" http -t 1 -c "$1" -d "${seconds}s" "${more[@]}" --quiet --json "$2")
    jq .requests "$work/out" >"$work/requests"
    row "$cpu"
}
run_wrk() {
    local cpu
    cpu=$(measured wrk -t 1 -c "$1" -d "${seconds}s" "$2")
    awk '/requests in/ { print $1 }' "$work/out" >"$work/requests"
    row "$cpu"
}
run_h2load() {
    local cpu how=(--h1)
    if [ -n "${3:-}" ]; then how=(-m "$3"); fi
    cpu=$(measured h2load "${how[@]}" -t 1 -c "$1" -D "$seconds" "$2")
    awk '/^requests:/ { print $8 }' "$work/out" >"$work/requests"
    row "$cpu"
}
# median COLUMN FILE
median() { cut -f"$1" "$2" | sort -g | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }

# compare TITLE URL PROGRAMS CONNECTIONS [STREAMS]
compare() {
    local title=$1 url=$2 programs=$3 count=$4 streams=${5:-} program label
    rm -f "$work"/row.*
    for _ in $(seq "$rounds"); do
        for program in $programs; do
            "run_$program" "$count" "$url" "$streams" >>"$work/row.$program" || say "$program: no result"
        done
    done
    for program in $programs; do
        label=
        if [ "$program" = ours ]; then label=$title; fi
        awk -v label="$label" -v name="$program" \
            -v rate="$(median 1 "$work/row.$program")" -v each="$(median 2 "$work/row.$program")" \
            -v own="$(median 1 "$work/row.ours")" -v own_each="$(median 2 "$work/row.ours")" \
            'BEGIN { printf "%-30s %-8s %12.0f %8.2f   %16.0f %8.2f\n", label, name, rate, own / (rate > 0 ? rate : 1e-9), each, own_each / (each > 0 ? each : 1e-9) }'
    done
}
wanted() { [ "$only" = all ] || [ "$only" = "$1" ]; }

echo "HTTP over loopback, nginx of one process, one thread, $seconds s each; median of $rounds rounds, in turns. Ratios: ours to the other's"
printf '%-30s %-8s %12s %8s   %16s %8s\n' '' '' 'requests/s' ratio 'per CPU second' ratio
if wanted plain; then
    for count in $counts; do compare "$count connections" "$url" "ours wrk h2load" "$count"; done
fi
if wanted tls; then
    for count in 1 64; do compare "TLS, $count connections" https://127.0.0.1:18998/ "ours wrk h2load" "$count"; done
fi
if wanted http2; then
    compare "HTTP/2, 8 connections of 32" http://127.0.0.1:18997/ "ours h2load" 8 32
    compare "HTTP/2 by TLS, 8 of 32" https://127.0.0.1:18996/ "ours h2load" 8 32
fi

wanted open || exit 0
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
