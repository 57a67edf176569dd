# Sourced by cluster.sh: HTTP through Services, from pods to pods.
# shellcheck shell=bash disable=SC2154

scenario_balancers() {
    if ! hostplane_image; then
        check_line "NOT RUN cluster: balancers: LINERATE_E2E_HOSTPLANE_IMAGE names no image of the nodes"
        return 0
    fi
    kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted >/dev/null
    # The kit's node ports are on loopback addresses alone.
    document_of_http 'targets: [cluster-ip, pod], backends: [1, 3]' >"$work/services.yaml"
    IMAGE=$HOSTPLANE_IMAGE run services "$work/services.yaml"
    [ "$status" = 0 ] || sed 's/^/     /' "$work/services.err"
    check_equal "cluster: balancers: exit status" 0 "$status"
    check_json "cluster: balancers: each target with each number of backends, complete" "$work/services.json" \
        '.status == "complete" and (.http | length == 4 and all(.complete))'
    check_json "cluster: balancers: every request is accounted for" "$work/services.json" \
        '.http[].requests | .intended == .sent + .skipped and .sent == .answered + ([.failed[]] | add // 0) + .unfinished and .answered > 0'
    check_json "cluster: balancers: each backend wrote the answers that clients received of it" "$work/services.json" \
        '.http[].by_backend[] | .answers > 0 and .answers == .answered and .answered == .requests'
    check_json "cluster: balancers: connections through Services have a test of evenness" "$work/services.json" \
        '[.http[] | select(.backends == 3 and .target != "direct") | .evenness] | length == 1 and all(.unit == "connections" and .count >= 60)'
    results_valid "cluster: balancers: the results are valid" "$work/results" "$(id_of services)"
    check_equal "cluster: balancers: nothing is left" 0 "$(services_too)"
    jq -r '.http[]? | "     \(.profile): \(.requests_per_s | round) requests/s, p = \(.evenness.p_value), gate \(.gate.waited_s) s"' \
        < <(tail -n 1 "$work/services.json") || true
    not_ready_for_a_time
    not_yet_balanced
}

# A backend is not ready for a time: kubelet, endpoint slices and kube-proxy take it out of the rotation and put it back, which costs no request.
not_ready_for_a_time() {
    document_of_http 'targets: [cluster-ip], backends: [2], keepAlive: false, churn: {after: 1s, for: 6s, kind: notReady}' |
        sed 's/rates: \[500\]/rates: [100]/; s/duration: 1s/duration: 12s/' >"$work/churn.yaml"
    IMAGE=$HOSTPLANE_IMAGE run churn "$work/churn.yaml"
    [ "$status" = 0 ] || sed 's/^/     /' "$work/churn.err"
    check_equal "cluster: balancers: churn: exit status" 0 "$status"
    check_json "cluster: balancers: churn: the backend was not ready, came back, and no request failed" "$work/churn.json" \
        '.status == "complete" and (.http[0] | .complete and (.churn | .kind == "notReady" and .returned_s != null and .errors == 0))'
    check_json "cluster: balancers: churn: it was taken out of the rotation, and put back" "$work/churn.json" \
        '.http[0].churn | (.last_connection_ms // 0) < 5500 and .first_request_ms != null'
    jq -r '.http[]?.churn | "     not ready: new connections for \(.last_connection_ms) ms, \(.errors) errors in \(.error_ms) ms, first request \(.first_request_ms) ms after the return"' \
        < <(tail -n 1 "$work/churn.json") || true
    check_equal "cluster: balancers: churn: nothing is left" 0 "$(services_too)"
}

# Backends are ready, and kube-proxy does not know it: the trial waits and says so.
not_yet_balanced() {
    local runs end said=0 words='waiting until each of 2 backends answers every client through cluster-ip'
    local -a proxies=()
    if [ -n "$lab_is_ours" ]; then mapfile -t proxies < <(pgrep -x kube-proxy); fi
    if [ ${#proxies[@]} = 0 ]; then
        check_line "NOT RUN cluster: balancers: gate: kube-proxy is not this machine's own"
        return 0
    fi
    document_of_http 'targets: [cluster-ip], backends: [2]' >"$work/gate.yaml"
    # A stopped kube-proxy would stay so for everybody, whatever ends this script.
    stopped_proxies=("${proxies[@]}")
    kill -STOP "${proxies[@]}"
    timeout 120 "${LINERATE_BIN:-target/debug}/linerate" run "$work/gate.yaml" --platform kubernetes --namespace "$namespace" --image "$HOSTPLANE_IMAGE" \
        --results "$work/gate" --json >"$work/gate.json" 2>"$work/gate.err" &
    runs=$!
    end=$((SECONDS + 40))
    while [ "$SECONDS" -lt "$end" ] && ! grep -qF "$words" "$work/gate.json"; do sleep 0.2; done
    ! grep -qF "$words" "$work/gate.json" || said=1
    # The endpoints are ready meanwhile; clients are not balanced to them.
    kubectl -n "$namespace" get endpointslices -l kubernetes.io/service-name=linerate-http -o json | jq -c . >"$work/slices.json" || true
    sleep 1
    proxies_go_on
    status=0
    wait "$runs" || status=$?
    [ "$status" = 0 ] || sed 's/^/     /' "$work/gate.err"
    check_equal "cluster: balancers: gate: the trial waits, and says so" 1 "$said"
    check_json "cluster: balancers: gate: the backends were ready" "$work/slices.json" \
        '[.items[].endpoints[]? | select(.conditions.ready)] | length == 2'
    check_json "cluster: balancers: gate: the result has the wait and the repeated probes" "$work/gate.json" \
        '.status == "complete" and (.http[0] | .complete and .gate.waited_s > 1 and .gate.failed > 0)'
    check_equal "cluster: balancers: gate: nothing is left" 0 "$(services_too)"
}

# proxies_go_on: those that were stopped; also called at the end of the suite.
stopped_proxies=()
proxies_go_on() {
    [ ${#stopped_proxies[@]} = 0 ] || kill -CONT "${stopped_proxies[@]}" 2>/dev/null || true
    stopped_proxies=()
}

# document_of_http MATRIX
document_of_http() {
    cat <<END_OF_DOCUMENT
apiVersion: linerate.dev/v1alpha1
kind: Experiment
metadata: {name: services}
spec:
  platform: kubernetes
  http: {$1, connections: [60], clients: 2, rates: [500], gate: {timeout: 60s}}
  trial: {duration: 1s, orphan: 30s}
  kubernetes: {cpu: 150m, memory: 64Mi}
END_OF_DOCUMENT
}

# services_too: Linerate's objects in the namespace, Services among them.
services_too() { echo $(($(objects) + $(kubectl -n "$namespace" get services -l app.kubernetes.io/managed-by=linerate -o name | wc -l))); }
