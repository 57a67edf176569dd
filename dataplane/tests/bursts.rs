//! Who owns a packet buffer: the burst, the port, or the pool, and never two of them. On buffers of real ports; EAL starts once per process, so this is one test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use linerate_dataplane::dpdk::burst::{MAX_BURST, RxBurst};
use linerate_dataplane::dpdk::eal::Eal;
use linerate_dataplane::dpdk::id::PortId;
use linerate_dataplane::dpdk::port::{DEFAULT_MTU, OpenPort, Port, PortConfig};
use linerate_measure::loops::queue::{ForwardQueue, ReceiveQueue, TurnableBurst};

#[test]
fn a_buffer_has_one_owner_whatever_happens() {
    let options = "test --no-huge -m 64 --no-pci --no-shconf --no-telemetry --lcores 0@0,1@0 --vdev net_null0 --vdev net_null1";
    let options: Vec<String> = options.split(' ').map(str::to_owned).collect();
    let eal = Eal::start(&options).unwrap();
    let config = PortConfig {
        rx_queues: 1,
        tx_queues: 1,
        workers: 1,
        rx_descriptors: 256,
        tx_descriptors: 256,
        mtu: DEFAULT_MTU,
        answers: false,
        groups: Vec::new(),
        forwards: true,
    };
    let open = |port| Port::open(&eal, PortId(port), &config).unwrap();
    let (OpenPort { port, mut rx, mut tx }, mut other) = (open(0), open(1));
    let pool = port.pools().remove(0);
    let all = pool.size();

    let mut burst = RxBurst::default();
    assert_eq!(rx[0].receive(&mut burst), MAX_BURST);
    assert_eq!(pool.available(), all - MAX_BURST as u32);
    let mut seen = 0;
    burst.retain(|frame| {
        frame[0] = seen;
        seen += 1;
        seen % 2 == 0
    });
    assert_eq!((burst.len(), pool.available()), (MAX_BURST / 2, all - MAX_BURST as u32 / 2));

    // Every buffer is still there once: those seen, the one that panicked, and those to come.
    assert_eq!(rx[0].receive(&mut burst), MAX_BURST);
    let mut seen = 0;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        burst.retain(|_| {
            seen += 1;
            assert!(seen < 20, "on purpose");
            seen % 2 == 0
        });
    }));
    assert!(panicked.is_err());
    assert_eq!((burst.len(), pool.available()), (MAX_BURST, all - MAX_BURST as u32));
    burst.retain(|_| false);
    assert_eq!((burst.len(), pool.available()), (0, all), "each came back once");

    // Another port would hold buffers of a pool that goes with this port.
    assert_eq!(rx[0].receive(&mut burst), MAX_BURST);
    assert_eq!((other.tx[0].forward(&mut burst), burst.len()), (0, MAX_BURST));
    assert_eq!((tx[0].forward(&mut burst), burst.len()), (MAX_BURST, 0));
    tx[0].reclaim();
    assert_eq!(pool.available(), all);
    drop((port, rx, tx, other, burst));
    assert_eq!(pool.available(), all);
}
