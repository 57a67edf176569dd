//! Any bytes as what a kernel counts: an error, or values whose differences to themselves are none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linerate_netlink::message::{attributes, messages};
use linerate_netlink::route;
use linerate_observe::netlink::{link, queue_stats, queues};
use linerate_observe::procfs::Content;
use linerate_observe::procfs::interfaces::Interfaces;
use linerate_observe::procfs::interrupts::{Table, per_cpu_count, totals};
use linerate_observe::procfs::protocols::{Netstat, Snmp, Snmp6};
use linerate_observe::procfs::softirqs::{KINDS, Softirqs};
use linerate_observe::procfs::softnet::Softnet;
use linerate_observe::procfs::stat::Stat;
use linerate_observe::queues::Plan;

/// Read once, and again after itself.
fn twice<T: Content>(bytes: &[u8]) -> Option<(T, T)> {
    let mut first = T::default();
    first.parse(bytes, None).ok()?;
    let mut second = first.clone();
    second.parse(bytes, Some(&first)).expect("what was read once is read again");
    Some((first, second))
}

fuzz_target!(|bytes: &[u8]| {
    if let Some((first, second)) = twice::<Stat>(bytes) {
        assert_eq!(first, second);
    }
    if let Some((first, second)) = twice::<Softirqs>(bytes) {
        for kind in 0..KINDS.len() {
            let _ = second.all_since(&first, kind);
        }
    }
    if let Some((first, second)) = twice::<Softnet>(bytes) {
        let passed = second.since(&first).expect("the same rows");
        assert_eq!(passed.totals(), (0, 0, 0));
    }
    if let Some((first, second)) = twice::<Interfaces>(bytes) {
        assert_eq!(first, second);
    }
    let _ = (twice::<Snmp>(bytes), twice::<Netstat>(bytes), twice::<Snmp6>(bytes));
    if let Ok(table) = Table::parse(bytes) {
        assert!(table.irqs.iter().all(|irq| irq.counts.len() == table.cpus.len()));
    }
    let _ = (per_cpu_count(bytes, &mut Vec::new()), totals(bytes));
    for body in messages(bytes).map(|message| message.body).chain([bytes]) {
        let _ = (link::parse(body), queue_stats::parse(body), queues::queue(body), queues::napi(body));
        let _ = (route::parse(body), attributes(body, 0).count());
    }
    // Names of a driver, a line each, with their places as values.
    let names: Vec<String> = String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect();
    let values: Vec<u64> = (0..names.len() as u64).collect();
    let plan = Plan::new(&names, &values);
    let (mut queues, mut others) = (Vec::new(), Vec::new());
    plan.apply(&values, &mut queues, &mut others);
    assert_eq!((plan.len(), others.len()), (names.len(), plan.others().len()));
    assert!(queues.is_sorted_by_key(|queue| (queue.direction, queue.queue)));
});
