#!/usr/bin/env bash
# Runs scenarios one after the other in one guest; each has namespaces of its own, which are removed behind it.
set -euo pipefail

status=0
for scenario in "$@"; do
    ended=0
    bash "$VM_SCRIPTS/$scenario.sh" || ended=$?
    [ "$ended" -eq 0 ] || status=$ended
    [ "$ended" -le 1 ] || echo "FAIL $scenario: ended with $ended"
    ip -all netns delete
done
exit "$status"
