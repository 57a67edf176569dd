//! `pair`: sends on one port and receives on another, in one process.

use linerate_protocol::report::Ended;
use linerate_protocol::trial::{Drain, TransmitSpec};
use serde_json::json;

use super::Ending;
use super::environment::{port, workers};
use super::output::{Failure, print_json, print_text, report_json, report_text};
use super::ready::Pair;
use super::standalone::{LOOK, Progress, Signals, block_on, close, ending, link_up, open, random_tag};
use crate::core::analysis::Expect;
use crate::core::drain::Drainer;
use crate::dpdk::eal::Eal;
use crate::host::monotonic_ns;
use crate::trial::{Active, Bench, Order, Work};

const SETTLE_MS: u32 = 200;
const DRAIN_LIMIT_MS: u32 = 5_000;

pub(super) fn run(eal: &Eal, args: &Pair) -> Result<Ending, Failure> {
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
    let (mut tx_bench, mut rx_bench) = if tx_port == rx_port {
        // A port that loops back, by itself or through a cable.
        open(eal, tx_port, lcores.clone(), &args.ring)?.divide(tx_lcores.to_vec(), rx_lcores.to_vec())
    } else {
        let rx_bench = open(eal, rx_port, rx_lcores.to_vec(), &args.ring)?;
        (open(eal, tx_port, tx_lcores.to_vec(), &args.ring)?, rx_bench)
    };
    let ending = block_on(async {
        let mut signals = Signals::new()?;
        for bench in [&rx_bench, &tx_bench] {
            if !link_up(bench, args.link_wait, &mut signals).await? {
                return Ok(Ending::Interrupted);
            }
        }
        let tag = random_tag()?;
        let peer_mac = rx_bench.port_info()?.mac;
        let expect = Expect::Trial { tag, flows: args.profile.flows() };
        let spec = TransmitSpec { profile: args.profile.clone(), peer_mac, limit: args.limit };
        let mut rx = begin(&mut rx_bench, Order { trial: 0, tag, work: Work::Receive(expect) })?;
        rx.start();
        let mut tx = begin(&mut tx_bench, Order { trial: 0, tag, work: Work::Transmit(Box::new(spec)) })?;
        tx.start();

        let mut progress = Progress::new(args.show);
        let mut interrupted = false;
        while !tx.is_finished() && !interrupted {
            interrupted = signals.within(LOOK).await;
            progress.show(&mut [(&mut tx, &tx_bench), (&mut rx, &rx_bench)]);
        }
        let sent = tx.finish(&mut tx_bench, Ended::Stopped)?;
        let expected_packets = sent.transmit.as_ref().map_or(0, |transmit| transmit.counters.packets);
        let drain = Drain { expected_packets, settle_ms: SETTLE_MS, limit_ms: DRAIN_LIMIT_MS };
        let mut drainer = Drainer::new(drain, monotonic_ns());
        let ended = loop {
            let received = rx.received();
            let progress = received.packets + received.duplicates;
            if let Some(ended) = drainer.look(monotonic_ns(), received.packets, progress) {
                break ended;
            }
            signals.within(LOOK).await;
        };
        let received = rx.finish(&mut rx_bench, ended)?;
        let arrived = received.receive.as_ref().map_or(0, |receive| receive.counters.packets);
        let lost = expected_packets.checked_sub(arrived).ok_or_else(|| {
            Failure::failed(format!(
                "{arrived} packets received of {expected_packets} sent: the path duplicates packets beyond recognition, and loss cannot be told"
            ))
        })?;
        if args.show.json {
            print_json(&json!({
                "role": "pair",
                "tx": report_json(&sent, &tx_bench.extended_counters()),
                "rx": report_json(&received, &rx_bench.extended_counters()),
                "lost_packets": lost,
            }))?;
        } else {
            print_text(&format!("{}\n{}\nlost {lost} packets", report_text(&sent), report_text(&received)))?;
        }
        Ok(ending(&args.limit, interrupted))
    });
    if tx_port == rx_port {
        // Two halves of one port: it closes with the last.
        drop(tx_bench);
    } else {
        close(tx_bench);
    }
    close(rx_bench);
    ending
}

fn begin(bench: &mut Bench<'_>, order: Order) -> Result<Active, Failure> {
    let prepared = bench.prepare(order)?;
    Ok(bench.arm(prepared)?)
}
