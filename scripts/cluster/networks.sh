# Sourced by cluster.sh: pod networks as they are, with a bridge for all pods and with a router for each.
# shellcheck shell=bash disable=SC2154

# containerd's seccomp profile lets programs for AF_XDP be loaded with this capability only, before version 2.0.
XDP_CAPABILITIES=SYS_ADMIN

# on_one_node NAME OPTIONS… and across_nodes NAME OPTIONS…: a pair, with the addresses that are in force when nobody names any.
on_one_node() { pair_on "${nodes[0]},${nodes[0]}" "$@"; }
across_nodes() { pair_on "${nodes[0]},${nodes[1]}" "$@"; }
pair_on() {
    local where=$1 name=$2
    shift 2
    run "$name" -n 1 --link af-packet --node "$where" "${SMALL[@]}" "${NO_HUGE[@]}" --rate 1kpps --packets 1000 "$@"
}

# environment_of NAME: where and with what the run's agents ran, in NAME.environment.
environment_of() {
    local id
    id=$(id_of "$1")
    find "$work/results" -path "*$id*" -name environment.json -exec jq -c . {} + >"$work/$1.environment" 2>/dev/null || true
    jq -r '.agents[] | .name as $n | .next_hops[] | "     \($n): \(.source) to \(.to) by \(.gateway // "the link") at \(.mac)"' "$work/$1.environment" || true
}

# with_ipv6: the kit's pods get an IPv6 address beside their IPv4 one from now on, as a cluster of two stacks gives them.
with_ipv6() {
    local node config
    for node in 1 2; do
        config=${LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/linerate-cluster}/run/node$node/cni-conf/lab.conflist
        # The routed network has a prefix for each node, the bridge one for all.
        jq --arg node "$node" '.plugins[0] |= (.ipam.routes += [{dst: "::/0"}] | .ipam.ranges += [[
            if .type == "ptp" then {subnet: "fd00:78:\($node)::/64"}
            else {subnet: "fd00:77::/64", rangeStart: "fd00:77::\($node)00", rangeEnd: "fd00:77::\($node)ff", gateway: "fd00:77::1"} end]])' \
            "$config" >"$work/conflist"
        cat "$work/conflist" >"$config"
    done
}

# engines_across NETWORK: one document, three engines, each between the same two pods' networks on two nodes, over IPv4 and over IPv6.
engines_across() {
    local network=$1 version source name
    if ! hostplane_image; then
        check_line "NOT RUN cluster: $network: engines: LINERATE_E2E_HOSTPLANE_IMAGE names no image of the nodes"
        return 0
    fi
    with_ipv6
    for version in 4 6; do
        name=$network-engines-ipv$version
        source=0.0.0.0
        [ "$version" = 4 ] || source='"::"'
        cat >"$work/$name.yaml" <<END_OF_DOCUMENT
apiVersion: linerate.dev/v1alpha1
kind: Experiment
metadata: {name: $name}
spec:
  engines: [af_packet, af_xdp, sockets]
  traffic: {frameSizes: [128], flows: [10], rates: [1kpps], source: {ip: $source}}
  trial: {duration: 1s}
  kubernetes:
    placement: differentNodes
    hostplaneImage: $HOSTPLANE_IMAGE
    capabilities: [$XDP_CAPABILITIES]
END_OF_DOCUMENT
        run "$name" "$work/$name.yaml" "${SMALL[@]}" "${NO_HUGE[@]}"
        [ "$status" = 0 ] || sed 's/^/     /' "$work/$name.err"
        check_equal "cluster: $network: engines over IPv$version: exit status" 0 "$status"
        check_json "cluster: $network: engines over IPv$version: af_packet, af_xdp and sockets to the packet" "$work/$name.json" \
            '.status == "complete" and ([.trials[].engine.engine] == ["af_packet", "af_xdp"]) and ([.streams[].engine.engine] == ["sockets"])
             and (.trials | all(.sent_packets > 0 and .sent_packets == .received_packets + .lost_packets))
             and (.streams | all(.sent_datagrams > 0 and .sent_datagrams == .received_datagrams + .lost_datagrams))'
        tail -n 1 "$work/$name.json" | jq -r '(.trials[]? | [.engine.engine, .sent_packets, .received_packets, .lost_packets]),
            (.streams[]? | ["sockets", .sent_datagrams, .received_datagrams, .lost_datagrams])
            | "     \(.[0]): sent \(.[1]), received \(.[2]), lost \(.[3])"' || true
        check_equal "cluster: $network: engines over IPv$version: nothing is left" 0 "$(objects)"
    done
}

# On the bridge, pods of both nodes are on one link.
scenario_addresses() {
    local name
    if [ "${#nodes[@]}" -lt 2 ]; then
        check_line "NOT RUN cluster: addresses: the cluster has ${#nodes[@]} node"
        return
    fi
    on_one_node bridge-one --size 64 --flows 100
    complete bridge-one 1
    across_nodes bridge-across --size 64,512 --flows 100 --set spec.trial.direction=bidirectional
    complete bridge-across 4
    for name in bridge-one bridge-across; do
        environment_of "$name"
        check_json "cluster: addresses: $name: the pods' own addresses are told, and next hops for both directions" "$work/$name.environment" \
            '.agents | length == 2 and all((.network.addresses | length > 0) and .network.resolver == "kernel" and (.next_hops | length == 1) and .next_hops[0].mac != null)'
        check_json "cluster: addresses: $name: flows of the default mode differ in ports" "$work/$name.json" \
            '.trials | all(.notes | any(contains("flows differ in sourcePort")))'
    done
    [ -n "$lab_is_ours" ] || return 0
    # Addresses that nobody has reach the peer's port by its Ethernet address, where that is on the link.
    across_nodes written --size 64 --flows 1 --set 'spec.traffic.source={ip: 192.168.1.1}' --set 'spec.traffic.destination={ip: 192.168.2.1}'
    complete written 1
    engines_across bridge
}

# The cluster of its own comes last: the one that was up is gone.
scenario_routed() {
    local name
    if [ -z "$lab_is_ours" ]; then
        check_line "NOT RUN cluster: routed: this is another's cluster, and its pod network is what it is"
        return
    fi
    routed_cluster || return 0
    on_one_node routed-one --size 64,512 --flows 10
    complete routed-one 2
    across_nodes routed-across --size 64,512 --flows 10
    complete routed-across 2
    for name in routed-one routed-across; do
        check_json "cluster: routed: $name: no packet was lost" "$work/$name.json" '[.trials[].lost_packets] | add == 0'
        environment_of "$name"
        check_json "cluster: routed: $name: the next hop is each pod's router" "$work/$name.environment" \
            '.agents | length == 2 and all((.next_hops | length == 1) and .next_hops[0].gateway != null and .next_hops[0].mac != null)'
    done
    across_nodes there-and-back --size 128 --flows 100 --flow-mode sd --set spec.trial.direction=round-trip
    complete there-and-back 1
    # 1518 bytes do not fit the network, whose MTU is 1450.
    across_nodes large --size 1518 --flows 1
    check_equal "cluster: routed: frames that the network does not carry are refused" 1 "$status"
    check_contains "cluster: routed: the refusal names the MTU" 1450 "$work/large.json"
    engines_across routed
    across_nodes foreign --size 64 --flows 1 --set 'spec.traffic.destination={ip: 192.168.2.1}' --set spec.trial.warmUp.timeout=2s
    check_json "cluster: routed: addresses that the network does not route do not arrive" "$work/foreign.json" '[.trials[].received_packets] | add // 0 == 0'
    check_contains "cluster: routed: they are told before" "192.168.2.1 is not an address of the receiver" "$work/foreign.err"
}
