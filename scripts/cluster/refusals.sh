# Sourced by cluster.sh: what is refused, and what is left alone.
# shellcheck shell=bash disable=SC2154

# refused NAME TEXT OPTIONS…: the run is refused with that text, and has created nothing.
refused() {
    local name=$1 text=$2
    shift 2
    run "$name" "${SMALL[@]}" "$@"
    check_equal "cluster: refusals: $name: exit status" 1 "$status"
    check_contains "cluster: refusals: $name: the reason" "$text" "$work/$name.err"
    check_equal "cluster: refusals: $name: nothing is there" 0 "$(objects)"
}

scenario_refusals() {
    refused devices "intel.com/dpdk: wanted 900, available" "${NO_HUGE[@]}" --resource intel.com/dpdk=900
    refused hugepages "hugepages-2Mi: wanted" --hugepages-2Mi 60000 --link memif
    refused cpu "cpu: wanted" "${NO_HUGE[@]}" --link memif --set spec.kubernetes.cpu=1000
    refused node "there is no such node" "${NO_HUGE[@]}" --link af-packet --node nowhere,nowhere
    refused network "NetworkAttachmentDefinition" "${NO_HUGE[@]}" --link af-packet --network nowhere
    refused context "no cluster to work with" "${NO_HUGE[@]}" --link memif --context nowhere
    refused image "none:1" "${NO_HUGE[@]}" --link memif --set spec.kubernetes.image=localhost/none:1 --image-pull-policy Never
    if [ -n "$lab_is_ours" ]; then
        # A number without a device, as a device plugin that is broken has it.
        "$LAB/cluster.sh" resource "${nodes[0]}" example.com/none 4
        refused preflight "no device is assigned" "${NO_HUGE[@]}" --set 'spec.kubernetes.resources={example.com/none: 1}' --node "${nodes[0]},${nodes[0]}"
        "$LAB/cluster.sh" resource "${nodes[0]}" example.com/none 0
    else
        check_line "NOT RUN cluster: refusals: preflight: a node must announce a resource that it does not have"
    fi
    kubectl -n "$namespace" create quota small --hard=requests.cpu=1 >/dev/null
    refused quota "quota small" "${NO_HUGE[@]}" --link memif
    kubectl -n "$namespace" delete quota small >/dev/null
}

# The run asks for a minute, as long as a server takes to restart.
scenario_unreachable() {
    local config=$work/nowhere.kubeconfig
    kubectl --kubeconfig "$config" config set-cluster c --server https://127.0.0.1:1 >/dev/null
    kubectl --kubeconfig "$config" config set-context x --cluster c >/dev/null
    kubectl --kubeconfig "$config" config use-context x >/dev/null
    KUBECONFIG=$config run unreachable "${SMALL[@]}"
    check_contains "cluster: unreachable: the reason" "cannot be reached" "$work/unreachable.err"
}

# scoped NAME SCOPE: a quota of no pods at all that is about pods of SCOPE only.
scoped() { kubectl -n "$namespace" create quota "$1" --hard=pods=0 --scopes="$2" >/dev/null; }

scenario_quotas() {
    local tiny=(-n 1 --link memif "${NO_HUGE[@]}" --size 64 --flows 1 --rate 1kpps --packets 1000
        --set "spec.kubernetes.link.hostDirectory=/var/lib/$PREFIX")
    scoped best-effort BestEffort
    scoped terminating Terminating
    jq -n '{apiVersion: "v1", kind: "ResourceQuota", metadata: {name: "high"}, spec: {hard: {pods: "0"}, scopeSelector:
        {matchExpressions: [{scopeName: "PriorityClass", operator: "In", values: ["high"]}]}}}' | kubectl -n "$namespace" apply -f - >/dev/null
    sleep 1
    run scoped "${SMALL[@]}" "${tiny[@]}"
    complete scoped 1
    scoped ours NotBestEffort
    sleep 1
    refused ours "exceeded quota: ours" "${tiny[@]}"
    kubectl -n "$namespace" delete quota ours >/dev/null
    kubectl -n "$namespace" create quota leases --hard=count/leases.coordination.k8s.io=0 >/dev/null
    sleep 1
    refused leases "quota" "${tiny[@]}"
}

# Pods of other people that happen to have our names.
scenario_others() {
    local before after
    kubectl -n "$namespace" run tx0 --image="$IMAGE" --labels=role=tx --restart=Never --command -- /usr/local/bin/hugepage-check >/dev/null
    kubectl -n "$namespace" create secret generic linerate-mine --from-literal=a=b >/dev/null
    kubectl -n "$namespace" wait --for=condition=PodScheduled pod/tx0 --timeout=30s >/dev/null
    sleep 3
    before=$(foreign)
    run dry --dry-run -n 1 --link memif "${SMALL[@]}" "${NO_HUGE[@]}"
    check_contains "cluster: others: a dry run names the pod" "is not Linerate's" "$work/dry.err"
    run wet -n 1 --link memif "${SMALL[@]}" "${NO_HUGE[@]}"
    check_contains "cluster: others: a run names the pod" "is not Linerate's" "$work/wet.err"
    linerate pods delete --all --namespace "$namespace" 2>/dev/null
    after=$(foreign)
    check_equal "cluster: others: nothing of theirs was touched" "$before" "$after"
}

foreign() { kubectl -n "$namespace" get pods,secrets -o json | jq -c '[.items[].metadata | [.name, .uid, .deletionTimestamp]] | sort'; }
