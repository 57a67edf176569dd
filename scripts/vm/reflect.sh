#!/usr/bin/env bash
# A reflector on a VF whose driver keeps sent buffers until their slots are used again: every packet comes back, whatever the sizes of the rings.
set -euo pipefail
# shellcheck source=scripts/vm/checks.sh
. "$VM_SCRIPTS/checks.sh"
# shellcheck source=scripts/vm/vfs.sh
. "$VM_SCRIPTS/vfs.sh"

read -r tx_vf rx_vf <<<"$VM_VFS"
read -r _ rx_mac <<<"$VM_MACS"
# More than twice round the largest ring.
PACKETS=10000
# Two emulated CPUs: the reflector may be kept from its CPU for as long as its ring holds out.
RATE=2kpps
MEMORY_MB=64
TX_EAL=(--lcores "0@1,1@0,2@0" -m "$MEMORY_MB" -a "$tx_vf")
REFLECT_EAL=(--lcores "0@0,1@1" -m "$MEMORY_MB" -a "$rx_vf")
work=$(mktemp -d)

show_logs() { for log in "$work"/*.err; do grep -v Mpps "$log" | sed "s|^|     $(basename "$log"): |"; done; }

# shellcheck disable=SC2317 # called by until_true
reflecting() { grep -q 'rx 0.000 Mpps' "$work/reflect.err"; }

# trial NAME [OPTIONS of the reflector]
trial() {
    local name=$1 reflector start status=0 reflector_status=0
    local tx="$VM_RESULTS/reflect-tx-${1// /-}.json" back="$VM_RESULTS/reflect-${1// /-}.json"
    shift
    start=$(uptime_s)
    linerate-dataplane "${REFLECT_EAL[@]}" -- reflect "$@" --interval 1s --json >"$back" 2>"$work/reflect.err" &
    reflector=$!
    until_true "the reflector reflects" reflecting || status=1
    # In bursts: a sender that shares its CPU with a receiver is seldom there.
    linerate-dataplane "${TX_EAL[@]}" -- tx --idle sleep --round-trip --rxd 4096 --burst 32 --peer-mac "$rx_mac" --flows 10 --flow-mode sd --rate "$RATE" \
        --packets "$PACKETS" --quiet --json >"$tx" 2>"$work/tx.err" || status=$?
    sleep 0.5
    kill -INT "$reflector"
    wait "$reflector" || reflector_status=$?
    note "$name: $(since "$start") s"
    equal "$name: sender and reflector end well" "0 0" "$status $reflector_status"
    [ "$status$reflector_status" = 00 ] || show_logs
    [ -s "$tx" ] && [ -s "$back" ] || return 0
    note "$name: $(value "$tx" '"sent \(.sent_packets), came back \(.received_packets)"'); the reflector \
$(value "$back" '"received \(.received_packets) and sent \(.sent_packets); \(.port | tostring)"')"
    jsons "$tx" "$name" \
        "all are sent" ".sent_packets == $PACKETS" \
        "all come back" ".received_packets == $PACKETS" \
        "sent = received + lost" '.sent_packets == .received_packets + .lost_packets'
    jsons "$back" "$name" \
        "the reflector receives all" ".received_packets == $PACKETS" \
        "the reflector sends all of them back" ".sent_packets == $PACKETS" \
        "the reflector's port never lacked a buffer" '.port.rx_nombuf == 0'
    equal "$name: every buffer came back" 0 "$(grep -c 'did not come back' "$work/reflect.err" "$work/tx.err" | awk -F: '{ n += $2 } END { print n }')"
}

# A reflector that polls frees sent buffers in other moments than one that sleeps.
trial "default rings" --idle spin
trial "512 TX and 4096 RX descriptors" --idle sleep --txd 512 --rxd 4096
trial "4096 TX and 512 RX descriptors" --idle sleep --txd 4096 --rxd 512
nothing_held "afterwards"
end_scenario
