#!/usr/bin/env bash
# TCP and UDP streams through a veth pair with the kernel's netem on the way there: it delays, loses, duplicates and reorders the
# streams (marked by their DSCP) and nothing else, and its own counters and those of the kernel's TCP say what the results have to say.
set -euo pipefail
# shellcheck source=scripts/vm/checks.sh
. "$VM_SCRIPTS/checks.sh"

export LINERATE_TOKEN=a-token-of-the-virtual-machine
# DSCP 10 in the byte of the header.
MARK=(--dscp 10)
TOS=0x28

modprobe -a veth sch_netem sch_prio cls_u32
ip netns add far
ip link add near type veth peer name other netns far
ip address add 10.9.0.1/24 dev near
ip -n far address add 10.9.0.2/24 dev other
ip link set near up
ip -n far link set other up
ip -n far link set lo up
# One segment a packet: what netem drops is what TCP sends again.
ip link set near gso_max_segs 1

ip netns exec far linerate-hostplane serve --listen 10.9.0.2 2>"$VM_RESULTS/streams-server.err" &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
until grep -q listening "$VM_RESULTS/streams-server.err"; do sleep 0.1; done

# netem SETTINGS: for what is marked; everything else passes by.
netem() {
    tc qdisc del dev near root 2>/dev/null || true
    tc qdisc add dev near root handle 1: prio bands 3 priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
    tc qdisc add dev near parent 1:3 handle 30: netem limit 10000 "$@"
    tc filter add dev near parent 1: protocol ip u32 match ip dsfield "$TOS" 0xfc flowid 1:3
}
netem_counts() { tc -s -j qdisc show dev near | jq -r ".[] | select(.kind == \"netem\") | $1"; }
# retransmitted: segments that this kernel's TCP has sent again since it was started.
retransmitted() { awk '$1 == "Tcp:" && $2 ~ /[0-9]/ { print $13 }' /proc/net/snmp; }

# trial NAME PROTOCOL OPTIONS: sets `report`; fails when there is no complete result.
trial() {
    local name=$1 status=0
    shift
    report="$VM_RESULTS/streams-$name.json"
    linerate-hostplane "$@" 10.9.0.2 "${MARK[@]}" --json --quiet >"$report" 2>"$VM_RESULTS/streams-$name.err" || status=$?
    equal "$name: ends well" 0 "$status"
    if [ "$status" -ne 0 ]; then
        sed 's/^/     /' "$VM_RESULTS/streams-$name.err"
        return 1
    fi
    note "$name: $(value "$report" '.directions[0] | {sent_bytes, tcp, udp: (.udp // {} | {sent, received, lost, duplicates, reordered, delay_ns})} | tostring' | head -c 600)"
}
# datagrams NAME SETTINGS OPTIONS…
datagrams() {
    local name=$1 settings=$2
    shift 2
    # shellcheck disable=SC2086
    netem $settings
    trial "$name" udp --size 200 "$@" || return 1
    local passed dropped
    read -r passed dropped < <(netem_counts '"\(.packets) \(.drops)"')
    jsons "$report" "$name" \
        "sent = received + lost" '.directions[0].udp | .sent == .received + .lost' \
        "lost is what netem dropped" ".directions[0].udp.lost == $dropped" \
        "duplicates are what netem added" ".directions[0].udp | .duplicates == $passed + $dropped - .sent"
}
# bytes NAME SETTINGS OPTIONS…
bytes() {
    local name=$1 settings=$2 before
    shift 2
    # shellcheck disable=SC2086
    netem $settings
    before=$(retransmitted)
    trial "$name" tcp --congestion cubic "$@" || return 1
    json "$name: written = acknowledged = received" "$report" \
        '.directions[0] | .sent_bytes == .tcp.acked_bytes and .sent_bytes == .received_bytes and .sent_bytes > 0'
    equal "$name: retransmits are the kernel's" "$(($(retransmitted) - before))" "$(value "$report" '.directions[0].tcp.retransmits')"
}

! datagrams none "delay 0ms" --rate 1kpps --duration 2s || json "none: nothing is lost or overtaken" "$report" \
    '.directions[0].udp | .lost == 0 and .reordered == 0 and .duplicates == 0'
! datagrams loss "loss 2%" --rate 1kpps --duration 4s --parallel 2 || json "loss: 2 % within chance" "$report" \
    '.directions[0].udp | .lost > 35 and .lost < 130'
! datagrams duplicate "duplicate 5%" --rate 1kpps --duration 2s || json "duplicate: there are some" "$report" \
    '.directions[0].udp.duplicates > 40'
! datagrams delay "delay 20ms" --rate 500pps --duration 2s || json "delay: the fastest takes 20 ms" "$report" \
    '.directions[0].udp.delay_ns.min | . >= 20000000 and . < 25000000'
! datagrams reorder "delay 10ms reorder 25%" --rate 1kpps --duration 2s || json "reorder: datagrams are overtaken, none is lost" \
    "$report" '.directions[0].udp | .lost == 0 and .reordered > 200'

# The server's workers keep the gaps of ended streams: those of a later stream are none of them.
for again in 1 2 3 4; do
    ! datagrams "jitter-$again" "delay 20ms 15ms" --rate 1kpps --duration 1s || json "jitter-$again: datagrams are overtaken, none is lost" \
        "$report" '.directions[0].udp | .lost == 0 and .duplicates == 0 and .reordered > 100'
done

if bytes tcp-delay "delay 20ms" --rate 4mbps --duration 2s; then
    # Not the shortest of all: the connection is made before it is marked.
    json "tcp-delay: the round trips are netem's" "$report" '.directions[0].tcp.rtt_us | .[0] >= 20000 and .[1] < 60000'
    ping -Q "$TOS" -c 10 -i 0.05 10.9.0.2 >"$VM_RESULTS/streams-ping.txt"
    least=$(sed -n 's|^rtt min/avg/max/mdev = \([0-9]*\).*|\1|p' "$VM_RESULTS/streams-ping.txt")
    if [ "$least" -ge 20 ] && [ "$least" -lt 26 ]; then pass "tcp-delay: ping sees the same"; else fail "tcp-delay: ping" "$least ms"; fi
fi
if bytes tcp-loss "delay 2ms loss 2%" --rate 2mbps --duration 4s --parallel 2; then
    # Acknowledgements and the end of a connection, which may be dropped as well, are no segments that are sent again in time.
    json "tcp-loss: what netem dropped was sent again" "$report" "$(netem_counts .drops) as \$dropped | .directions[0].tcp.retransmits + 6 >= \$dropped and \$dropped > 5"
fi
if bytes tcp-reorder "delay 10ms reorder 25%" --rate 2mbps --duration 3s; then
    json "tcp-reorder: the kernel has seen it" "$report" \
        '.directions[0].streams[0] | (.sent.tcp.reorderings + .received.tcp.out_of_order) > 0'
fi
# A probe beside the streams is not marked: the queue of netem is none of its own, and its times are short.
netem delay 20ms
if trial probe tcp --rate 1mbps --duration 1s --probe --probe-idle 500ms; then
    json "probe: requests = responses + lost" "$report" '.probe | (.idle, .loaded) | .requests == .responses + .lost and .requests > 20'
fi
end_scenario
