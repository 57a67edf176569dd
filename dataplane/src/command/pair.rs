//! `pair`: sends on one port and receives on another, in one process, or in both directions at once.

use std::time::Instant;

use linerate_command::signals::Signals;
use linerate_wire::flow_lines::FlowLines;
use linerate_wire::report::Ended;
use linerate_wire::time::SendingTimes;
use linerate_wire::trial::{TransmitSpec, gap_ns};
use serde_json::json;

use super::Ending;
use super::args::RingArgs;
use super::environment::{port, workers};
use super::flows_file::Received;
use super::output::{Failure, print_json, print_text};
use super::ready::Pair;
use super::report::{report_json, report_text, with_lost};
use super::standalone::{
    LOOK, Progress, attend, begin, block_on, close, drained, ending, link_up, lost, open, random_tag,
};
use crate::dpdk::eal::Eal;
use crate::dpdk::id::LcoreId;
use crate::network::GivenAddresses;
use crate::trial::{Finished, Order, PortReport, PortSetup, Sender, Task};
use linerate_measure::analysis::Expect;

pub(super) fn run(eal: &Eal, mut args: Pair) -> Result<Ending, Failure> {
    let lcores = workers(eal)?;
    let senders = args.tx_lcores.unwrap_or(lcores.len() / 2);
    if senders == 0 || senders >= lcores.len() {
        return Err(Failure::failed(format!(
            "{} worker lcores cannot be divided into {senders} that send and others that receive\n  remedy: lower --tx-lcores, or \
             give at least three lcores, as in -l 0-2; they may share CPUs: --lcores 0@0,1@0,2@1",
            lcores.len()
        )));
    }
    let (tx_lcores, rx_lcores) = lcores.split_at(senders);
    let (tx_port, rx_port) = (port(eal, args.tx_port)?, port(eal, args.rx_port)?);
    if tx_port == rx_port {
        // With a port that loops back, by itself or through a cable, both halves share one port, which closes
        // with the last of them.
        let setup =
            open(eal, tx_port, lcores.clone(), &args.ring, &args.safety, &GivenAddresses::default(), false)?;
        let (mut tx, mut rx) = setup.divide(tx_lcores.to_vec(), rx_lcores.to_vec());
        let ending = block_on(one_way(&mut args, &mut tx, &mut rx));
        drop(tx);
        close(rx);
        return ending;
    }
    let both = args.bidirectional;
    let open = |port, lcores: &[LcoreId], ring: RingArgs| {
        let ring = if both { ring.divided(lcores.len()) } else { ring };
        open(eal, port, lcores.to_vec(), &ring, &args.safety, &GivenAddresses::default(), false)
    };
    // In one direction, --rxq applies to the receiving port and --txq to the sending one.
    let rx_ring = RingArgs { txq: args.ring.txq.filter(|_| both), ..args.ring };
    let tx_ring = RingArgs { rxq: args.ring.rxq.filter(|_| both), ..args.ring };
    let (mut rx, mut tx) = (open(rx_port, rx_lcores, rx_ring)?, open(tx_port, tx_lcores, tx_ring)?);
    let ending = if args.bidirectional {
        block_on(both_ways(&mut args, &mut tx, &mut rx))
    } else {
        block_on(one_way(&mut args, &mut tx, &mut rx))
    };
    close(tx);
    close(rx);
    ending
}

/// Waits for both links.
async fn links_up(
    args: &Pair,
    (first, second): (&mut PortSetup<'_>, &mut PortSetup<'_>),
    signals: &mut Signals,
) -> Result<(), Failure> {
    link_up(first, args.link_wait, signals).await?;
    link_up(second, args.link_wait, signals).await
}

async fn one_way(
    args: &mut Pair,
    tx_setup: &mut PortSetup<'_>,
    rx_setup: &mut PortSetup<'_>,
) -> Result<Ending, Failure> {
    let mut signals = Signals::listen()?;
    links_up(args, (rx_setup, tx_setup), &mut signals).await?;
    let tag = random_tag()?;
    let expect = Expect::Trial { tag, flows: args.profile.flows() };
    let spec = to(rx_setup, args)?;
    let mut rx = begin(rx_setup, Order { trial: 0, tag, task: Task::Receive(expect) })?;
    rx.start();
    let mut tx = begin(tx_setup, Order { trial: 0, tag, task: Task::Transmit(spec) })?;
    tx.start();
    let began = Instant::now();

    let mut progress = Progress::new(args.show);
    let mut interrupted = false;
    while !tx.is_finished() && !interrupted {
        interrupted = signals.within(LOOK).await;
        attend(&mut tx, tx_setup);
        attend(&mut rx, rx_setup);
        progress.show(&mut [(&mut tx, &*tx_setup), (&mut rx, &*rx_setup)]);
    }
    let sent = tx.finish(tx_setup, Ended::Stopped)?.report;
    let gap_ns = gap_ns(began.elapsed(), packets_sent(&sent), args.profile.burst());
    let look = || {
        tx_setup.answer_requests(None);
        attend(&mut rx, rx_setup);
        rx.received()
    };
    let ended = drained(look, packets_sent(&sent), gap_ns, &mut signals).await;
    interrupted |= ended == Ended::Stopped;
    rx.receives_from(Sender::Peer(packets_per_lcore(&sent), sending_times(&sent)));
    let Finished { report: received, flows } = rx.finish(rx_setup, ended)?;
    if let (Some(file), Some(flows)) = (args.flows_file.take(), &flows) {
        let lines = flow_lines(args, [&*tx_setup, &*rx_setup], &sent)?;
        file.write(&[Received { port: args.rx_port, lines, flows }])?;
    }
    let lost = lost(packets_sent(&sent), packets_received(&received))?;
    if args.show.json {
        print_json(&json!({
            "role": "pair",
            "tx": report_json(&sent, &tx_setup.extended_counters()),
            "rx": with_lost(report_json(&received, &rx_setup.extended_counters()), lost),
            "lost_packets": lost,
        }))?;
    } else {
        print_text(&format!("{}\n{}\nlost {lost} packets", report_text(&sent), report_text(&received)))?;
    }
    Ok(ending(&args.limit, interrupted))
}

/// Sends in both directions; a direction's loss is the packets that one port sent minus those that the other
/// received.
async fn both_ways(
    args: &mut Pair,
    a_setup: &mut PortSetup<'_>,
    b_setup: &mut PortSetup<'_>,
) -> Result<Ending, Failure> {
    let mut signals = Signals::listen()?;
    links_up(args, (a_setup, b_setup), &mut signals).await?;
    // Each direction has its own tag, so that a port that loops its own packets back does not receive its peer's.
    let from_a = random_tag()?;
    let from_b = from_a.wrapping_add(1);
    let expect = |tag| Expect::Trial { tag, flows: args.profile.flows() };
    let (expect_a, expect_b) = (expect(from_b), expect(from_a));
    let (to_b, to_a) = (to(b_setup, args)?, to(a_setup, args)?);
    let mut a = begin(a_setup, Order { trial: 0, tag: from_a, task: Task::Exchange(to_b, expect_a) })?;
    let mut b = begin(b_setup, Order { trial: 0, tag: from_b, task: Task::Exchange(to_a, expect_b) })?;
    a.start();
    b.start();
    let began = Instant::now();

    let mut progress = Progress::new(args.show);
    let mut interrupted = false;
    while !(interrupted || a.sending_is_over() && b.sending_is_over()) {
        interrupted = signals.within(LOOK).await;
        attend(&mut a, a_setup);
        attend(&mut b, b_setup);
        progress.show(&mut [(&mut a, &*a_setup), (&mut b, &*b_setup)]);
    }
    if interrupted {
        a.stop_sending();
        b.stop_sending();
        while !(a.sending_is_over() && b.sending_is_over()) {
            signals.within(LOOK).await;
            attend(&mut a, a_setup);
            attend(&mut b, b_setup);
        }
    }
    let (sent_by_a, sent_by_b) = (a.sent().packets, b.sent().packets);
    let gap_ns = gap_ns(began.elapsed(), sent_by_a.min(sent_by_b), args.profile.burst());
    let mut look = || {
        attend(&mut a, a_setup);
        attend(&mut b, b_setup);
        [a.received(), b.received()]
    };
    let a_ended = drained(|| look()[0], sent_by_b, gap_ns, &mut signals).await;
    let b_ended = drained(|| look()[1], sent_by_a, gap_ns, &mut signals).await;
    interrupted |= a_ended == Ended::Stopped || b_ended == Ended::Stopped;
    let (sent_by_a, sent_by_b) = (a.sent_per_lcore(), b.sent_per_lcore());
    let (by_a, by_b) = (a.sending_so_far(a_setup), b.sending_so_far(b_setup));
    a.receives_from(Sender::Peer(sent_by_b, Some(by_b)));
    b.receives_from(Sender::Peer(sent_by_a, Some(by_a)));
    let Finished { report: a, flows: a_flows } = a.finish(a_setup, a_ended)?;
    let Finished { report: b, flows: b_flows } = b.finish(b_setup, b_ended)?;
    if let (Some(file), Some(a_flows), Some(b_flows)) = (args.flows_file.take(), &a_flows, &b_flows) {
        let to_b = flow_lines(args, [&*a_setup, &*b_setup], &a)?;
        let to_a = flow_lines(args, [&*b_setup, &*a_setup], &b)?;
        file.write(&[
            Received { port: args.rx_port, lines: to_b, flows: b_flows },
            Received { port: args.tx_port, lines: to_a, flows: a_flows },
        ])?;
    }
    let a_to_b = lost(packets_sent(&a), packets_received(&b))?;
    let b_to_a = lost(packets_sent(&b), packets_received(&a))?;
    if args.show.json {
        print_json(&json!({
            "role": "pair",
            "tx": with_lost(report_json(&a, &a_setup.extended_counters()), b_to_a),
            "rx": with_lost(report_json(&b, &b_setup.extended_counters()), a_to_b),
            "lost_packets": a_to_b + b_to_a,
        }))?;
    } else {
        print_text(&format!(
            "port {}:\n{}\nport {}:\n{}\nlost {a_to_b} packets one way, {b_to_a} the other",
            args.tx_port,
            report_text(&a),
            args.rx_port,
            report_text(&b)
        ))?;
    }
    Ok(ending(&args.limit, interrupted))
}

fn to(peer: &PortSetup<'_>, args: &Pair) -> Result<Box<TransmitSpec>, Failure> {
    let port = peer.port_info()?;
    // The sending port is checked when the trial is prepared.
    port.carries(args.profile.frame_sizes().largest().bytes()).map_err(Failure::failed)?;
    let peer_mac = port.mac;
    Ok(Box::new(TransmitSpec { profile: args.profile.clone(), peer_mac, limit: args.limit }))
}

/// Format of the lines for flows from one port to another, in one process and with one clock.
fn flow_lines<'a>(
    args: &'a Pair,
    [from, to]: [&PortSetup<'_>; 2],
    sent: &'a PortReport,
) -> Result<FlowLines<'a>, Failure> {
    let traffic = Some((&args.profile, (from.port_info()?.mac, to.port_info()?.mac)));
    Ok(FlowLines { traffic, sent: sent.detail.transmit.as_ref(), delays_valid: true })
}

fn sending_times(report: &PortReport) -> Option<SendingTimes> {
    let transmit = report.detail.transmit.as_ref()?;
    Some(SendingTimes::of(&report.clock?, report.started_ns, transmit.duration_s))
}

fn packets_per_lcore(report: &PortReport) -> Vec<u64> {
    report.detail.transmit.as_ref().map(|transmit| transmit.packets_per_lcore.clone()).unwrap_or_default()
}

fn packets_sent(report: &PortReport) -> u64 {
    report.detail.transmit.as_ref().map_or(0, |transmit| transmit.counters.packets)
}

fn packets_received(report: &PortReport) -> u64 {
    report.detail.receive.as_ref().map_or(0, |receive| receive.counters.packets)
}
