# Sourced by cluster.sh: a cluster to work with, and the image in it.
# shellcheck shell=bash disable=SC2154

IMAGE=${LINERATE_E2E_IMAGE:-localhost/linerate:e2e}
HOSTPLANE_IMAGE=${LINERATE_E2E_HOSTPLANE_IMAGE:-}
LAB=${LINERATE_CLUSTER_LAB:-}
HUGEPAGES=600
# What another stage may take to build the images, in seconds, before they are built here.
IMAGES_S=900
lab_is_ours='' hugepages_before='' image_archive='' hostplane_archive=''

# find_cluster: KUBECONFIG is set afterwards; where that is impossible for good reason, `reason` says so.
find_cluster() {
    if [ "${LINERATE_E2E:-}" = 1 ] && [ -n "${KUBECONFIG:-}" ]; then
        return 0
    fi
    if [ -z "$LAB" ] || [ ! -x "$LAB/cluster.sh" ]; then
        reason="no cluster: neither LINERATE_E2E=1 with KUBECONFIG nor LINERATE_CLUSTER_LAB is set"
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        reason="bringing up a cluster of this machine's own needs root"
        return 1
    fi
    need_packages "${CLUSTER_PACKAGES[@]}"
    say "cluster: building its parts, once"
    if ! "$LAB/build.sh" >"$work/build.log" 2>&1; then
        reason="its parts cannot be built: $(tail -1 "$work/build.log")"
        return 1
    fi
    "$LAB/cluster.sh" down >/dev/null 2>&1 || true
    hugepages_before=$(cat /proc/sys/vm/nr_hugepages)
    echo "$HUGEPAGES" >/proc/sys/vm/nr_hugepages
    say "cluster: two nodes"
    if ! "$LAB/cluster.sh" up 2 >"$work/up.log" 2>&1; then
        reason="it does not come up: $(tail -1 "$work/up.log")"
        return 1
    fi
    lab_is_ours=true
    eval "$("$LAB/cluster.sh" env)"
    export KUBECONFIG
    until_nodes_take_pods
    say "cluster: the image"
    until_images_are_built
    image_archive=${LINERATE_IMAGE_ARCHIVE:-}
    if [ -s "$image_archive" ]; then
        IMAGE=localhost/linerate:test
    else
        image_archive=$work/image.tar
        archive_image
    fi
    "$LAB/cluster.sh" load "$image_archive" >/dev/null
}

until_images_are_built() {
    local end=$((SECONDS + IMAGES_S))
    [ -n "${LINERATE_IMAGES_BUILT:-}" ] || return 0
    until [ -e "$LINERATE_IMAGES_BUILT" ] || [ "$SECONDS" -ge "$end" ]; do sleep 0.5; done
}

archive_image() { archive "$image_archive" --tag "$IMAGE"; }

# hostplane_image: the image of pods of streams is in the cluster afterwards, by the name $HOSTPLANE_IMAGE. Fails in a cluster of others without one.
hostplane_image() {
    [ -z "$HOSTPLANE_IMAGE" ] || return 0
    [ -n "$lab_is_ours" ] || return 1
    hostplane_archive=${LINERATE_HOSTPLANE_ARCHIVE:-}
    if [ -s "$hostplane_archive" ]; then
        HOSTPLANE_IMAGE=localhost/linerate-hostplane:test
    else
        HOSTPLANE_IMAGE=localhost/linerate-hostplane:e2e
        hostplane_archive=$work/hostplane.tar
        archive "$hostplane_archive" --target hostplane --tag "$HOSTPLANE_IMAGE"
    fi
    "$LAB/cluster.sh" load "$hostplane_archive" >/dev/null
}

# archive FILE OPTIONS… of image.sh
archive() {
    local file=$1
    shift
    # shellcheck disable=SC1091
    scripts/image.sh --engine buildah --fresh --debootstrap "$(. /etc/os-release && echo "${VERSION_CODENAME:-sid}")" --binaries "${LINERATE_BIN:-target/debug}" \
        "$@" --archive "$file" >"$work/image.log" 2>&1 || {
        tail -5 "$work/image.log" >&2
        die "scripts/image.sh failed; see above"
    }
}

# routed_cluster: in place of the kit's cluster that is up, one whose pods have no common layer 2. It stays for the scenarios that follow.
routed_cluster() {
    "$LAB/cluster.sh" down >/dev/null 2>&1 || true
    if ! ROUTED=1 "$LAB/cluster.sh" up 2 >"$work/routed.log" 2>&1; then
        check_line "FAIL cluster: routed: the cluster does not come up: $(tail -1 "$work/routed.log")"
        return 1
    fi
    eval "$("$LAB/cluster.sh" env)"
    export KUBECONFIG
    until_nodes_take_pods
    "$LAB/cluster.sh" load "$image_archive" >/dev/null
    [ ! -s "$hostplane_archive" ] || "$LAB/cluster.sh" load "$hostplane_archive" >/dev/null
    kubectl create namespace "$namespace" >/dev/null
}

# until_nodes_take_pods: a node that has become ready keeps its taint until the node controller has seen that.
until_nodes_take_pods() {
    local end=$((SECONDS + 60))
    while [ -n "$(kubectl get nodes -o 'jsonpath={.items[*].spec.taints[*].key}')" ] && [ "$SECONDS" -lt "$end" ]; do sleep 0.5; done
}

end_cluster() {
    [ -z "$lab_is_ours" ] || "$LAB/cluster.sh" down >/dev/null 2>&1 || true
    [ -z "$hugepages_before" ] || echo "$hugepages_before" >/proc/sys/vm/nr_hugepages
}
