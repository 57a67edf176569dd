#!/usr/bin/env bash
# Runs experiments on a real Kubernetes cluster, and does to it what clusters do: docs/kubernetes.md, shown.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh
# shellcheck source=scripts/checks.sh
. scripts/checks.sh
# shellcheck source=scripts/cluster/lab.sh
. scripts/cluster/lab.sh
# shellcheck source=scripts/cluster/suite.sh
. scripts/cluster/suite.sh
# shellcheck source=scripts/cluster/experiments.sh
. scripts/cluster/experiments.sh
# shellcheck source=scripts/cluster/networks.sh
. scripts/cluster/networks.sh
# shellcheck source=scripts/cluster/refusals.sh
. scripts/cluster/refusals.sh
# shellcheck source=scripts/cluster/clocks.sh
. scripts/cluster/clocks.sh
# shellcheck source=scripts/cluster/examples.sh
. scripts/cluster/examples.sh
# shellcheck source=scripts/cluster/streams.sh
. scripts/cluster/streams.sh
# shellcheck source=scripts/cluster/balancers.sh
. scripts/cluster/balancers.sh
# shellcheck source=scripts/cluster/faults.sh
. scripts/cluster/faults.sh

usage() {
    cat <<'END_OF_USAGE'
Usage: scripts/cluster.sh test [SCENARIO…]

test   runs the scenarios (default: all of them), each in a namespace of its own, and prints PASS, FAIL or NOT RUN for every check

Scenarios: memif       a pair on one node, joined by shared memory in a directory of the node
           two_nodes   two pairs over the pod network, one on a node, one across nodes, with hugepages
           search      two pairs, whose highest load is searched for together and one by one
           addresses   pairs over the pod network with addresses of the pods and of the user
           streams     a full mesh of TCP and UDP streams between unprivileged pods of both nodes
           balancers   HTTP through Services to unprivileged pods, and the wait for a kube-proxy that is late
           examples    examples/pods, applied as a user does
           kept        pods that are made once and used by several runs
           role        a service account with nothing but the printed Role
           quotas      quotas with scopes: those about other pods are not in the way
           refusals    what is refused before anything is created, each with its reason
           unreachable a server that does not answer
           others      pods of other people under our names are left alone
           clocks      controllers whose clocks differ by ten minutes leave each other alone; a dead one's objects are removed
           resume      a run whose controller is killed in every phase, and that is resumed each time
           faults      pods that die, a controller that is killed: nothing lost, nothing left
           routed      pairs over a pod network without a common layer 2, on one node and across nodes; a cluster of the kit's own, brought up for it

The cluster is the one of KUBECONFIG when LINERATE_E2E=1 is set; its nodes must have the images LINERATE_E2E_IMAGE
and LINERATE_E2E_HOSTPLANE_IMAGE. Else it is the one that the kit
in the directory LINERATE_CLUSTER_LAB brings up: build.sh, and cluster.sh with up, env, load and down. Needs kubectl and jq.

Environment: LINERATE_BIN            directory of linerate, linerate-dataplane and hugepage-check (default: target/debug)
             LINERATE_IMAGE_ARCHIVE  image that scripts/containers.sh has built from them (default: another is built)
             LINERATE_HOSTPLANE_ARCHIVE  the same of the image of streams
             LINERATE_IMAGES_BUILT  file to wait for before they are looked for, which somebody else makes (default: none)

Exit codes: 0 all passed or could not run, 1 a check failed, 2 wrong usage, 130 interrupted.
END_OF_USAGE
}
usage_error() { printf '%s\n' "error: $*; see scripts/cluster.sh --help" >&2; exit 2; }

case ${1:-} in
    test) shift && run_suite "$@" ;;
    -h | --help | help) usage ;;
    '') usage >&2 && exit 2 ;;
    *) usage_error "there is no command '$1'" ;;
esac
