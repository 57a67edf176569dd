# Sourced by cluster.sh: experiments that succeed.
# shellcheck shell=bash disable=SC2154

scenario_memif() {
    local manifest
    for manifest in controller/tests/golden/*.yaml; do
        kubectl -n "$namespace" apply --dry-run=client -f "$manifest" >"$work/read" 2>&1 || true
        check_equal "cluster: memif: kubectl reads the manifests of ${manifest##*/}" 2 "$(grep -c 'created (dry run)' "$work/read" || true)"
    done
    run memif -n 1 --link memif "${SMALL[@]}" "${NO_HUGE[@]}" --size 64,1500 --flows 100 --rate 10kpps --packets 5000 \
        --set "spec.kubernetes.link.hostDirectory=/var/lib/$PREFIX"
    complete memif 2
    check_json "cluster: memif: both agents were on one node" "$work/memif.json" '[.experiment.agents[].node] | unique | length == 1'
    check_json "cluster: memif: no packet was lost" "$work/memif.json" '[.trials[].lost_packets] | add == 0'
    note_times memif
}

scenario_two_nodes() {
    if [ "${#nodes[@]}" -lt 2 ]; then
        check_line "NOT RUN cluster: two_nodes: the cluster has ${#nodes[@]} node"
        return
    fi
    run across -n 2 --link af-packet --different-nodes "${SMALL[@]}" --hugepages-2Mi 64 --size 64,512 --flows 100 --flow-mode sd --rate 1kpps --packets 1000
    complete across 4
    check_json "cluster: two_nodes: the agents were on two nodes, in hugepages" "$work/across.json" \
        '[.experiment.agents[].node] | unique | length == 2'
    check_json "cluster: two_nodes: packet memory was in hugepages" "$work/across.json" '.experiment.agents | all(.hugepages)'
    run pairs --link af-packet --node "${nodes[0]},${nodes[0]}" --node "${nodes[1]},${nodes[1]}" -n 2 "${SMALL[@]}" --hugepages-2Mi 64 --size 64 \
        --flows 10 --rate 1kpps --packets 1000
    complete pairs 2
    check_json "cluster: two_nodes: the pairs are also told together, with how far apart they began" "$work/pairs.json" \
        '.aggregates | length == 1 and all(.results == 2 and .sent_packets == .received_packets + .lost_packets and .start.spread_s >= 0)'
    jq -r '.aggregates[]? | "     the pairs began within \(.start.spread_s) s, give or take \(.start.uncertainty_s) s"' < <(tail -n 1 "$work/pairs.json") || true
    note_times pairs
}

# Two pairs, searched together and one by one. The highest load is one that any cluster carries.
scenario_search() {
    local goal='{name: ndr, duration: 300ms, initialDuration: 300ms, sum: 900ms, width: 5%, precedingTargets: 1}' mode
    for mode in together each; do
        run "search-$mode" -n 2 --link af-packet --same-node "${SMALL[@]}" "${NO_HUGE[@]}" --size 64 --flows 10 --search ndr \
            --set "spec.search.goals=[$goal]" --set spec.search.load.max=2kpps --set "spec.search.mode=$mode" --set spec.search.warmUp=0s
        check_json "cluster: search: $mode: complete, and every packet is accounted for" "$work/search-$mode.json" \
            '.status == "complete" and (.trials | length > 0 and all(.sent_packets == .received_packets + .lost_packets))'
        jq -c ".searches[] | {ended, pair, goals}" "$work/search-$mode.json" | sed "s|^|     |" || true
        # A loaded machine may lose packets below it: that is a result as well.
        check_json "cluster: search: $mode: the highest load, one below it, or what limited it" "$work/search-$mode.json" \
            '.searches | all(.ended == "finished" and (.goals | all(if .irregular == "maxLoadReached" then .effective_lower_bound_pps == 2000
                else .effective_lower_bound_pps < 2000 and (.irregular == null or .limited_by != null) end)))'
    done
    check_json "cluster: search: together is one search over both pairs" "$work/search-together.json" '.searches | length == 1 and all(.paths == 2)'
    check_json "cluster: search: each is a search for each pair, the other one idle" "$work/search-each.json" \
        '([.searches[].pair] | sort == ["tx0-rx0", "tx1-rx1"]) and (.trials | group_by(.repeat) | all(length == 1))'
}

# Pods that are made once, and used by several runs.
scenario_kept() {
    local id document=("${NO_HUGE[@]}" -n 1 --link memif "${SMALL[@]}" --set "spec.kubernetes.link.hostDirectory=/var/lib/$PREFIX")
    linerate pods create "${document[@]}" --namespace "$namespace" --image "$IMAGE" >"$work/create" 2>"$work/create.err" || true
    id=$(tail -n 1 "$work/create")
    check_equal "cluster: kept: the pods are there" 2 "$(kubectl -n "$namespace" get pods -l "linerate.dev/experiment=$id" -o name | wc -l)"
    for name in first second; do
        run "$name" "${document[@]}" --pods "$id" --size 64 --flows 10 --rate 1kpps --packets 1000
        check_json "cluster: kept: a $name run on them: sent = received + lost" "$work/$name.json" \
            '.status == "complete" and (.trials | length == 1 and all(.sent_packets == 1000 and .sent_packets == .received_packets + .lost_packets))'
    done
    run other "${document[@]}" --pods "$id" --set spec.agents.txd=2048
    check_contains "cluster: kept: an experiment that needs other agents is refused" "was made for another experiment" "$work/other.err"
    run none "${document[@]}" --pods 00000000
    check_contains "cluster: kept: pods that are not there are named" "has no kept pods of run 00000000" "$work/none.err"
    linerate pods delete "$id" --namespace "$namespace" >"$work/delete" 2>&1 || true
    check_equal "cluster: kept: deleted, nothing is left" 0 "$(objects)"
}

# The account has a token of its own kind: that of a service account, in a kubeconfig of its own.
scenario_role() {
    local account=measurer secret token server
    linerate rbac --namespace "$namespace" --service-account "$account" >"$work/role.yaml"
    kubectl -n "$namespace" create serviceaccount "$account" >/dev/null
    kubectl apply -f "$work/role.yaml" >/dev/null
    if ! token=$(kubectl -n "$namespace" create token "$account" 2>/dev/null); then
        # Before Kubernetes 1.24 the account has a secret.
        secret=$(kubectl -n "$namespace" get serviceaccount "$account" -o 'jsonpath={.secrets[0].name}')
        token=$(kubectl -n "$namespace" get secret "$secret" -o 'jsonpath={.data.token}' | base64 -d)
    fi
    server=$(kubectl config view --minify -o 'jsonpath={.clusters[0].cluster.server}')
    kubectl config view --minify --flatten --raw -o 'jsonpath={.clusters[0].cluster.certificate-authority-data}' | base64 -d >"$work/ca.crt"
    kubectl --kubeconfig "$work/role.kubeconfig" config set-cluster c --server "$server" --certificate-authority "$work/ca.crt" --embed-certs=true >/dev/null
    kubectl --kubeconfig "$work/role.kubeconfig" config set-credentials u --token "$token" >/dev/null
    kubectl --kubeconfig "$work/role.kubeconfig" config set-context x --cluster c --user u --namespace "$namespace" >/dev/null
    kubectl --kubeconfig "$work/role.kubeconfig" config use-context x >/dev/null
    KUBECONFIG=$work/role.kubeconfig run role -n 1 --link memif "${SMALL[@]}" "${NO_HUGE[@]}" --size 64 --flows 1 --rate 1kpps --packets 1000 \
        --set "spec.kubernetes.link.hostDirectory=/var/lib/$PREFIX"
    complete role 1
    # No other secret may be read.
    kubectl -n "$namespace" create secret generic theirs --from-literal=a=b >/dev/null
    check_equal "cluster: role: secrets of others cannot be read" no \
        "$(kubectl --kubeconfig "$work/role.kubeconfig" auth can-i get secret/theirs 2>/dev/null || true)"
    half_a_port_forward get create
    half_a_port_forward create get
    kubectl replace -f "$work/role.yaml" >/dev/null
    # Each verb that is taken away is named before anything is created.
    kubectl -n "$namespace" get role linerate -o json |
        jq '(.rules[] | select(.resources == ["pods"])).verbs -= ["delete"] | (.rules[] | select(.resources == ["secrets"])).verbs -= ["create"] |
            .rules |= map(select(.verbs != []))' | kubectl replace -f - >/dev/null
    KUBECONFIG=$work/role.kubeconfig run lesser -n 1 --link memif "${SMALL[@]}" "${NO_HUGE[@]}" --size 64 --packets 10
    check_equal "cluster: role: with less the run is refused" 1 "$status"
    check_contains "cluster: role: what is missing is named" "delete pods, create secrets" "$work/lesser.err"
    check_equal "cluster: role: nothing was created" 0 "$(objects)"
    KUBECONFIG=$work/role.kubeconfig kubectl config set-credentials u --token expired >/dev/null
    KUBECONFIG=$work/role.kubeconfig run expired -n 1 --link memif "${SMALL[@]}" "${NO_HUGE[@]}"
    check_contains "cluster: role: a token that is no longer good is named" "does not accept the credentials" "$work/expired.err"
}

# half_a_port_forward VERB OTHER: a Role that has only VERB on pods/portforward is refused for want of the OTHER, before anything is created.
half_a_port_forward() {
    local verb=$1 other=$2
    kubectl -n "$namespace" get role linerate -o json |
        jq --arg verb "$verb" '(.rules[] | select(.resources == ["pods/portforward"])).verbs = [$verb]' | kubectl replace -f - >/dev/null
    KUBECONFIG=$work/role.kubeconfig run "half-$verb" -n 1 --link memif "${SMALL[@]}" "${NO_HUGE[@]}" --size 64 --packets 10
    check_equal "cluster: role: only $verb on pods/portforward: the run is refused" 1 "$status"
    check_contains "cluster: role: only $verb on pods/portforward: what is missing is named" ": $other pods/portforward" "$work/half-$verb.err"
    check_equal "cluster: role: only $verb on pods/portforward: nothing was created" 0 "$(objects)"
}

# note_times NAME: for the reader.
note_times() {
    tail -n 1 "$work/$1.json" | jq -r '.overhead | "     start-up \(.start_up_s) s, from running pods to the first packet \(.ready_to_first_packet_s) s, warm-up \(.warm_up_s) s,"
        + " from the last packet to results on disk \(.last_packet_to_results_s) s, tear-down \(.tear_down_s) s"' || true
}
