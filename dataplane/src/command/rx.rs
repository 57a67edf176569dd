//! `rx`: counts and analyses received frames.

use std::time::{Duration, Instant};

use linerate_command::signals::Signals;
use linerate_traffic::safety::Ceilings;
use linerate_wire::counters::ReceiveCounters;
use linerate_wire::flow_lines::FlowLines;
use linerate_wire::report::Ended;

use super::Ending;
use super::environment::{port, workers};
use super::flows_file::Received;
use super::output::{Failure, print_json, print_text};
use super::ready::Rx;
use super::report::{report_json, report_text};
use super::standalone::{LOOK, Progress, attend, block_on, close, ending, open};
use crate::dpdk::eal::Eal;
use crate::trial::{Active, Finished, Order, PortSetup, Task};
use linerate_measure::analysis::Expect;

/// Packets that count towards the limit: Linerate's, without a network's other traffic; frames of any kind
/// when there are none of Linerate's.
fn arrived(received: &ReceiveCounters) -> u64 {
    if received.packets > 0 { received.packets } else { received.frames }
}

/// Pause after the last requested frame that ends reception, so that its duplicates are counted.
const REST: Duration = Duration::from_millis(5);
/// Longest wait for that pause, so that endless traffic cannot keep the program running.
const LONGEST_WAIT: Duration = Duration::from_millis(20);

/// Waits until no frame has arrived for a while.
async fn rest(active: &mut Active, setup: &mut PortSetup<'_>, signals: &mut Signals) {
    let began = Instant::now();
    let mut moved = began;
    let mut frames = active.received().frames;
    while moved.elapsed() < REST && began.elapsed() < LONGEST_WAIT && !signals.within(LOOK).await {
        attend(active, setup);
        let now = active.received().frames;
        if std::mem::replace(&mut frames, now) != now {
            moved = Instant::now();
        }
    }
}

pub(super) fn run(eal: &Eal, mut args: Rx) -> Result<Ending, Failure> {
    let mut setup = open(
        eal,
        port(eal, args.port)?,
        workers(eal)?,
        &args.ring,
        &Ceilings::default(),
        &args.given,
        false,
    )?;
    let ending = block_on(async {
        let mut signals = Signals::listen()?;
        let prepared = setup.prepare(Order { trial: 0, tag: 0, task: Task::Receive(Expect::Anything) })?;
        let mut active = setup.arm(prepared)?;
        active.start();
        let began = Instant::now();
        let mut progress = Progress::new(args.show);
        let ended = loop {
            if args.limit.duration_ms.is_some_and(|ms| began.elapsed() >= Duration::from_millis(ms)) {
                break Ended::Duration;
            }
            if args.limit.packets.is_some_and(|packets| arrived(&active.received()) >= packets) {
                rest(&mut active, &mut setup, &mut signals).await;
                break Ended::Packets;
            }
            if signals.within(LOOK).await {
                break Ended::Stopped;
            }
            active.answer_requests(&mut setup);
            progress.show(&mut [(&mut active, &setup)]);
        };
        let Finished { report, flows } = active.finish(&mut setup, ended)?;
        if let (Some(file), Some(flows)) = (args.flows_file.take(), &flows) {
            let lines = FlowLines { traffic: None, sent: None, delays_valid: true };
            file.write(&[Received { port: args.port, lines, flows }])?;
        }
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
