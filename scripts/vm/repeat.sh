#!/usr/bin/env bash
# In the guest: repeat.sh PAIRS DOCUMENT: runs of DOCUMENT one after the other, each pair compared.
set -euo pipefail
modprobe -a veth bridge ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_sh nf_conntrack nf_tables nft_chain_nat nft_masq
compared=0
for run in $(seq $((2 * $1))); do
    linerate run "$2" --results "$VM_RESULTS/$run" --quiet >"$VM_RESULTS/$run.log" 2>&1 || { tail "$VM_RESULTS/$run.log" && exit 1; }
    if [ $((run % 2)) -eq 0 ]; then
        echo "runs $((run - 1)) and $run:"
        linerate results compare "$VM_RESULTS/$((run - 1))"/* "$VM_RESULTS/$run"/* >"$VM_RESULTS/compared" 2>&1 || compared=1
        cat "$VM_RESULTS/compared"
        # A second run that is better is none that repeats the first.
        grep -qE '[:,] 0 worse, 0 better,' "$VM_RESULTS/compared" || compared=1
    fi
done
exit "$compared"
