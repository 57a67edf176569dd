# Sourced by cluster.sh: streams between pods.
# shellcheck shell=bash disable=SC2154,SC2016 # jq has variables, too

# A part of a CPU for each pod: a mesh needs many pods more than it needs CPUs.
STREAM_AGENTS=10

scenario_streams() {
    local connections=$((STREAM_AGENTS * (STREAM_AGENTS - 1)))
    if ! hostplane_image; then
        check_line "NOT RUN cluster: streams: LINERATE_E2E_HOSTPLANE_IMAGE names no image of the nodes"
        return 0
    fi
    # Nothing may run here that the strictest standard forbids; servers before 1.23 do not check.
    kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted >/dev/null
    cat >"$work/mesh.yaml" <<END_OF_DOCUMENT
apiVersion: linerate.dev/v1alpha1
kind: Experiment
metadata: {name: mesh}
spec:
  platform: kubernetes
  topology: {kind: mesh, agents: $STREAM_AGENTS}
  streams: {transports: [tcp, udp], rates: [200kbps]}
  trial: {duration: 4s, orphan: 30s}
  kubernetes: {cpu: 150m, memory: 64Mi}
END_OF_DOCUMENT
    IMAGE=$HOSTPLANE_IMAGE run mesh "$work/mesh.yaml"
    [ "$status" = 0 ] || sed 's/^/     /' "$work/mesh.err"
    check_equal "cluster: streams: exit status" 0 "$status"
    check_json "cluster: streams: $connections connections of TCP and of UDP, all alive and accounted for" "$work/mesh.json" \
        ".status == \"complete\" and (.streams | length == 2 and all(.connections == $connections and .connections_alive == $connections and .complete))"
    check_json "cluster: streams: TCP to the byte" "$work/mesh.json" \
        '.streams[] | select(.transport == "tcp") | .written_bytes > 0 and .written_bytes == .acked_bytes and .acked_bytes == .received_bytes'
    check_json "cluster: streams: UDP to the datagram" "$work/mesh.json" \
        '.streams[] | select(.transport == "udp") | .sent_datagrams > 0 and .sent_datagrams == .received_datagrams + .lost_datagrams'
    if [ "${#nodes[@]}" -ge 2 ]; then
        check_json "cluster: streams: the pods were on both nodes" "$work/mesh.json" '[.experiment.streams_agents[].node] | unique | length >= 2'
    fi
    results_valid "cluster: streams: the results are valid" "$work/results" "$(id_of mesh)"
    check_equal "cluster: streams: nothing is left" 0 "$(objects)"
    diagnosis
    node_view
    tail -n 1 "$work/mesh.json" | jq -r '.streams[]? | "     \(.transport): \(.received_bps / 1e6 | round) Mbit/s in all, \(.verdict.kind)"' || true
}

# Between pods of the same kind, and from one to the other node's own network (nodes of the kit share one, so only one end can be in
# it): what is wrong with the path.
diagnosis() {
    [ "${#nodes[@]}" -ge 2 ] || return 0
    local addresses
    diagnose pods "${nodes[0]}" "${nodes[1]}"
    kubectl label --overwrite namespace "$namespace" pod-security.kubernetes.io/enforce=privileged >/dev/null
    diagnose host "${nodes[0]}" "host:${nodes[1]}"
    addresses=$(kubectl get node "${nodes[1]}" -o 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address}')
    check_json "cluster: streams: diagnose: host: at the node's own address" "$work/diagnosis.host.json" \
        ".diagnosis.to as \$to | .to.in_host_network and (\"$addresses\" | split(\" \") | index(\$to) != null)"
}

# What pods in the nodes' own networks saw beside a trial, and what the kernel counted at the same interface, read before the run and after it.
# Two runs at the same time have a watcher each on each node (nodes of the kit share one network: each watcher of either run sees it).
node_view() {
    local what="cluster: streams: node view" name pid before after trial other=$namespace-too
    [ -n "$lab_is_ours" ] && [ "${#nodes[@]}" -ge 2 ] || return 0
    for name in view other; do
        cat >"$work/$name.yaml" <<END_OF_DOCUMENT
apiVersion: linerate.dev/v1alpha1
kind: Experiment
metadata: {name: $name}
spec:
  platform: kubernetes
  streams: {transports: [udp], rates: [1mbps]}
  trial: {duration: 2s, orphan: 30s}
  kubernetes: {cpu: 150m, memory: 64Mi, placement: differentNodes, nodeView: true}
END_OF_DOCUMENT
    done
    kubectl create namespace "$other" >/dev/null
    (namespace=$other IMAGE=$HOSTPLANE_IMAGE run other "$work/other.yaml" && echo "$status" >"$work/other.status") &
    pid=$!
    before=$("$LAB/cluster.sh" in-ns cat /proc/net/dev)
    IMAGE=$HOSTPLANE_IMAGE run view "$work/view.yaml"
    after=$("$LAB/cluster.sh" in-ns cat /proc/net/dev)
    wait "$pid" || true
    [ "$status" = 0 ] || sed 's/^/     /' "$work/view.err"
    check_equal "$what: exit status" "0 0" "$status $(cat "$work/other.status" 2>/dev/null || true)"
    check_json "$what: each node of both was watched, by number and name" "$work/view.json" \
        '.streams[0].nodes as $nodes | ([.experiment.streams_agents[].node] | unique) == ([$nodes[].node] | sort) and ($nodes | all(.reason == null and .host.node_net_rx > 0))'
    check_json "$what: also by another run at the same time" "$work/other.json" '.streams[0].nodes | length == 2 and all(.reason == null)'
    # Raw: also the nodes' ends of the pods' interfaces, which go with the pods.
    trial=$work/results/$(tail -n 1 "$work/view.json" | jq -r '"\(.experiment.id)/\(.streams[0].trial)"')
    check_json "$what: every datagram of the trial is seen on its way through the node: from a pod, and to a pod" "$trial" \
        '.result.sent_datagrams as $sent | .nodes | all(.host.namespace.interfaces | map(select(.interface | startswith("veth"))) | any(.rx_packets >= $sent) and any(.tx_packets >= $sent)) and $sent > 0'
    check_json "$what: the pods' bridge moved no more packets than the kernel counted from before the run to after it" "$trial" \
        "[.nodes[].devices.interfaces[] | select(.interface == \"pods\").counters] | length == 2 and all(.rx_packets <= $(passed 3) and .tx_packets <= $(passed 11))"
    check_equal "$what: nothing is left" 0 "$(objects)"
    kubectl delete namespace "$other" --wait=false >/dev/null 2>&1
}

# passed COLUMN: how much further that counter of the pods' bridge is in /proc/net/dev: $after, than it was: $before.
passed() {
    local now earlier
    now=$(awk -v column="$1" '$1 == "pods:" {print $column}' <<<"$after")
    earlier=$(awk -v column="$1" '$1 == "pods:" {print $column}' <<<"$before")
    echo $((now - earlier))
}

# diagnose NAME FROM TO
diagnose() {
    local code=0 what="cluster: streams: diagnose: $1" file="$work/diagnosis.$1.json"
    linerate diagnose --namespace "$namespace" --image "$HOSTPLANE_IMAGE" --cpu 150m --memory 64Mi --from "$2" --to "$3" \
        --duration 300ms --sweep none --parallel 1 --rate 20mbps --udp-rate 1kpps --json --quiet --results "$work/results" \
        >"$file" 2>"$work/diagnosis.err" || code=$?
    [ "$code" = 0 ] || sed 's/^/     /' "$work/diagnosis.err"
    # 1: it found a fault, such as a quota of the pods.
    check_equal "$what: exit status" "0 or 1" "$(case $code in 0 | 1) echo "0 or 1" ;; *) echo "$code" ;; esac)"
    check_json "$what: TCP and UDP both ways between the nodes that were named" "$file" \
        ".from.node == \"${2#host:}\" and .to.node == \"${3#host:}\" and ([.diagnosis.steps[] | select(.result != null)] | length == 4)"
    check_equal "$what: nothing is left" 0 "$(objects)"
}
