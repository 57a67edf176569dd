//! Ethernet ports.

use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::sync::Arc;

use linerate_dpdk_sys as sys;
use linerate_traffic::mac::MacAddr;
use linerate_wire::buffers::{BufferUse, CACHE_BUFFERS, PoolDemand};
use linerate_wire::counters::PortCounters;
pub use linerate_wire::port::DEFAULT_MTU;
use linerate_wire::port::{FRAME_OVER_MTU_BYTES, KernelInterface, PortInfo};

use super::eal::Eal;
use super::error::{DpdkError, Errno, check};
use super::id::PortId;
use super::pool::Pool;
use super::queue::{RxQueue, TxQueue};
use super::started::Started;
use crate::host::kernel_driver;

/// Configuration of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortConfig {
    /// Receive queues: at least 1.
    pub rx_queues: u16,
    /// Transmit queues: at least 1.
    pub tx_queues: u16,
    /// Worker lcores that will serve the queues.
    pub workers: u32,
    /// Descriptors per receive queue; the port may round.
    pub rx_descriptors: u16,
    /// Descriptors per transmit queue; the port may round.
    pub tx_descriptors: u16,
    /// Largest payload of a frame in bytes.
    pub mtu: u16,
    /// True when received frames are forwarded. A transmit queue then gets buffers of several pools, and the
    /// port must free them one by one.
    pub forwards: bool,
    /// True when the port sends frames of its own, such as answers to ARP, besides test traffic. They have
    /// their own pool, so the port must free buffers one by one.
    pub answers: bool,
    /// Multicast groups whose frames the port must pass: neighbour discovery uses some. Empty: none.
    pub groups: Vec<MacAddr>,
}
/// ethdev's description of a port, without changing the port.
///
/// # Errors
/// When the port does not exist.
pub fn describe(_eal: &Eal, port: PortId) -> Result<PortInfo, DpdkError> {
    let mut info = MaybeUninit::uninit();
    // SAFETY: EAL is up; the shim fills the structure or returns an error.
    let code = unsafe { sys::lr_port_get_info(port.0, info.as_mut_ptr()) };
    check(code, || format!("port {port} cannot be described"))?;
    // SAFETY: the shim succeeded, so it has filled the structure.
    let info: sys::lr_port_info = unsafe { info.assume_init() };
    let device = text(&info.device);
    let interface = (info.interface_mtu > 0)
        .then(|| KernelInterface { name: text(&info.interface), mtu: info.interface_mtu });
    Ok(PortInfo {
        port: port.0,
        kernel_driver: kernel_driver(&device),
        device,
        driver: text(&info.driver),
        mac: MacAddr(info.mac),
        numa_node: u32::try_from(info.numa_node).ok(),
        link_bps: (info.link_bps > 0).then_some(info.link_bps),
        link_up: info.link_up != 0,
        max_rx_queues: info.max_rx_queues,
        max_tx_queues: info.max_tx_queues,
        mtu: in_force(info.mtu, interface.as_ref()),
        rx_descriptors: (info.rx_desc_min, info.rx_desc_max),
        tx_descriptors: (info.tx_desc_min, info.tx_desc_max),
        firmware: Some(text(&info.firmware)).filter(|version| !version.is_empty()),
        max_mtu: (info.max_mtu > 0).then_some(info.max_mtu),
        interface,
    })
}

/// The MTU in force: drivers that send through a kernel interface ignore its MTU, and the kernel drops larger
/// frames.
fn in_force(port_mtu: u16, interface: Option<&KernelInterface>) -> u16 {
    let interface_mtu = interface.and_then(|interface| u16::try_from(interface.mtu).ok());
    interface_mtu.map_or(port_mtu, |mtu| mtu.min(port_mtu))
}

/// Makes a started port pass frames to these groups. Untrusted VFs join single groups, but may not pass all of
/// them; ports without a list of groups may.
fn join(port: u16, groups: &[MacAddr]) {
    let bytes: Vec<u8> = groups.iter().flat_map(|group| group.0).collect();
    // SAFETY: the port is started, and there are as many addresses of 6 bytes as it is told.
    if unsafe { sys::lr_port_join(port, bytes.as_ptr(), groups.len() as u32) } == 0 {
        return;
    }
    // SAFETY: the port is started.
    let code = unsafe { sys::lr_port_take_multicast(port) };
    if code != 0 {
        tracing::warn!(
            port,
            code,
            "the port does not pass multicast frames: it may not receive neighbour solicitations"
        );
    }
}

fn text(chars: &[c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().map(|c| *c as u8).collect();
    CStr::from_bytes_until_nul(&bytes)
        .map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned())
}

/// Explanation for an MTU that exceeds the driver's largest.
fn mtu_problem(driver: &str, mtu: u16, most: u16) -> String {
    format!(
        "an MTU of {mtu} bytes is too large for {driver}, whose largest frame has {} bytes, check sequence included (MTU {most}); start with \
         --mtu {most} at most (spec.agents.mtu)",
        u32::from(most) + FRAME_OVER_MTU_BYTES
    )
}

/// Explanation and errno for a port of this driver that does not start.
fn start_problem(driver: &str, code: i32) -> (&'static str, i32) {
    match (driver, -code) {
        // The driver returns this error for every reason; it concerns a client, since a server's start cannot
        // fail.
        ("net_memif", libc::EPERM) => (
            "cannot be started: no memif server listens on its socket, or not for this user; start the peer first, as the same user",
            -libc::ENOTCONN,
        ),
        // DPDK sets promiscuous mode on or off at every start, and fails without the permission.
        (_, libc::EPERM) => (
            "cannot be started without the capability NET_ADMIN, with which its driver sets the interface's flags",
            code,
        ),
        _ => ("cannot be started", code),
    }
}

/// A started port, for statistics; its queues are separate handles.
#[derive(Debug, Clone)]
pub struct Port {
    started: Arc<Started>,
    spread: Spread,
}

/// Fields by which the port spreads frames over its receive queues (RSS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spread {
    /// Addresses.
    pub ip: bool,
    /// Addresses and UDP ports.
    pub udp: bool,
    /// Addresses and TCP ports.
    pub tcp: bool,
}

/// A started port and the only handles of its queues.
#[derive(Debug)]
pub struct OpenPort {
    /// Statistics and link.
    pub port: Port,
    /// Receive queues, in order.
    pub rx: Vec<RxQueue>,
    /// Transmit queues, in order.
    pub tx: Vec<TxQueue>,
}

impl Port {
    /// Configures the port, gives it queues and pools, and starts it.
    ///
    /// # Errors
    /// Names the step and the port's reason.
    pub fn open(eal: &Eal, id: PortId, config: &PortConfig) -> Result<OpenPort, DpdkError> {
        let &PortConfig { mut rx_queues, mut tx_queues, mtu, forwards, answers, ref groups, .. } = config;
        let mixes_pools = forwards || answers;
        let PortInfo { device: name, driver, max_mtu, interface, .. } = describe(eal, id)?;
        let reads_file = driver == "net_pcap" && interface.is_none();
        let buffer_use = BufferUse::of_driver(&driver);
        if buffer_use == BufferUse::FillsRings {
            // Its queues come in pairs; an unserved queue does no harm.
            rx_queues = rx_queues.max(tx_queues);
            tx_queues = rx_queues;
        }
        let failed = |step: &str| format!("port {id} ({name}): {step}");
        if let Some(most) = max_mtu.filter(|most| *most < mtu) {
            return Err(DpdkError {
                what: failed(&mtu_problem(&driver, mtu, most)),
                errno: Errno(libc::EINVAL),
            });
        }
        let port = id.0;
        // A standard MTU is every port's default; some ports refuse to set it.
        let asked_mtu = if mtu == DEFAULT_MTU { 0 } else { mtu };
        let mut setup = MaybeUninit::uninit();
        // SAFETY: EAL is up and the port exists; the shim checks the rest, and returns an error or has filled
        // the structure.
        let code = unsafe {
            sys::lr_port_configure(port, rx_queues, tx_queues, asked_mtu, !mixes_pools, setup.as_mut_ptr())
        };
        check(code, || {
            failed(&format!("cannot have {rx_queues} RX and {tx_queues} TX queues at MTU {mtu}"))
        })?;
        // SAFETY: the shim succeeded.
        let setup: sys::lr_port_setup = unsafe { setup.assume_init() };
        let spread = Spread { ip: setup.rss_ip != 0, udp: setup.rss_udp != 0, tcp: setup.rss_tcp != 0 };
        tracing::debug!(port, ?spread, rx_checksums = setup.rx_checksums != 0, "configured");
        let (mut rx_descriptors, mut tx_descriptors) = (config.rx_descriptors, config.tx_descriptors);
        // SAFETY: both pointers are to local integers.
        let code = unsafe { sys::lr_port_adjust_descriptors(port, &mut rx_descriptors, &mut tx_descriptors) };
        check(code, || {
            failed(&format!("cannot have {rx_descriptors} RX and {tx_descriptors} TX descriptors"))
        })?;

        let numa_node = describe(eal, id)?.numa_node.map_or(-1, |node| node as i32);
        let demand = PoolDemand {
            buffer_use,
            rx_queues: u32::from(rx_queues),
            tx_queues: u32::from(tx_queues),
            rx_descriptors: u32::from(rx_descriptors),
            tx_descriptors: u32::from(tx_descriptors),
            workers: config.workers,
            forwards,
            answers,
            mtu: u32::from(mtu),
        };
        tracing::debug!(port, ?demand, megabytes = demand.bytes() >> 20, "packet buffers");
        let pool = |name: String, buffers| {
            Pool::new(eal, &name, (buffers, CACHE_BUFFERS), demand.data_bytes(), numa_node).map(Arc::new)
        };
        let rx_pools: Vec<_> = (0..rx_queues)
            .map(|queue| pool(format!("rx_{port}_{queue}"), demand.rx_buffers()))
            .collect::<Result<_, _>>()?;
        let tx_pools: Vec<_> = (0..tx_queues)
            .map(|queue| pool(format!("tx_{port}_{queue}"), demand.tx_buffers()))
            .collect::<Result<_, _>>()?;
        let own = match demand.own_buffers() {
            0 => None,
            // A cache would keep buffers on lcores that free them but do not send.
            buffers => {
                let name = format!("own_{port}");
                Some(Arc::new(Pool::new(eal, &name, (buffers, 0), demand.own_data_bytes(), numa_node)?))
            }
        };
        let pools = rx_pools.iter().chain(&tx_pools).chain(&own).cloned().collect();
        // From here on, dropping closes the port.
        let started = Arc::new(Started {
            id,
            mtu,
            buffer_use,
            reads_file,
            mixes_pools,
            own,
            pools,
            _eal: eal.handle(),
        });

        for (queue, pool) in (0..).zip(&rx_pools) {
            // SAFETY: the queue is among those configured; the pool is owned by Started and outlives the
            // port.
            let code = unsafe { sys::lr_rx_queue_setup(port, queue, rx_descriptors, pool.as_ptr()) };
            check(code, || failed(&format!("RX queue {queue} cannot be set up")))?;
        }
        for queue in 0..tx_queues {
            // SAFETY: the queue is among those configured.
            let code = unsafe { sys::lr_tx_queue_setup(port, queue, tx_descriptors, !mixes_pools) };
            check(code, || failed(&format!("TX queue {queue} cannot be set up")))?;
        }
        // SAFETY: all queues are set up.
        let code = unsafe { sys::lr_port_start(port) };
        let (problem, code) = start_problem(&driver, code);
        check(code, || failed(problem))?;
        if !groups.is_empty() {
            join(port, groups);
        }
        Ok(OpenPort {
            rx: (0..).zip(rx_pools).map(|(queue, pool)| RxQueue::new(started.clone(), queue, pool)).collect(),
            tx: (0..).zip(tx_pools).map(|(queue, pool)| TxQueue::new(started.clone(), queue, pool)).collect(),
            port: Port { started, spread },
        })
    }

    /// Fields by which frames are spread over the receive queues; none for a single queue, or for a port
    /// without RSS.
    pub fn spread(&self) -> Spread {
        self.spread
    }

    /// The pools of its buffers; they may outlive the port.
    pub fn pools(&self) -> Vec<Arc<Pool>> {
        self.started.pools.clone()
    }

    /// False when the driver leaves buffers in the kernel's rings on closing.
    pub fn returns_buffers(&self) -> bool {
        self.started.buffer_use != BufferUse::FillsRings
    }

    /// True when the link is up now, as reported by driver and kernel.
    pub fn link_up(&self) -> bool {
        // SAFETY: the port is open; the shim only reads.
        unsafe { sys::lr_port_link_up(self.started.id.0) == 1 }
    }

    /// True when the kernel no longer has the interface behind the port, in the network namespace of this process.
    /// The driver may report the link as up all the same.
    pub fn lacks_interface(&self) -> bool {
        // SAFETY: the port is open; the shim only reads.
        unsafe { sys::lr_port_lacks_interface(self.started.id.0) == 1 }
    }

    /// True when the port reads its frames from a file, in which all are present from the start: none is an
    /// earlier trial's.
    pub fn reads_file(&self) -> bool {
        self.started.reads_file
    }

    /// ethdev's basic statistics.
    ///
    /// # Errors
    /// When the driver has none.
    pub fn counters(&self) -> Result<PortCounters, DpdkError> {
        let id = self.started.id;
        let mut stats = MaybeUninit::uninit();
        // SAFETY: the port is open; the shim fills the structure or returns an error.
        let code = unsafe { sys::lr_port_get_stats(id.0, stats.as_mut_ptr()) };
        check(code, || format!("port {id} gives no statistics"))?;
        // SAFETY: the shim succeeded.
        let stats: sys::lr_port_stats = unsafe { stats.assume_init() };
        Ok(PortCounters {
            rx_packets: stats.rx_packets,
            tx_packets: stats.tx_packets,
            rx_bytes: stats.rx_bytes,
            tx_bytes: stats.tx_bytes,
            rx_missed: stats.rx_missed,
            rx_errors: stats.rx_errors,
            tx_errors: stats.tx_errors,
            rx_nombuf: stats.rx_nombuf,
        })
    }

    /// ethdev's extended statistics, by name; empty when the driver has none.
    pub fn extended_counters(&self) -> Vec<(String, u64)> {
        let id = self.started.id.0;
        // SAFETY: with no room the shim only counts.
        let count = unsafe { sys::lr_port_get_xstats(id, std::ptr::null_mut(), 0) };
        let Ok(count @ 1..) = usize::try_from(count) else { return Vec::new() };
        let mut stats = Vec::<sys::lr_xstat>::with_capacity(count);
        // SAFETY: there is room for `count` entries; the shim fills at most this number and returns how many
        // it has.
        let filled = unsafe { sys::lr_port_get_xstats(id, stats.as_mut_ptr(), count as u32) };
        // SAFETY: the first `filled` entries, at most `count`, were written.
        unsafe { stats.set_len(usize::try_from(filled).unwrap_or(0).min(count)) };
        stats.iter().map(|stat| (text(&stat.name), stat.value)).collect()
    }
}
