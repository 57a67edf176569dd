# Sourced by cluster.sh: streams between pods.
# shellcheck shell=bash disable=SC2154

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
    linerate results validate --results "$work/results" >"$work/mesh.valid" 2>&1 || true
    check_equal "cluster: streams: the results are valid" 0 "$(grep -c -v ': valid' "$work/mesh.valid" || true)"
    check_equal "cluster: streams: nothing is left" 0 "$(objects)"
    diagnosis
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
