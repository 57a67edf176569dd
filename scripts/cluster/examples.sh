# Sourced by cluster.sh: the example manifests, as a user applies them.
# shellcheck shell=bash disable=SC2154

scenario_examples() {
    if [ -z "$lab_is_ours" ]; then
        check_line "NOT RUN cluster: examples: the volume of memif's claim is made in a directory of this machine, and this is another's cluster"
        return
    fi
    # What a storage class would make.
    local volume=/var/lib/$PREFIX-volume
    mkdir -p "$volume"
    chmod 777 "$volume"
    jq -n --arg name "$PREFIX" --arg path "$volume" --arg namespace "$namespace" '{apiVersion: "v1", kind: "PersistentVolume", metadata: {name: $name},
        spec: {capacity: {storage: "1Mi"}, accessModes: ["ReadWriteOnce"], persistentVolumeReclaimPolicy: "Retain", hostPath: {path: $path},
               claimRef: {namespace: $namespace, name: "linerate-memif"}}}' | kubectl apply -f - >/dev/null
    apply_example memif
    apply_example af_packet
    kubectl delete persistentvolume "$PREFIX" --wait=false >/dev/null 2>&1 || true
    rm -rf "$volume"
}

# apply_example NAME: examples/pods/NAME.yaml with the image under test, the sender (its last document) when the receiver is ready.
apply_example() {
    local pod name=$1 others="$work/$1.rx.yaml" sender="$work/$1.tx.yaml"
    sed -e "s|localhost/linerate:dev|$IMAGE|" "examples/pods/$name.yaml" |
        awk -v RS='---\n' -v others="$others" -v sender="$sender" 'NR > 1 { print last "---" > others } { last = $0 } END { print last > sender }'
    kubectl -n "$namespace" apply -f "$others" >/dev/null
    until_pod linerate-rx is_receiving || true
    kubectl -n "$namespace" apply -f "$sender" >/dev/null
    for pod in linerate-tx linerate-rx; do
        until_pod "$pod" has_succeeded || true
        kubectl -n "$namespace" logs "$pod" 2>/dev/null | tail -n 1 >"$work/$pod.json" || true
    done
    check_json "cluster: examples: $name: all packets are sent" "$work/linerate-tx.json" '.sent_packets == 20000'
    check_json "cluster: examples: $name: sent = received + lost" "$work/linerate-rx.json" '.received_packets + .lost_packets == 20000'
    kubectl -n "$namespace" delete -f "$sender" -f "$others" --grace-period=1 >/dev/null 2>&1 || true
}

is_receiving() { kubectl -n "$namespace" logs "$1" 2>/dev/null | grep -q '^rx .* Mpps'; }
has_succeeded() { [ "$(kubectl -n "$namespace" get pod "$1" -o 'jsonpath={.status.phase}')" = Succeeded ]; }

# until_pod NAME CONDITION: fails when it has not come true of the pod after a while.
until_pod() {
    local end=$((SECONDS + 60))
    until "$2" "$1"; do
        if [ "$SECONDS" -ge "$end" ]; then
            kubectl -n "$namespace" describe pod "$1" | tail -5 | sed 's/^/     /'
            return 1
        fi
        sleep 0.3
    done
}
