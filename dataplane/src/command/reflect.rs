//! `reflect`: sends received test frames back.

use std::time::{Duration, Instant};

use linerate_command::signals::Signals;
use linerate_traffic::safety::Ceilings;
use linerate_wire::report::Ended;

use super::Ending;
use super::environment::{port, workers};
use super::output::{Failure, print_json, print_text};
use super::ready::Rx;
use super::report::{report_json, report_text};
use super::standalone::{LOOK, Progress, begin, block_on, close, ending, open};
use crate::dpdk::eal::Eal;
use crate::trial::{Order, Task};

pub(super) fn run(eal: &Eal, args: &Rx) -> Result<Ending, Failure> {
    let mut setup =
        open(eal, port(eal, args.port)?, workers(eal)?, &args.ring, &Ceilings::default(), &args.given, true)?;
    let ending = block_on(async {
        let mut signals = Signals::listen()?;
        let mut active = begin(&mut setup, Order { trial: 0, tag: 0, task: Task::Reflect })?;
        active.start();
        let began = Instant::now();
        let mut progress = Progress::new(args.show);
        let ended = loop {
            if args.limit.duration_ms.is_some_and(|ms| began.elapsed() >= Duration::from_millis(ms)) {
                break Ended::Duration;
            }
            if args.limit.packets.is_some_and(|packets| active.sent().packets >= packets) {
                break Ended::Packets;
            }
            if signals.within(LOOK).await {
                break Ended::Stopped;
            }
            active.answer_requests(&mut setup);
            progress.show(&mut [(&mut active, &setup)]);
        };
        let report = active.finish(&mut setup, ended)?.report;
        if args.show.json {
            print_json(&report_json(&report, &setup.extended_counters()))
        } else {
            print_text(&report_text(&report))
        }?;
        Ok(ending(&args.limit, ended == Ended::Stopped))
    });
    close(setup);
    ending
}
