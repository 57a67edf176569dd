# Sourced by containers.sh: the example manifests, as a user without a cluster plays them.
# shellcheck shell=bash disable=SC2154

scenario_pods() {
    if [ "$engine" != podman ]; then
        check_line "NOT RUN containers: pods: podman plays them, and this is $engine"
        return 0
    fi
    # kube play has no options for what containers need here; the options of `run` become settings.
    {
        echo '[containers]'
        [[ "${run_options[*]}" != *ulimit* ]] || echo 'default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]'
        echo '[engine]'
        [[ "${run_options[*]}" != *runc* ]] || echo 'runtime = "runc"'
    } >"$work/containers.conf"
    play memif --network=none
    # The one that needs more of this machine than `podman run` has already shown to work.
    podman network inspect podman >/dev/null 2>&1 || { check_line "NOT RUN containers: pods: af_packet: podman has no bridge network here" && return 0; }
    play af_packet
}

# play NAME [OPTIONS of kube play]: plays examples/pods/NAME.yaml with the image under test and names of its own, the sender when the receiver is ready.
play() {
    local name=$1 sender="$work/$1.tx.yaml" others="$work/$1.rx.yaml" status=0
    shift
    sed -e "s|localhost/linerate:dev|$IMAGE|" -e 's/\blinerate-\(rx\|tx\|memif\)\b/linerate-test-\1/' "examples/pods/$name.yaml" >"$work/$name.yaml"
    # The sender is the last document.
    awk -v RS='---\n' -v others="$others" -v sender="$sender" 'NR > 1 { print last "---" > others } { last = $0 } END { print last > sender }' "$work/$name.yaml"
    if kube_play "$@" "$others" && ready linerate-test-rx-rx && kube_play "$@" "$sender"; then
        timeout 90 podman wait linerate-test-rx-rx linerate-test-tx-tx >/dev/null 2>&1 || status=$?
        podman logs linerate-test-rx-rx >"$work/rx.json" 2>"$work/rx.err" || true
        podman logs linerate-test-tx-tx >"$work/tx.json" 2>"$work/tx.err" || true
        check_equal "pods: $name: both end by themselves" 0 "$status"
        PACKETS=$(sed -n '/--packets/{n;s/.*"\(.*\)"/\1/p;q}' "$work/$name.yaml") check_trial "pods: $name"
    else
        check_line "FAIL pods: $name: podman kube play: $(tail -1 "$work/play")"
    fi
    end_pods
}

kube_play() { CONTAINERS_CONF="$work/containers.conf" podman kube play "$@" >"$work/play" 2>&1; }

end_pods() {
    [ "$engine" = podman ] || return 0
    podman pod rm -f linerate-test-rx linerate-test-tx >/dev/null 2>&1 || true
    podman volume rm -f linerate-test-memif >/dev/null 2>&1 || true
}
