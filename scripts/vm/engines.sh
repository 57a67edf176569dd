#!/usr/bin/env bash
# Every engine beside trafgen and testpmd, with the two VFs as devices: scripts/bench_engines.sh --vm runs this in the guest.
set -euo pipefail

modprobe -a veth bridge
# These programs were bound here for all scenarios.
LINERATE_BIN=/run/bin exec "$VM_SCRIPTS/../bench_engines.sh" --devices "${VM_VFS/ /,}" "$@"
