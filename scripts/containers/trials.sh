# Sourced by containers.sh: trials between containers.
# shellcheck shell=bash disable=SC2154

PACKETS=10000
RATE=4000pps
NAMESPACES=(linerate-test-rx linerate-test-tx)

# eal VDEV: options of EAL for a container of one worker lcore; both may share a CPU.
eal() { echo "--no-huge -m 64 --no-pci --lcores 0@0,1@0 --vdev $1"; }

# Without capabilities, privileges, network, hugepages or a file system to write to; only the volume is shared.
scenario_memif() {
    local volume="$work/memif" socket=socket=/run/linerate/memif.sock,socket-abstract=no
    mkdir -p "$volume"
    chown "$USER_ID:$USER_ID" "$volume"
    # shellcheck disable=SC2046
    contained -d --name linerate-test-rx --network=none -v "$volume:/run/linerate" "$IMAGE" \
        $(eal "net_memif0,role=server,$socket") -- rx --packets $PACKETS --duration 60s --json >/dev/null
    ready linerate-test-rx
    check_equal "memif: the kernel lets the receiver have no capability" 0000000000000000 "$(capabilities linerate-test-rx)"
    # shellcheck disable=SC2046
    contained --rm --name linerate-test-tx --network=none -v "$volume:/run/linerate" "$IMAGE" \
        $(eal "net_memif0,role=client,$socket") -- tx --peer-mac 02:00:00:00:00:02 --packets $PACKETS --rate $RATE --link-wait 30s --quiet --json \
        >"$work/tx.json" 2>"$work/tx.err" || true
    end_receiver
    check_trial memif
}

scenario_af_packet() {
    if [ "$engine" != podman ]; then
        check_line "NOT RUN containers: af_packet: only podman joins a network namespace by its path"
        return 0
    fi
    if ! begin_namespaces; then
        check_line "NOT RUN containers: af_packet: no network namespaces or veth here: $(tail -1 "$work/ip")"
        return 0
    fi
    local raw=(--cap-add NET_RAW --cap-add NET_ADMIN) mac
    mac=$(ip -n linerate-test-rx -json link show dev veth0 | jq -r '.[0].address')
    # shellcheck disable=SC2046
    contained -d --name linerate-test-rx "${raw[@]}" --network ns:/run/netns/linerate-test-rx "$IMAGE" \
        $(eal net_af_packet0,iface=veth0,framecnt=2048) -- rx --packets $PACKETS --duration 20s --json >/dev/null
    ready linerate-test-rx
    # Bits 12 and 13.
    check_equal "af_packet: the kernel lets the receiver have NET_ADMIN and NET_RAW alone" 0000000000003000 "$(capabilities linerate-test-rx)"
    # shellcheck disable=SC2046
    contained --rm --name linerate-test-tx "${raw[@]}" --network ns:/run/netns/linerate-test-tx "$IMAGE" \
        $(eal net_af_packet0,iface=veth0) -- tx --peer-mac "$mac" --packets $PACKETS --rate $RATE --quiet --json >"$work/tx.json" 2>"$work/tx.err" || true
    end_receiver
    check_trial af_packet

    # What cannot be is said so.
    # shellcheck disable=SC2046
    contained --rm --network ns:/run/netns/linerate-test-tx "$IMAGE" $(eal net_af_packet0,iface=veth0) -- rx --duration 1s >"$work/refused" 2>&1 || true
    check_contains "af_packet: without NET_RAW, the message says so" "NET_RAW" "$work/refused"
    # shellcheck disable=SC2046
    contained --rm --cap-add NET_RAW --network ns:/run/netns/linerate-test-tx "$IMAGE" $(eal net_af_packet0,iface=veth0) -- rx --duration 1s \
        >"$work/refused" 2>&1 || true
    check_contains "af_packet: without NET_ADMIN, the message says so" "without the capability NET_ADMIN" "$work/refused"
    end_namespaces
}

# The controller and both agents in one container; results on a volume.
scenario_experiment() {
    local results="$work/results"
    mkdir -p "$results"
    chown "$USER_ID:$USER_ID" "$results"
    contained --rm --network=none --entrypoint /usr/local/bin/linerate -v "$results:/results" "$IMAGE" run --results /results --duration 1s \
        >"$work/experiment" 2>"$work/experiment.err" || true
    check_equal "experiment: a summary is on the volume" 1 "$(find "$results" -name summary.json | wc -l)"
    check_equal "experiment: sent = received + lost in every trial" true "$(find "$results" -name summary.json -exec cat {} + \
        | jq -s '[.. | objects | select(has("sent_packets") and has("received_packets") and has("lost_packets"))]
            | length > 0 and all(.sent_packets > 0 and .sent_packets == .received_packets + .lost_packets)')"
    contained --rm --network=none --entrypoint /usr/local/bin/linerate "$IMAGE" run --results /results --duration 1s >"$work/refused" 2>&1 || true
    check_contains "experiment: without a volume, the message says so" "Read-only file system" "$work/refused"
}

# capabilities CONTAINER: the bounding set of its process; it can have no others.
capabilities() { sed -n 's/^CapBnd:\s*//p' "/proc/$("$engine" inspect "$1" | jq '.[0].State.Pid')/status"; }

# end_receiver: waits for its end, and leaves its report in rx.json.
end_receiver() {
    "$engine" wait linerate-test-rx >/dev/null
    "$engine" logs linerate-test-rx >"$work/rx.json" 2>"$work/rx.err"
    "$engine" rm -f linerate-test-rx >/dev/null
}

# check_trial NAME: lost is what the receiver misses in the sequence, not a difference, so the sum may be wrong.
check_trial() {
    local sent received lost
    sent=$(report tx .sent_packets)
    received=$(report rx .received_packets)
    lost=$(report rx .lost_packets)
    echo "     $1: sent $sent, received $received, lost $lost"
    check_equal "$1: all packets are sent" $PACKETS "$sent"
    check_equal "$1: sent = received + lost" "$sent" $((received + lost))
    check_equal "$1: no duplicates, nothing damaged" "0 0" "$(report rx '"\(.duplicate_packets) \(.bad_checksum_packets + .bad_probe_packets)"')"
}

# report WHO FILTER: of the report, which is the last line; nothing when there is none.
report() { tail -1 "$work/$1.json" | jq -r "$2" 2>/dev/null || tail -2 "$work/$1.err" >&2; }

# ready CONTAINER: until the receiver shows progress. What is sent before is nothing to it.
ready() {
    for _ in $(seq 300); do
        ! "$engine" logs "$1" 2>&1 | grep -q '^rx .* Mpps' || return 0
        sleep 0.1
    done
    "$engine" logs "$1" >&2 || true
}

begin_namespaces() {
    {
        end_namespaces
        ip netns add "${NAMESPACES[0]}" && ip netns add "${NAMESPACES[1]}" \
            && ip link add veth0 netns "${NAMESPACES[0]}" type veth peer name veth0 netns "${NAMESPACES[1]}" \
            && ip -n "${NAMESPACES[0]}" link set veth0 up && ip -n "${NAMESPACES[1]}" link set veth0 up
    } 2>"$work/ip"
}

end_namespaces() {
    local name
    for name in "${NAMESPACES[@]}"; do ip netns delete "$name" 2>/dev/null || true; done
}
