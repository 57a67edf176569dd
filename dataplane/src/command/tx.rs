//! `tx`: sends a profile's traffic.

use std::time::Instant;

use linerate_command::signals::Signals;
use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::{Addressed, IpVersion};
use linerate_wire::flow_lines::FlowLines;
use linerate_wire::report::Ended;
use linerate_wire::trial::{TransmitSpec, gap_ns};

use super::Ending;
use super::environment::{port, workers};
use super::flows_file::Received;
use super::output::{Failure, print_json, print_text, say};
use super::ready::{Replay, Tx};
use super::report::{report_json, report_text, with_lost};
use super::standalone::{
    LOOK, Progress, attend, begin, block_on, close, drained, ending, linger, link_up, lost, next_hop, open,
    random_tag,
};
use crate::dpdk::eal::Eal;
use crate::trial::{Finished, Order, PortSetup, Replayed, Sender, Task};
use linerate_measure::analysis::Expect;

pub(super) fn run(eal: &Eal, mut args: Tx) -> Result<Ending, Failure> {
    for note in args.recording.iter().flat_map(|replay| &replay.notes) {
        say(&format!("note: {note}"));
    }
    let lcores = workers(eal)?;
    let ring = if args.round_trip { args.ring.divided(lcores.len()) } else { args.ring };
    let mut setup = open(eal, port(eal, args.port)?, lcores, &ring, &args.safety, &args.given, false)?;
    let ending = block_on(async {
        let mut signals = Signals::listen()?;
        link_up(&mut setup, args.link_wait, &mut signals).await?;
        let peer_mac = address(&mut args, &mut setup, &mut signals).await?;
        let tag = random_tag()?;
        let spec = TransmitSpec { profile: args.profile.clone(), peer_mac, limit: args.limit };
        let expect = Expect::Trial { tag, flows: args.profile.flows() };
        let task = if let Some(replay) = &args.recording {
            Task::Replay(Box::new(replayed(replay, &args, (setup.port_info()?.mac, peer_mac))))
        } else if args.round_trip {
            Task::Exchange(Box::new(spec), expect)
        } else {
            Task::Transmit(Box::new(spec))
        };
        let mut active = begin(&mut setup, Order { trial: 0, tag, task })?;
        active.receives_from(Sender::Itself);
        active.start();
        let began = Instant::now();
        let mut progress = Progress::new(args.show);
        let mut interrupted = false;
        while !active.sending_is_over() && !interrupted {
            interrupted = signals.within(LOOK).await;
            active.answer_requests(&mut setup);
            progress.show(&mut [(&mut active, &setup)]);
        }
        let mut ended = Ended::Stopped;
        if args.round_trip && !interrupted {
            let sent = active.sent().packets;
            let gap_ns = gap_ns(began.elapsed(), sent, args.profile.burst());
            let look = || {
                attend(&mut active, &mut setup);
                active.received()
            };
            ended = drained(look, sent, gap_ns, &mut signals).await;
            interrupted = ended == Ended::Stopped;
        }
        let Finished { report, flows } = active.finish(&mut setup, ended)?;
        if let (Some(file), Some(flows)) = (args.flows_file.take(), &flows) {
            let traffic = Some((&args.profile, (setup.port_info()?.mac, peer_mac)));
            let lines = FlowLines { traffic, sent: report.detail.transmit.as_ref(), delays_valid: true };
            file.write(&[Received { port: args.port, lines, flows }])?;
        }
        let round_trip_lost = match (&report.detail.transmit, &report.detail.receive) {
            (Some(sent), Some(back)) => Some(lost(sent.counters.packets, back.counters.packets)?),
            _ => None,
        };
        tracing::debug!("sent; the port stays open for {:?}", args.linger);
        // Queued frames can still leave, even after an interruption; a further signal ends the wait.
        linger(&mut setup, args.linger, &mut signals).await;
        let xstats = setup.extended_counters();
        match (args.show.json, round_trip_lost) {
            (true, None) => print_json(&report_json(&report, &xstats)),
            (true, Some(lost)) => print_json(&with_lost(report_json(&report, &xstats), lost)),
            (false, None) => print_text(&report_text(&report)),
            (false, Some(lost)) => {
                print_text(&format!("{}\nlost {lost} packets on the round trip", report_text(&report)))
            }
        }?;
        Ok(ending(&args.limit, interrupted))
    });
    close(setup);
    ending
}

/// Destination address of the frames. Without an Ethernet address on the command line: that of the next hop
/// towards the profile's destination, from the port's own address when the profile sets none.
async fn address(
    args: &mut Tx,
    setup: &mut PortSetup<'_>,
    signals: &mut Signals,
) -> Result<MacAddr, Failure> {
    if let Some(mac) = args.peer_mac {
        return Ok(mac);
    }
    let (to, _) = args.profile.destinations();
    let hop = next_hop(setup, to, signals).await?;
    let own = setup.network().and_then(|network| network.address(IpVersion::of(to))).or(hop.source);
    let Addressed { profile, notes } = args
        .profile
        .between_ports((own, None))
        .map_err(|error| Failure::failed(format!("profile: {error}")))?;
    notes.iter().for_each(|note| tracing::info!("{note}"));
    args.profile = profile;
    hop.mac.ok_or_else(|| {
        Failure::failed(format!(
            "{to} is an address of this host: no frame leaves it on the way there; give --peer-mac"
        ))
    })
}

fn replayed(replay: &Replay, args: &Tx, (port_mac, peer_mac): (MacAddr, MacAddr)) -> Replayed {
    let mut recording = replay.recording.clone();
    if !replay.keep_macs {
        recording.readdress(port_mac, peer_mac);
    }
    Replayed { recording, rate: replay.rate, limit: args.limit }
}
