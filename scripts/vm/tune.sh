#!/usr/bin/env bash
# Where packets are processed follows what `tune` sets, and everything is as before whatever becomes of it. One VF sends to the other,
# through the NIC; the CPUs' own counters say where interrupts and softirqs were.
set -euo pipefail
# shellcheck source=scripts/vm/checks.sh
. "$VM_SCRIPTS/checks.sh"
# shellcheck source=scripts/vm/vfs.sh
. "$VM_SCRIPTS/vfs.sh"

export LINERATE_TOKEN=a-token-of-the-virtual-machine
PACKETS=1500
OUT="$VM_RESULTS/tune"

modprobe -a veth
read -r first second <<<"$VM_VFS"
sender=$(interface "$first") receiver=$(interface "$second")
pf=$(interface "$(basename "$DEVICES"/../drivers/igb/0000:*)")
ip netns add far
ip link set "$sender" netns far
ip -n far address add 10.9.0.1/24 dev "$sender"
ip -n far link set "$sender" up
ip address add 10.9.0.2/24 dev "$receiver"
ip link set "$receiver" up
until_true "the VFs reach each other" ip netns exec far ping -q -c 1 -W 1 10.9.0.2 >/dev/null
note "sends $sender, receives $receiver; the NIC itself is $pf"

# Answers interrupt CPU 1, whatever is tried with the requests.
for number in "$DEVICES/$first"/msi_irqs/*; do echo 1 >"/proc/irq/$(basename "$number")/smp_affinity_list"; done

# state: every setting that is tried here, from the kernel's files and ethtool.
state() {
    grep -H . /sys/class/net/"$receiver"/queues/rx-*/rps_* /sys/class/net/"$pf"/queues/*/{rps,xps}_cpus /proc/irq/[0-9]*/smp_affinity_list \
        /proc/sys/net/core/rps_sock_flow_entries 2>/dev/null || true
    ethtool -l "$pf"
    ethtool -g "$pf"
    ethtool -x "$pf"
    ethtool -c "$pf" | grep usecs:
}
state >"$OUT.before"
# as_before WHEN
as_before() {
    state >"$OUT.after"
    if diff "$OUT.before" "$OUT.after" >"$OUT.diff"; then pass "all is as before $1"; else fail "all is as before $1" "$(head -c 800 "$OUT.diff")"; fi
}
tune() { linerate-hostplane tune "$@"; }

tune show --interface "$receiver" --json >"$OUT-show.json"
note "$(tune show --interface "$receiver" | tr '\n' ';' | head -c 900)"
json "the interrupt of the receiving queue is known" "$OUT-show.json" \
    '.queues | map(select(.direction == "rx")) | length >= 1 and all(.irq != null and .action != null and .effective != null)'
irq=$(value "$OUT-show.json" '[.queues[] | select(.direction == "rx")][0].irq')

# What is watched: packets of one flow, while the settings are in force.
cat >"$OUT-load.sh" <<END
linerate-hostplane monitor --interface $receiver --interval 100ms --json >"$OUT-samples.json" &
monitor=\$!
sleep 0.5
ip netns exec far ping -q -f -c $PACKETS -s 100 10.9.0.2 >"$OUT-ping.txt"
sleep 1.2
kill -INT \$monitor
wait \$monitor
END
# load NAME OPTIONS…: sets `figures`: per CPU the packets that it processed, and the interrupts of the queue.
load() {
    local name=$1 status=0
    shift
    tune apply --interface "$receiver" --allow-host-changes "$@" -- bash "$OUT-load.sh" 2>"$OUT-$name.err" || status=$?
    equal "$name: ends well" 0 "$status"
    [ "$status" -eq 0 ] || sed 's/^/     /' "$OUT-$name.err"
    figures="$OUT-$name.json"
    jq -s -c "map(select(.node)) | {
        processed: [.[0].node.cpus[].cpu as \$cpu | [.[].node.cpus[] | select(.cpu == \$cpu).softnet_processed] | add],
        net_rx: [.[0].node.cpus[].cpu as \$cpu | [.[].node.cpus[] | select(.cpu == \$cpu).net_rx] | add],
        irq: [(\"0\", \"1\") as \$cpu | [.[].interrupts.list[]? | select(.irq == $irq).cpus[\$cpu] // 0] | add]
    }" "$OUT-samples.json" >"$figures"
    note "$name: $(cat "$figures")"
    as_before "after $name"
}
load "irq-0" --irq-cpus 0 --rps off
json "irq-0: the queue interrupts CPU 0 alone" "$figures" '.irq | .[0] > 0 and .[1] == 0'
json "irq-0: CPU 0 processes the requests, CPU 1 the answers" "$figures" ".processed[0] >= $PACKETS and .processed[1] >= $PACKETS"
load "irq-1" --irq-cpus 1 --rps off
json "irq-1: the queue interrupts CPU 1 alone" "$figures" '.irq | .[1] > 0 and .[0] == 0'
json "irq-1: CPU 1 processes both" "$figures" ".processed[1] >= 2 * $PACKETS and .processed[0] < $PACKETS / 2"
load "rps-1" --irq-cpus 0 --rps 1 --rfs 1024
json "rps-1: the interrupts stay on CPU 0" "$figures" '.irq | .[0] > 0 and .[1] == 0'
json "rps-1: CPU 1 processes what CPU 0 received" "$figures" ".processed[1] >= 2 * $PACKETS and .processed[0] < $PACKETS / 2 and .net_rx[0] >= .irq[0] / 2"

# The NIC itself: queues, table, rings, and every way out.
tune show --interface "$pf" --json >"$OUT-pf.json"
note "$(value "$OUT-pf.json" '{channels, rings, rss, coalesce} | tostring')"
if [ "$(value "$OUT-pf.json" '[.queues[] | select(.direction == "rx")] | length')" -lt 2 ]; then
    not_run "several queues" "$pf has one"
else
    status=0
    tune apply --interface "$pf" --rss off --irq-cpus 1 --xps on --rings rx=512 --coalesce rx-usecs=100 --allow-host-changes --json \
        -- bash -c "ethtool -x $pf; ethtool -g $pf" >"$OUT-apply.json" 2>"$OUT-apply.err" || status=$?
    equal "several settings at once: ends well" 0 "$status"
    [ "$status" -eq 0 ] || sed 's/^/     /' "$OUT-apply.err"
    head -1 "$OUT-apply.json" >"$OUT-applied.json"
    json "all of them took" "$OUT-applied.json" '.applied | length >= 5 and all(.took)'
    as_before "after several settings"
fi
begin() {
    linerate-hostplane tune apply --interface "$pf" --channels 1 --rings 512 --rfs 2048 --allow-host-changes 2>"$OUT-begin.err" &
    tuner=$!
    until_true "settings are in force" grep -q 'in force' "$OUT-begin.err"
}
begin
equal "one channel is in force" 1 "$(ethtool -l "$pf" | awk '/^Combined/ { n = $2 } END { print n }')"
kill -TERM "$tuner"
wait "$tuner" || true
as_before "after SIGTERM"
begin
kill -KILL "$tuner"
wait "$tuner" 2>/dev/null || true
equal "one channel is left behind by a kill" 1 "$(ethtool -l "$pf" | awk '/^Combined/ { n = $2 } END { print n }')"
tune apply --interface "$receiver" --rps 0 --allow-host-changes -- true 2>"$OUT-next.err"
note "$(head -1 "$OUT-next.err")"
as_before "after the next start, of another interface"
status=0
tune apply --interface "$pf" --rps on --allow-host-changes -- false 2>/dev/null || status=$?
equal "a command's exit code is handed on" 1 "$status"
as_before "after a command that fails"
equal "no journal is left" "" "$(ls /run/linerate/tune)"
end_scenario
