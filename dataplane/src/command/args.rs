//! Linerate's half of the command line, as written; [`super::ready`] validates it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use linerate_command::safety::SafetyArgs;
use linerate_logging::LogOptions;
use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::{FlowMode, FrameSizes, Payload, Protocol};
use linerate_traffic::rate::Rate;
use linerate_traffic::span::Span;

use super::addresses;
use crate::dpdk::port::DEFAULT_MTU;
use linerate_measure::idle::Idle;

const EXAMPLES: &str = "\
EAL's options go before `--`, as in every DPDK program. By default, packet memory leaves no files behind (--in-memory).

Examples:
  List the ports:
    linerate-dataplane -l 0-1 -a 0000:03:02.0 -- ports --json
  64-byte frames at 1 million packets per second over 10,000 flows, for 10 seconds:
    linerate-dataplane -l 0-1 -a 0000:03:02.0 -- tx --peer-mac 02:00:00:00:00:02 --flows 10000 --flow-mode sd --rate 1mpps --duration 10s
  A recording, three times over, at its own pace:
    linerate-dataplane -l 0-1 -a 0000:03:02.0 -- tx --peer-mac 02:00:00:00:00:02 --pcap traffic.pcap --loops 3
  Count received frames on three lcores, until interrupted:
    linerate-dataplane -l 0-3 -a 0000:03:02.1 -- rx
  A million flows between two ports, with the results of each flow:
    linerate-dataplane -l 0-2 -a 0000:03:02.0 -a 0000:03:02.1 -- pair --flows 1000000 --duration 10s --flows-file flows.csv
  Without hugepages or a NIC: a virtual port that loops back, on two CPUs
    linerate-dataplane --no-huge --no-pci --lcores 0@0,1@0,2@1 --vdev net_ring0 -- pair --rx-port 0 --duration 2s

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.";

/// Sends, receives and counts packets over DPDK.
#[derive(Debug, Parser)]
#[command(
    name = super::PROGRAM,
    bin_name = "linerate-dataplane [EAL options] --",
    version = version(),
    after_help = EXAMPLES,
    arg_required_else_help = true
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) log: LogOptions,
}

/// Versions of Linerate and of the DPDK in use, computed once per process.
fn version() -> &'static str {
    format!("{} ({})", env!("CARGO_PKG_VERSION"), crate::dpdk::eal::version()).leak()
}

#[derive(Debug, Clone, Subcommand)]
pub(super) enum Command {
    /// List the ports: device, driver, address, link, queues, NUMA node
    Ports(PortsArgs),
    /// Send a profile's traffic
    Tx(TxArgs),
    /// Count and analyse received frames
    Rx(RxArgs),
    /// Send on one port and receive on another, in one process
    Pair(PairArgs),
    /// Send received frames back, so that the sender can measure round-trip times
    Reflect(ReflectArgs),
    /// Run trials for a controller
    Agent(AgentArgs),
}

#[derive(Debug, Clone, Args)]
pub(super) struct PortsArgs {
    /// Print one JSON array
    #[arg(long)]
    pub(super) json: bool,
}

/// Traffic to send: field by field, or from a file.
#[derive(Debug, Clone, Args)]
pub(super) struct ProfileArgs {
    /// Profile document (YAML) instead of the options below
    #[arg(long, value_name = "FILE", conflicts_with_all = ["size", "flows", "flow_mode", "rate", "src_ip", "dst_ip", "src_port", "dst_port", "protocol", "vlan", "dscp", "ttl", "payload", "burst"])]
    pub(super) profile: Option<PathBuf>,
    /// Frame size in bytes, check sequence included: 64, 64,512,1518 (in turn), 64:7,594:4,1518:1 (weights), imix, genome:aaafg
    /// [default: the smallest that holds the headers]
    #[arg(long, value_name = "SIZE")]
    pub(super) size: Option<FrameSizes>,
    /// Number of flows [default: 1]
    #[arg(long, value_name = "N")]
    pub(super) flows: Option<u32>,
    /// Fields that differ between flows: s d sd sp dp spd sdpp sdpd (source, destination, ports) [default: s]
    #[arg(long, value_name = "MODE")]
    pub(super) flow_mode: Option<FlowMode>,
    /// Load: 50%, 1.5mpps, 1000pps, 2gbps or max [default: 100%]
    #[arg(long, value_name = "RATE")]
    pub(super) rate: Option<Rate>,
    /// First source address [default: 192.168.1.1]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) src_ip: Option<IpAddr>,
    /// First destination address [default: 192.168.2.1]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) dst_ip: Option<IpAddr>,
    /// First source port [default: 1024]
    #[arg(long, value_name = "PORT")]
    pub(super) src_port: Option<u16>,
    /// First destination port [default: 1024]
    #[arg(long, value_name = "PORT")]
    pub(super) dst_port: Option<u16>,
    /// udp or tcp [default: udp]
    #[arg(long, value_name = "PROTOCOL")]
    pub(super) protocol: Option<Protocol>,
    /// VLAN identifier
    #[arg(long, value_name = "ID")]
    pub(super) vlan: Option<u16>,
    /// Differentiated services code point [default: 0]
    #[arg(long, value_name = "N")]
    pub(super) dscp: Option<u8>,
    /// Time to live or hop limit [default: 64]
    #[arg(long, value_name = "N")]
    pub(super) ttl: Option<u8>,
    /// Payload behind the probe: zeros, increment, hex:DIGITS or random:SEED [default: zeros]
    #[arg(long, value_name = "FILL")]
    pub(super) payload: Option<Payload>,
    /// Packets per burst [default: 1]
    #[arg(long, value_name = "N")]
    pub(super) burst: Option<u32>,
}

/// Recorded frames in place of a profile.
#[derive(Debug, Clone, Args)]
pub(super) struct RecordingArgs {
    /// Send the frames of this pcap or pcapng file (also compressed by gzip or zstd), at --rate or at their own times. They carry no probes: a receiver counts them as foreign
    #[arg(long, value_name = "FILE", conflicts_with_all = ["profile", "size", "flows", "flow_mode", "src_ip", "dst_ip", "src_port", "dst_port", "protocol", "vlan", "dscp", "ttl", "payload", "burst", "round_trip"])]
    pub(super) pcap: Option<PathBuf>,
    /// Shorten longer gaps between recorded frames to this: 1s, 10ms [default: gaps are kept, and one of more than an hour is an error]
    #[arg(long, value_name = "TIME", requires = "pcap", conflicts_with = "rate")]
    pub(super) max_gap: Option<Span>,
    /// Keep the recorded Ethernet addresses
    #[arg(long, requires = "pcap")]
    pub(super) keep_macs: bool,
    /// Number of times that the file is sent; 0: until --duration, --packets or a signal [default: 1, or 0 with --duration or --packets]
    #[arg(long, value_name = "N", requires = "pcap")]
    pub(super) loops: Option<u64>,
}

/// End of sending.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct LimitArgs {
    /// End after this long: 10s, 2m, 500ms
    #[arg(long, value_name = "TIME")]
    pub(super) duration: Option<Span>,
    /// End after this many packets
    #[arg(long, value_name = "N")]
    pub(super) packets: Option<u64>,
}

/// How progress and results are shown.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct ShowArgs {
    /// Print the final report as one JSON object on the last line of standard output
    #[arg(long)]
    pub(super) json: bool,
    /// No progress lines
    #[arg(long, short)]
    pub(super) quiet: bool,
    /// Time between progress lines
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub(super) interval: Span,
}

#[derive(Debug, Clone, Args)]
pub(super) struct TxArgs {
    /// Port to send on
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(super) port: u16,
    /// Ethernet address of the receiver, or of the router on the way [default with --dst-ip or --profile: that of the next hop to the destination, which is resolved]
    #[arg(long, value_name = "MAC", required_unless_present_any = ["dst_ip", "profile"])]
    pub(super) peer_mac: Option<MacAddr>,
    /// Also count the packets that a reflector sends back: loss and delay of the round trip, by one clock. Needs two worker lcores
    #[arg(long)]
    pub(super) round_trip: bool,
    /// Write the results of each returned flow to this file, in lines of comma-separated values
    #[arg(long, value_name = "FILE", requires = "round_trip")]
    pub(super) flows_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) profile: ProfileArgs,
    #[command(flatten)]
    pub(super) recording: RecordingArgs,
    #[command(flatten)]
    pub(super) limit: LimitArgs,
    #[command(flatten)]
    pub(super) addresses: AddressArgs,
    #[command(flatten)]
    pub(super) ring: RingArgs,
    #[command(flatten)]
    pub(super) safety: SafetyArgs,
    /// Longest wait for the link
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(super) link_wait: Span,
    /// Time that the port stays open after the last packet, so that queued packets leave
    #[arg(long, value_name = "TIME", default_value = "200ms")]
    pub(super) linger: Span,
    #[command(flatten)]
    pub(super) show: ShowArgs,
}

/// Queues of a port.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct RingArgs {
    /// Descriptors per transmit queue
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub(super) txd: u16,
    /// Descriptors per receive queue
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub(super) rxd: u16,
    /// Receive queues [default: one per lcore that receives, as far as the port has them; on af_xdp all of the interface, if they are at most 8]
    #[arg(long, value_name = "N")]
    pub(super) rxq: Option<u16>,
    /// Transmit queues [default: one per lcore that sends, as far as the port has them]
    #[arg(long, value_name = "N")]
    pub(super) txq: Option<u16>,
    /// Largest payload of a frame in bytes: its size less 18
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MTU)]
    pub(super) mtu: u16,
    /// Behaviour of idle lcores: spin on CPUs of their own, yield on CPUs that they share, sleep under a CPU quota
    /// [default: chosen by lcores, CPUs and quota]
    #[arg(long, value_name = "WHAT")]
    pub(super) idle: Option<Idle>,
}

/// Addresses of a port without a kernel interface.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct AddressArgs {
    /// Address of the port, with the length of its network's prefix: 10.0.1.2/24. The port then answers ARP, neighbour discovery and ping for it;
    /// may be repeated [default: none, or on af_packet and af_xdp those of the kernel's interface]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', value_parser = addresses::with_prefix)]
    pub(super) address: Vec<IpNet>,
    /// Router for addresses outside the port's networks; once for each version of IP
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', requires = "address", value_parser = addresses::router)]
    pub(super) gateway: Vec<IpAddr>,
}

#[derive(Debug, Clone, Args)]
pub(super) struct RxArgs {
    /// Port to receive on
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(super) port: u16,
    /// Write the results of each flow to this file, by flow number, in lines of comma-separated values; only of the latest trial
    #[arg(long, value_name = "FILE")]
    pub(super) flows_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) limit: LimitArgs,
    #[command(flatten)]
    pub(super) addresses: AddressArgs,
    #[command(flatten)]
    pub(super) ring: RingArgs,
    #[command(flatten)]
    pub(super) show: ShowArgs,
}

#[derive(Debug, Clone, Args)]
pub(super) struct ReflectArgs {
    /// Port to reflect on
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(super) port: u16,
    #[command(flatten)]
    pub(super) limit: LimitArgs,
    #[command(flatten)]
    pub(super) addresses: AddressArgs,
    #[command(flatten)]
    pub(super) ring: RingArgs,
    #[command(flatten)]
    pub(super) show: ShowArgs,
}

#[derive(Debug, Clone, Args)]
pub(super) struct PairArgs {
    /// Port to send on
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(super) tx_port: u16,
    /// Port to receive on; may be the same, for a port that loops back
    #[arg(long, value_name = "PORT", default_value_t = 1)]
    pub(super) rx_port: u16,
    /// Worker lcores that send; the others receive [default: half of them]
    #[arg(long, value_name = "N", conflicts_with = "bidirectional")]
    pub(super) tx_lcores: Option<usize>,
    /// Both ports send to each other at the same time. Needs four worker lcores
    #[arg(long)]
    pub(super) bidirectional: bool,
    /// Write the results of each flow to this file, in lines of comma-separated values
    #[arg(long, value_name = "FILE")]
    pub(super) flows_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) profile: ProfileArgs,
    #[command(flatten)]
    pub(super) limit: LimitArgs,
    #[command(flatten)]
    pub(super) ring: RingArgs,
    #[command(flatten)]
    pub(super) safety: SafetyArgs,
    /// Longest wait for the links
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(super) link_wait: Span,
    #[command(flatten)]
    pub(super) show: ShowArgs,
}

#[derive(Debug, Clone, Args)]
pub(super) struct AgentArgs {
    /// Port to serve
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(super) port: u16,
    /// Loopback address to listen on; port 0 selects a free port. The address is printed as JSON on standard output
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:22022")]
    pub(super) listen: SocketAddr,
    /// File with the token that a controller must show; without it, the environment variable LINERATE_TOKEN
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// Time without a controller after which a transmitter stops; a trial may set its own
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub(super) orphan: Span,
    /// Allow trials in which the agent reflects frames; disables the port's bulk freeing of buffers
    #[arg(long)]
    pub(super) reflector: bool,
    /// Serve metrics for Prometheus at http://ADDRESS/metrics; a loopback address
    #[arg(long, value_name = "ADDRESS")]
    pub(super) metrics: Option<SocketAddr>,
    /// Use a main lcore and this many workers on the CPUs that this process may use, in place of EAL's -l or --lcores
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=126))]
    pub(super) workers: Option<u16>,
    /// With --workers: number of CPUs granted to a pod. If it may use exactly that many, each lcore gets its own [default: all]
    #[arg(long, value_name = "N", requires = "workers")]
    pub(super) granted_cpus: Option<u16>,
    /// Use the devices that a device plugin assigned (variables PCIDEVICE_*), in place of EAL's -a
    #[arg(long)]
    pub(super) assigned_devices: bool,
    /// Wait until the memif server of another container listens on this socket, for a minute at most
    #[arg(long, value_name = "SOCKET")]
    pub(super) await_server: Option<PathBuf>,
    /// Exit when no controller has been connected for this long
    #[arg(long, value_name = "TIME")]
    pub(super) exit_when_orphaned: Option<Span>,
    #[command(flatten)]
    pub(super) addresses: AddressArgs,
    #[command(flatten)]
    pub(super) ring: RingArgs,
    #[command(flatten)]
    pub(super) safety: SafetyArgs,
}
