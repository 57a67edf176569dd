//! Where packets were lost: each counter on the way explains at most what the ones before it left. Pure.

use linerate_experiment::engines::EngineName;
use linerate_wire::host_report::{HostReport, InterfaceReport};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A place on the way from the sender to the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LossPlace {
    /// The sender's port: its driver took packets and failed to send them.
    SenderPort,
    /// Between the sender and its interface: the queueing discipline, or the kernel's path to it.
    Qdisc,
    /// The sender's interface.
    SenderInterface,
    /// Queues of the node's CPUs for received packets.
    Softnet,
    /// The receiver's interface.
    ReceiverInterface,
    /// The ring of the receiver's packet socket.
    PacketRing,
    /// The receive ring of the port.
    PortRing,
    /// Receive buffers of sockets.
    SocketBuffer,
    /// No counter tells.
    Unknown,
}

impl LossPlace {
    /// The place in words.
    pub fn words(self) -> &'static str {
        match self {
            LossPlace::SenderPort => "the sender's port",
            LossPlace::Qdisc => "before the sender's interface",
            LossPlace::SenderInterface => "the sender's interface",
            LossPlace::Softnet => "softnet queues",
            LossPlace::ReceiverInterface => "the receiver's interface",
            LossPlace::PacketRing => "the ring of the packet socket",
            LossPlace::PortRing => "the port's ring",
            LossPlace::SocketBuffer => "the socket's receive buffer",
            LossPlace::Unknown => "a place without counter",
        }
    }
}

/// Packets that were lost at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LossPart {
    /// The place.
    pub place: LossPlace,
    /// Packets. The sum over all places is the number of packets lost.
    pub packets: u64,
    /// What was counted there.
    pub evidence: String,
}

/// What was counted on the way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted<'a> {
    pub(super) engine: EngineName,
    pub(super) sent: u64,
    pub(super) lost: u64,
    pub(super) tx: Option<&'a HostReport>,
    pub(super) rx: Option<&'a HostReport>,
    /// Packets that the sender's port lost, at most.
    pub(super) port_failed: u64,
    pub(super) port_missed: Option<u64>,
    pub(super) socket_drops: Option<u64>,
}

impl Counted<'_> {
    /// The places in the order of the way.
    pub(super) fn places(&self) -> Vec<LossPart> {
        let mut left = self.lost;
        let mut parts = Vec::new();
        let mut take = |place: LossPlace, counted: u64, evidence: String| {
            let packets = counted.min(left);
            if packets > 0 {
                left -= packets;
                parts.push(LossPart { place, packets, evidence });
            }
        };
        take(
            LossPlace::SenderPort,
            self.port_failed,
            format!("the sending port failed to send {}", self.port_failed),
        );
        if self.engine.is_of_kernel() {
            self.before_the_receiver(&mut take);
        }
        if let Some(missed) = self.port_missed {
            take(LossPlace::PortRing, missed, format!("the port missed {missed}"));
        }
        self.of_sockets(&mut take);
        self.of_packet_ring(&mut take);
        let of_memory = "no counter; with memif, only its ring is on the way";
        match self.engine {
            EngineName::Memif => take(LossPlace::PortRing, u64::MAX, of_memory.to_owned()),
            _ => take(LossPlace::Unknown, u64::MAX, "no counter on the way grew by as much".to_owned()),
        }
        parts
    }

    fn before_the_receiver(&self, take: &mut impl FnMut(LossPlace, u64, String)) {
        if let Some(interface) = self.tx.and_then(busiest) {
            let InterfaceReport { interface, tx_packets, tx_dropped, .. } = interface;
            let taken = self.sent.saturating_sub(self.port_failed);
            let missing = taken.saturating_sub(tx_packets.saturating_add(*tx_dropped));
            let evidence = format!("{interface} sent {tx_packets} and dropped {tx_dropped} of {taken}");
            take(LossPlace::Qdisc, missing, evidence);
            take(LossPlace::SenderInterface, *tx_dropped, format!("{interface} dropped {tx_dropped}"));
        }
        // A veth whose peer's backlog is full counts the packet as dropped at the sender's interface, too.
        let at_sender = self.tx.and_then(busiest).map_or(0, |interface| interface.tx_dropped);
        // The count is the node's, so either agent has it.
        let dropped = [self.tx, self.rx].into_iter().flatten().find_map(|host| host.node.softnet_dropped);
        if let Some(dropped) = dropped {
            let evidence = match at_sender {
                0 => format!("the node's CPUs dropped {dropped}"),
                _ => format!("the node's CPUs dropped {dropped}, the sender's interface {at_sender}"),
            };
            take(LossPlace::Softnet, dropped.saturating_sub(at_sender), evidence);
        }
        if let Some(interface) = self.rx.and_then(busiest) {
            let InterfaceReport { interface, rx_dropped, .. } = interface;
            take(LossPlace::ReceiverInterface, *rx_dropped, format!("{interface} dropped {rx_dropped}"));
        }
    }

    fn of_sockets(&self, take: &mut impl FnMut(LossPlace, u64, String)) {
        if self.engine != EngineName::Sockets {
            return;
        }
        let of_protocol = |name: &str| self.rx.and_then(|host| host.namespace.protocols.get(name).copied());
        let errors = of_protocol("UdpRcvbufErrors")
            .map(|errors| errors.saturating_add(of_protocol("Udp6RcvbufErrors").unwrap_or(0)));
        let said = |count: Option<u64>| count.map_or("not known".to_owned(), |count| count.to_string());
        let evidence = format!(
            "sockets counted {} drops, RcvbufErrors grew by {}",
            said(self.socket_drops),
            said(errors)
        );
        take(LossPlace::SocketBuffer, self.socket_drops.max(errors).unwrap_or(0), evidence);
    }

    /// The driver does not tell how many packets the kernel found no room for. Those that the interface received and
    /// the port did not were lost between them, where there is only the ring.
    fn of_packet_ring(&self, take: &mut impl FnMut(LossPlace, u64, String)) {
        if self.engine != EngineName::AfPacket {
            return;
        }
        if let Some(interface) = self.rx.and_then(busiest) {
            let InterfaceReport { interface, rx_packets, .. } = interface;
            let received = self.sent - self.lost.min(self.sent);
            let evidence = format!("{interface} received {rx_packets}, the port {received}");
            take(LossPlace::PacketRing, rx_packets.saturating_sub(received), evidence);
        }
    }
}

/// The interface with most packets, which carried the trial.
fn busiest(host: &HostReport) -> Option<&InterfaceReport> {
    let packets = |one: &&InterfaceReport| one.rx_packets.saturating_add(one.tx_packets);
    host.namespace.interfaces.iter().max_by_key(packets)
}
