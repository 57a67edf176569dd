//! Validated commands: the arguments from [`super::args`], checked once. Later code does not check
//! again.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use linerate_agent::OrphanRule;
use linerate_agent::machine::machine;
use linerate_agent::token::Token;
use linerate_logging::terminal::escaped_path;
use linerate_metrics::{Exposure, Listener};
use linerate_traffic::limit::Limit;
use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::{Profile, RawProfile, Vlan};
use linerate_traffic::rate::Rate;
use linerate_traffic::safety::Ceilings;
use linerate_wire::host::HostInfo;
use linerate_wire::message::TOKEN_VARIABLE;

use super::args::{
    AddressArgs, Command, LimitArgs, PortsArgs, ProfileArgs, RecordingArgs, RingArgs, ShowArgs,
};
use super::flows_file::FlowsFile;
use super::output::Failure;
use super::{capture_file, profile_file};
use crate::network::GivenAddresses;
use linerate_measure::capture::Capture;
use linerate_measure::recording::Recording;

/// A validated command.
#[derive(Debug)]
pub(super) enum Ready {
    Ports(PortsArgs),
    Tx(Tx),
    Rx(Rx),
    Pair(Pair),
    Reflect(Rx),
    Agent(Agent),
}

/// Options of all stand-alone trials.
#[derive(Debug, Clone, Copy)]
pub(super) struct Show {
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) interval: Duration,
}

#[derive(Debug)]
pub(super) struct Tx {
    pub(super) port: u16,
    /// `None`: the next hop's address.
    pub(super) peer_mac: Option<MacAddr>,
    pub(super) round_trip: bool,
    pub(super) flows_file: Option<FlowsFile>,
    pub(super) profile: Profile,
    /// Replaces the profile.
    pub(super) recording: Option<Replay>,
    pub(super) limit: Limit,
    pub(super) given: GivenAddresses,
    pub(super) ring: RingArgs,
    pub(super) safety: Ceilings,
    pub(super) link_wait: Duration,
    pub(super) linger: Duration,
    pub(super) show: Show,
}

/// A recording to replay.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) recording: Recording,
    pub(super) keep_macs: bool,
    pub(super) rate: Option<Rate>,
    /// Remarks on the recording, printed before it is sent.
    pub(super) notes: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Rx {
    pub(super) port: u16,
    pub(super) flows_file: Option<FlowsFile>,
    pub(super) limit: Limit,
    pub(super) given: GivenAddresses,
    pub(super) ring: RingArgs,
    pub(super) show: Show,
}

#[derive(Debug)]
pub(super) struct Pair {
    pub(super) tx_port: u16,
    pub(super) rx_port: u16,
    pub(super) tx_lcores: Option<usize>,
    pub(super) bidirectional: bool,
    pub(super) flows_file: Option<FlowsFile>,
    pub(super) profile: Profile,
    pub(super) limit: Limit,
    pub(super) ring: RingArgs,
    pub(super) safety: Ceilings,
    pub(super) link_wait: Duration,
    pub(super) show: Show,
}

#[derive(Debug)]
pub(super) struct Agent {
    pub(super) port: u16,
    pub(super) listen: SocketAddr,
    pub(super) token: Token,
    pub(super) orphan_ms: u32,
    pub(super) reflector: bool,
    pub(super) exit_when_orphaned: Option<OrphanRule>,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) given: GivenAddresses,
    pub(super) ring: RingArgs,
    pub(super) safety: Ceilings,
    pub(super) host: HostInfo,
}

impl Command {
    /// True when failures are also to be reported as JSON on standard output.
    pub(super) fn wants_json(&self) -> bool {
        match self {
            Command::Ports(args) => args.json,
            Command::Tx(args) => args.show.json,
            Command::Rx(args) => args.show.json,
            Command::Pair(args) => args.show.json,
            Command::Reflect(args) => args.show.json,
            Command::Agent(_) => true,
        }
    }

    /// Makes all checks that do not need EAL.
    pub(super) fn validate(&self) -> Result<Ready, Failure> {
        Ok(match self.clone() {
            Command::Ports(args) => Ready::Ports(args),
            Command::Tx(args) => {
                if args.peer_mac.is_some_and(MacAddr::is_zero) {
                    return Err(Failure::usage(
                        "--peer-mac 00:00:00:00:00:00 is not the address of a port; see `ports` on the receiver",
                    ));
                }
                let mut limit = args.limit.resolve()?;
                let recording = args.recording.resolve(args.profile.rate, &mut limit)?;
                let profile = args.profile.resolve()?;
                if args.peer_mac.is_none() && profile.raw().destination.written_ip().is_none() {
                    return Err(Failure::usage(
                        "--peer-mac is missing, and the profile names no destination address whose next hop could be resolved",
                    ));
                }
                Ready::Tx(Tx {
                    port: args.port,
                    peer_mac: args.peer_mac,
                    round_trip: args.round_trip,
                    flows_file: flows_file(args.flows_file.as_deref(), Some(&profile), 1)?,
                    profile,
                    recording,
                    limit,
                    safety: args.safety.resolve()?,
                    given: args.addresses.check()?,
                    ring: args.ring.check()?,
                    link_wait: args.link_wait.0,
                    linger: args.linger.0,
                    show: args.show.resolve(),
                })
            }
            Command::Rx(args) => Ready::Rx(Rx {
                port: args.port,
                flows_file: flows_file(args.flows_file.as_deref(), None, 1)?,
                limit: args.limit.resolve()?,
                given: args.addresses.check()?,
                ring: args.ring.check()?,
                show: args.show.resolve(),
            }),
            Command::Reflect(args) => Ready::Reflect(Rx {
                port: args.port,
                flows_file: None,
                limit: args.limit.resolve()?,
                given: args.addresses.check()?,
                ring: args.ring.check()?,
                show: args.show.resolve(),
            }),
            Command::Pair(args) if args.bidirectional && args.tx_port == args.rx_port => {
                return Err(Failure::usage(
                    "--bidirectional needs two ports; give different numbers to --tx-port and --rx-port",
                ));
            }
            Command::Pair(args) => {
                let profile = args.profile.resolve()?;
                let receivers = if args.bidirectional { 2 } else { 1 };
                Ready::Pair(Pair {
                    tx_port: args.tx_port,
                    rx_port: args.rx_port,
                    tx_lcores: args.tx_lcores,
                    bidirectional: args.bidirectional,
                    flows_file: flows_file(args.flows_file.as_deref(), Some(&profile), receivers)?,
                    profile,
                    limit: args.limit.resolve()?,
                    safety: args.safety.resolve()?,
                    ring: args.ring.check()?,
                    link_wait: args.link_wait.0,
                    show: args.show.resolve(),
                })
            }
            Command::Agent(args) => Ready::Agent(Agent {
                port: args.port,
                listen: args.listen,
                token: Token::load(args.token_file.as_deref(), std::env::var_os(TOKEN_VARIABLE))
                    .map_err(|error| Failure::usage(error.to_string()))?,
                orphan_ms: u32::try_from(args.orphan.0.as_millis()).unwrap_or(u32::MAX).max(100),
                reflector: args.reflector,
                exit_when_orphaned: args.exit_when_orphaned.map(|span| OrphanRule::after(span.0)),
                metrics: loopback(args.metrics)?,
                safety: args.safety.resolve()?,
                given: args.addresses.check()?,
                ring: args.ring.check()?,
                host: machine(),
            }),
        })
    }
}

fn loopback(address: Option<SocketAddr>) -> Result<Option<SocketAddr>, Failure> {
    if let Some(address) = address {
        Listener::check(address, Exposure::Loopback, ", and an agent serves none but this machine")
            .map_err(|error| Failure::usage(error.to_string()))?;
    }
    Ok(address)
}

fn flows_file(
    path: Option<&Path>,
    profile: Option<&Profile>,
    receivers: u64,
) -> Result<Option<FlowsFile>, Failure> {
    path.map(|path| FlowsFile::create(path, profile, receivers)).transpose()
}

impl ProfileArgs {
    fn resolve(&self) -> Result<Profile, Failure> {
        if let Some(path) = &self.profile {
            return profile_file::read(path);
        }
        let mut raw = RawProfile::default();
        let Self { flows, src_ip, dst_ip, src_port, dst_port, .. } = self;
        raw.frame_size = self.size.clone();
        raw.flows = flows.unwrap_or(raw.flows);
        raw.flow_mode = self.flow_mode;
        raw.rate = Some(self.rate.unwrap_or(Rate::Percent(100.0)));
        raw.protocol = self.protocol.unwrap_or(raw.protocol);
        raw.vlan = self.vlan.map(|id| Vlan { id, priority: 0 });
        raw.dscp = self.dscp.unwrap_or(raw.dscp);
        raw.ttl = self.ttl.unwrap_or(raw.ttl);
        raw.payload = self.payload.clone().unwrap_or(raw.payload);
        raw.burst = self.burst.unwrap_or(raw.burst);
        raw.source.ip = *src_ip;
        raw.destination.ip = *dst_ip;
        raw.source.port = src_port.unwrap_or(raw.source.port);
        raw.destination.port = dst_port.unwrap_or(raw.destination.port);
        raw.try_into().map_err(|error| Failure::usage(format!("profile: {error}")))
    }
}

impl RecordingArgs {
    fn resolve(&self, rate: Option<Rate>, limit: &mut Limit) -> Result<Option<Replay>, Failure> {
        let Some(path) = &self.pcap else { return Ok(None) };
        let Capture { mut recording, mut notes } = capture_file::read(path)?;
        let once = if *limit == Limit::default() { 1 } else { 0 };
        let packets = self.loops.unwrap_or(once).saturating_mul(recording.count() as u64);
        if packets > 0 {
            limit.packets = Some(limit.packets.map_or(packets, |most| most.min(packets)));
        }
        // A single frame that is sent once needs no pace.
        let paced = rate.is_none() && (recording.count() > 1 || limit.packets != Some(1));
        if paced {
            let pace = recording
                .keep_pace(self.max_gap.map(|span| span.0))
                .map_err(|error| Failure::usage(format!("{}: {error}", escaped_path(path))))?;
            notes.push(format!(
                "{} frames in {:.3?}, {:.1} a second on average, at most {:.3?} apart",
                recording.count(),
                pace.length,
                pace.mean_pps,
                pace.longest_gap
            ));
        }
        let notes = notes.into_iter().map(|note| format!("{}: {note}", escaped_path(path))).collect();
        Ok(Some(Replay { recording, keep_macs: self.keep_macs, rate, notes }))
    }
}

impl LimitArgs {
    fn resolve(self) -> Result<Limit, Failure> {
        if self.duration.is_some_and(|span| span.0.is_zero()) || self.packets == Some(0) {
            return Err(Failure::usage("--duration and --packets must be more than zero"));
        }
        let duration_ms =
            self.duration.map(|span| u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX).max(1));
        Ok(Limit { duration_ms, packets: self.packets })
    }
}

impl AddressArgs {
    fn check(&self) -> Result<GivenAddresses, Failure> {
        for gateway in &self.gateway {
            if self.gateway.iter().filter(|other| other.is_ipv4() == gateway.is_ipv4()).count() > 1 {
                return Err(Failure::usage(
                    "--gateway: more than one router for one version of IP; give one",
                ));
            }
            if !self.address.iter().any(|network| network.contains(gateway)) {
                return Err(Failure::usage(format!(
                    "--gateway {gateway} is in none of the networks of --address; a router must be on the link"
                )));
            }
        }
        Ok(GivenAddresses { addresses: self.address.clone(), gateways: self.gateway.clone() })
    }
}

impl RingArgs {
    fn check(self) -> Result<Self, Failure> {
        let Self { txd, rxd, rxq, txq, mtu, idle: _ } = self;
        if txd == 0 || rxd == 0 || rxq == Some(0) || txq == Some(0) {
            return Err(Failure::usage("--txd, --rxd, --txq and --rxq must be at least 1"));
        }
        if !(68..=9600).contains(&mtu) {
            return Err(Failure::usage(format!("--mtu {mtu} is outside 68…9600")));
        }
        Ok(self)
    }
}

impl RingArgs {
    /// Numbers of queues when some lcores send and the others receive, unless the user gave numbers.
    pub(super) fn divided(self, lcores: usize) -> Self {
        let (senders, receivers) = (lcores / 2, lcores - lcores / 2);
        Self {
            txq: self.txq.or(Some(senders.max(1) as u16)),
            rxq: self.rxq.or(Some(receivers.max(1) as u16)),
            ..self
        }
    }
}

impl ShowArgs {
    fn resolve(self) -> Show {
        Show { json: self.json, quiet: self.quiet, interval: self.interval.0.max(Duration::from_millis(10)) }
    }
}
