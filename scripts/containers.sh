#!/usr/bin/env bash
# Builds the images and runs them as unprivileged containers and pods: what docs/containers.md says, shown.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh
# shellcheck source=scripts/checks.sh
. scripts/checks.sh
# shellcheck source=scripts/containers/engine.sh
. scripts/containers/engine.sh
# shellcheck source=scripts/containers/bases.sh
. scripts/containers/bases.sh
# shellcheck source=scripts/containers/suite.sh
. scripts/containers/suite.sh
# shellcheck source=scripts/containers/contents.sh
. scripts/containers/contents.sh
# shellcheck source=scripts/containers/security.sh
. scripts/containers/security.sh
# shellcheck source=scripts/containers/trials.sh
. scripts/containers/trials.sh
# shellcheck source=scripts/containers/pods.sh
. scripts/containers/pods.sh

usage() {
    cat <<'END_OF_USAGE'
Usage: scripts/containers.sh prepare
       scripts/containers.sh test [SCENARIO…]

prepare  installs what is missing and makes the images' base (root); `test` does so, too
test   builds the images from a base of this machine's own (debootstrap; kept in ~/.cache/linerate) and the programs in target/debug, runs the
       scenarios (default: all of them) and prints PASS, FAIL or NOT RUN for every check

Scenarios: contents    what is in the images, and what is not
           memif       two containers without any capability or network, joined by memif on a volume: sent = received + lost
           af_packet   two containers with NET_RAW and NET_ADMIN, joined by a veth: sent = received + lost; and what is said without them
           experiment  the controller's built-in experiment within one container
           pods        examples/pods under `podman kube play`

Example:
  scripts/containers.sh test memif pods

Environment: LINERATE_BIN            directory of linerate, linerate-dataplane and hugepage-check (default: target/debug)
             LINERATE_IMAGE_ARCHIVE  file to keep the image in, for scripts/cluster.sh (default: nowhere)
             LINERATE_HOSTPLANE_ARCHIVE  the same of the image of streams
             LINERATE_IMAGES_BUILT  file to make when they are there
             DEBIAN_MIRROR           (default: http://deb.debian.org/debian)

Exit codes: 0 all passed or could not run, 1 a check failed, 2 wrong usage, 130 interrupted.
END_OF_USAGE
}
usage_error() { printf '%s\n' "error: $*; see scripts/containers.sh --help" >&2; exit 2; }

case ${1:-} in
    prepare) prepare ;;
    test) shift && run_suite "$@" ;;
    -h | --help | help) usage ;;
    '') usage >&2 && exit 2 ;;
    *) usage_error "there is no command '$1'" ;;
esac
