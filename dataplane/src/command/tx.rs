//! `tx`: sends a profile's traffic.

use linerate_protocol::report::Ended;
use linerate_protocol::trial::TransmitSpec;

use super::Ending;
use super::environment::{port, workers};
use super::output::{Failure, print_json, print_text, report_json, report_text};
use super::ready::Tx;
use super::standalone::{LOOK, Progress, Signals, block_on, close, ending, link_up, open, random_tag};
use crate::dpdk::eal::Eal;
use crate::trial::{Order, Work};

pub(super) fn run(eal: &Eal, args: &Tx) -> Result<Ending, Failure> {
    let mut bench = open(eal, port(eal, args.port)?, workers(eal)?, &args.ring)?;
    let ending = block_on(async {
        let mut signals = Signals::new()?;
        if !link_up(&bench, args.link_wait, &mut signals).await? {
            return Ok(Ending::Interrupted);
        }
        let spec = TransmitSpec { profile: args.profile.clone(), peer_mac: args.peer_mac, limit: args.limit };
        let order = Order { trial: 0, tag: random_tag()?, work: Work::Transmit(Box::new(spec)) };
        let prepared = bench.prepare(order)?;
        let mut active = bench.arm(prepared)?;
        active.start();
        let mut progress = Progress::new(args.show);
        let mut interrupted = false;
        while !active.is_finished() && !interrupted {
            interrupted = signals.within(LOOK).await;
            progress.show(&mut [(&mut active, &bench)]);
        }
        let report = active.finish(&mut bench, Ended::Stopped)?;
        tracing::debug!("sent; the port stays open for {:?}", args.linger);
        // What is queued can leave, also after an interruption; one more signal cuts it short.
        signals.within(args.linger).await;
        if args.show.json {
            print_json(&report_json(&report, &bench.extended_counters()))
        } else {
            print_text(&report_text(&report))
        }?;
        Ok(ending(&args.limit, interrupted))
    });
    close(bench);
    ending
}
