#!/usr/bin/env bash
# Two VFs in two networks, and this guest's kernel as the router between them, for IPv4 and for IPv6. VFs have no kernel behind them: they answer ARP,
# neighbour discovery and ping for the addresses they were given, and find their gateways themselves.
set -euo pipefail
# shellcheck source=scripts/vm/checks.sh
. "$VM_SCRIPTS/checks.sh"
# shellcheck source=scripts/vm/vfs.sh
. "$VM_SCRIPTS/vfs.sh"

read -r tx_vf rx_vf <<<"$VM_VFS"
read -r tx_mac rx_mac <<<"$VM_MACS"
PACKETS=2000
RATE=1kpps
MEMORY_MB=64
DESCRIPTORS=2048
TX_EAL=(--lcores "0@1,1@0" -m "$MEMORY_MB" -a "$tx_vf")
RX_EAL=(--lcores "0@0,1@1" -m "$MEMORY_MB" -a "$rx_vf")
TX_PORT=(--address 10.0.1.2/24 --gateway 10.0.1.1 --address fd00:1::2/64 --gateway fd00:1::1 --txd "$DESCRIPTORS" --rxd "$DESCRIPTORS")
RX_PORT=(--address 10.0.2.2/24 --gateway 10.0.2.1 --address fd00:2::2/64 --gateway fd00:2::1 --txd "$DESCRIPTORS" --rxd "$DESCRIPTORS")
work=$(mktemp -d)

# route: each PF is the router's interface in its VF's network.
route() {
    local number=1 nic
    # Both NICs are on one wire: each interface must answer for its own address only.
    echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore
    echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6
    for nic in "$DEVICES"/../drivers/igb/0000:*; do
        ip address add "10.0.$number.1/24" dev "$(interface "$(basename "$nic")")"
        ip address add "fd00:$number::1/64" dev "$(interface "$(basename "$nic")")" nodad
        number=$((number + 1))
    done
    echo 1 >/proc/sys/net/ipv4/ip_forward
    echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
    modprobe nf_tables
    # At this hook the router has taken one from the time to live.
    nft -f - <<'END'
table ip router {
 chain leaving {
  type filter hook postrouting priority 0; policy accept;
  ip saddr 10.0.1.2 ip daddr 10.0.2.2 ip ttl 63 meta l4proto udp counter
 }
}
table ip6 router {
 chain leaving {
  type filter hook postrouting priority 0; policy accept;
  ip6 saddr fd00:1::2 ip6 daddr fd00:2::2 ip6 hoplimit 63 meta l4proto udp counter
 }
}
END
}

# forwarded FAMILY: packets that the router passed on, ip or ip6.
forwarded() { nft -j list table "$1" router | jq '[.nftables[].rule.expr[]?.counter.packets // empty][0]'; }
# shellcheck disable=SC2317 # called by until_true
receiving() { grep -q '^rx ' "$work/rx.err"; }

# standalone FAMILY TX-ADDRESS RX-ADDRESS WHAT-THE-PORT-ANSWERS
standalone() {
    local family=$1 from=$2 to=$3 requests=$4
    local name="tx and rx, $family" receiver status=0 rx_status=0 before
    local tx="$VM_RESULTS/tx.json" rx="$VM_RESULTS/rx.json"
    before=$(forwarded "$family")
    # The router's work comes first.
    nice -n 19 linerate-dataplane "${RX_EAL[@]}" -- rx "${RX_PORT[@]}" --idle sleep --interval 100ms --json >"$rx" 2>"$work/rx.err" &
    receiver=$!
    until_true "the receiver receives" receiving || status=1
    nice -n 19 linerate-dataplane "${TX_EAL[@]}" -- tx "${TX_PORT[@]}" --idle sleep --dst-ip "$to" --size 128 --rate "$RATE" --packets "$PACKETS" \
        --flows 50 --flow-mode s --quiet --json >"$tx" 2>"$work/tx.err" || status=$?
    sleep 0.5
    kill -INT "$receiver"
    wait "$receiver" || rx_status=$?
    equal "$name: both end well" "0 0" "$status $rx_status"
    [ "$status$rx_status" = 00 ] || { tail -n 5 "$work/tx.err" "$work/rx.err" | sed 's/^/     /'; return 0; }
    local sent received lost
    sent=$(value "$tx" .sent_packets)
    read -r received lost < <(value "$rx" '"\(.received_packets) \(.lost_packets)"')
    accounted "$name" "$sent" "$received" "$lost" "$(($(forwarded "$family") - before))"
    json "$name: the receiver answered the router's $requests" "$rx" "any(.notes[]; contains(\"$requests\"))"
    json "$name: no counter disagrees" "$tx" '.disagreements == []'
    equal "$name: the router learnt the receiver's VF" "$rx_mac" "$(ip -j neighbour show "$to" | jq -r '.[0].lladdr')"
    equal "$name: the router learnt the sender's VF" "$tx_mac" "$(ip -j neighbour show "$from" | jq -r '.[0].lladdr')"
}

# accounted NAME SENT RECEIVED LOST FORWARDED
accounted() {
    note "$1: sent $2, received $3, lost $4, the router forwarded $5"
    equal "$1: all are sent" "$PACKETS" "$2"
    equal "$1: sent = received + lost" "$2" "$(($3 + $4))"
    equal "$1: none is lost at $RATE" 0 "$4"
    equal "$1: the router forwarded them, with one less to live" "$2" "$5"
}

experiment() {
    local status=0 before family summary=$VM_RESULTS/summary.json
    cat >"$work/experiment.yaml" <<END
apiVersion: linerate.dev/v1alpha1
kind: Experiment
metadata: {name: routed}
spec:
  profiles:
    - {frameSize: 128, rate: $RATE}
    - {frameSize: 256, rate: $RATE, source: {ip: "::"}}
  trial: {packets: $PACKETS, warmUp: {timeout: 30s}, drain: {settle: 1s}}
  agents: {memoryMb: $MEMORY_MB, txd: $DESCRIPTORS, rxd: $DESCRIPTORS}
  addresses:
    - tx: {addresses: [10.0.1.2/24, "fd00:1::2/64"], gateways: [10.0.1.1, "fd00:1::1"]}
      rx: {addresses: [10.0.2.2/24, "fd00:2::2/64"], gateways: [10.0.2.1, "fd00:2::1"]}
  local:
    devices: [{tx: "$tx_vf", rx: "$rx_vf"}]
    hugepages: always
END
    before="$(forwarded ip) $(forwarded ip6)"
    nice -n 19 linerate run "$work/experiment.yaml" --results "$work/results" --json --quiet >"$summary" 2>"$work/run.err" || status=$?
    equal "experiment: ends well" 0 "$status"
    [ "$status" -eq 0 ] || { sed 's/^/     /' "$work/run.err"; return 0; }
    json "experiment: sent = received + lost, and none is lost" "$summary" \
        ".trials | length == 2 and all(.sent_packets == $PACKETS and .received_packets == $PACKETS and .lost_packets == 0)"
    json "experiment: no counter disagrees" "$summary" 'all(.trials[]; .disagreements == [])'
    # The warm-up goes the same way.
    for family in ip ip6; do
        equal "experiment: the router forwarded all of $family" yes \
            "$(if [ $(($(forwarded "$family") - ${before%% *})) -ge "$PACKETS" ]; then echo yes; else echo no; fi)"
        before=${before##* }
    done
    jq -c . "$work"/results/*/environment.json >"$VM_RESULTS/environment.json"
    json "experiment: the next hops are recorded" "$VM_RESULTS/environment.json" \
        '[.agents[].next_hops[].gateway] == ["10.0.1.1", "fd00:1::1", "10.0.2.1", "fd00:2::1"] and all(.agents[]; .network.resolver == "port")'
}

route
standalone ip 10.0.1.2 10.0.2.2 "ARP requests"
standalone ip6 fd00:1::2 fd00:2::2 "neighbour solicitations"
experiment
nothing_held "afterwards"
equal "no access was refused by the IOMMU" 0 "$(dmesg | grep -c 'DMAR: \[DMA' || true)"
end_scenario
