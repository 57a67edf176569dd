//! Planning of a trial: the work of each lcore, with its memory allocated.

use linerate_traffic::frame::FCS_BYTES;
use linerate_traffic::safety::Departure;
use linerate_wire::port::{FrameTooLarge, PortInfo};
use linerate_wire::report::TransmitReport;
use linerate_wire::trial::TransmitSpec;

use super::error::TrialError;
use super::order::{Order, Replayed, Task};
use super::port_setup::PortSetup;
use linerate_measure::analysis::{Analysis, Expect};
use linerate_measure::ceiling::{Ceiling, workers_under};
use linerate_measure::flows::FrameWriter;
use linerate_measure::frame::{Frames, HEAD_BYTES};
use linerate_measure::loops::source::{Replay, Source};
use linerate_measure::loops::transmit::TransmitPlan;
use linerate_measure::pacer::{Load, whole_bursts_within};

/// Packets handed to the port at once.
const BURST: usize = 64;

/// A planned trial with its memory allocated.
#[derive(Debug)]
pub struct Prepared {
    pub(super) order: Order,
    pub(super) plans: Plans,
}

/// Plan of each lcore: senders first.
#[derive(Debug, Default)]
pub(super) struct Plans {
    pub(super) transmit: Vec<TransmitPlan>,
    pub(super) intended_pps: Option<f64>,
    /// Plan of the senders, for their report.
    pub(super) planned: Planned,
    pub(super) receive: Vec<Analysis>,
    pub(super) reflectors: usize,
}

/// The part of the senders' plan that their report needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Planned {
    /// Packets per burst; 0 means 1.
    pub(super) burst: u32,
    /// Flows of each TX lcore; empty without flows, as for a recording.
    pub(super) flows_per_lcore: Vec<u32>,
    /// TX lcores that did not send, because a ceiling admits too few packets at a time for more lcores.
    pub(super) left_out: u32,
}

impl Planned {
    /// Notes on a trial that was too short, each in one sentence.
    pub(super) fn notes(&self, transmit: &TransmitReport) -> Vec<String> {
        let TransmitReport { counters, packets_per_lcore, intended_pps, duration_s, .. } = transmit;
        let mut notes = Vec::new();
        let lcores = packets_per_lcore.len().max(1);
        let per_lcore = intended_pps.map(|pps| pps * duration_s / lcores as f64);
        if let Some(per_lcore) =
            per_lcore.filter(|packets| self.burst > 1 && *packets < f64::from(self.burst))
        {
            notes.push(format!(
                "the trial is shorter than a burst: {per_lcore:.1} packets per TX lcore were intended, and {} leave together",
                self.burst
            ));
        }
        let flows = self.flows_per_lcore.iter().zip(packets_per_lcore);
        let without: u64 = flows.map(|(flows, packets)| u64::from(*flows).saturating_sub(*packets)).sum();
        if without > 0 {
            let flows: u64 = self.flows_per_lcore.iter().copied().map(u64::from).sum();
            notes.push(format!(
                "{without} of {flows} flows had no packet: only {} packets were sent",
                counters.packets
            ));
        }
        if self.left_out > 0 {
            notes.push(format!(
                "{} of {} TX lcores did not send: the ceiling on the rate admits too few packets within 10 ms to share them among more",
                self.left_out,
                self.left_out as usize + lcores
            ));
        }
        notes
    }
}

impl PortSetup<'_> {
    /// Plans a trial: flow tables, templates, analyses.
    ///
    /// # Errors
    /// When the port cannot run the trial as specified.
    pub fn prepare(&mut self, order: Order) -> Result<Prepared, TrialError> {
        if (self.rx.len(), self.tx.len()) != self.queues {
            return Err(TrialError::QueueLost);
        }
        let receives = !matches!(order.task, Task::Transmit(_) | Task::Replay(_));
        if let Some(left) = self.left.as_ref().filter(|_| receives) {
            return Err(left.clone().into());
        }
        // Loads and durations of the trial use the latest measurement. Notes are written at its end.
        self.recalibrate();
        let lcores = self.lcores().len();
        let mut plans = Plans::default();
        match &order.task {
            Task::Transmit(spec) => self.plan_transmit(order.tag, spec, lcores, &mut plans)?,
            Task::Receive(expect) => plans.receive = self.plan_receive(*expect, lcores),
            Task::Exchange(spec, expect) => {
                if lcores < 2 {
                    return Err(TrialError::TooFewLcores);
                }
                // A port with fewer TX queues than lcores has this number of senders.
                let senders = if self.tx.len() < lcores { self.tx.len() } else { lcores / 2 };
                self.plan_transmit(order.tag, spec, senders, &mut plans)?;
                plans.receive = self.plan_receive(*expect, lcores - senders);
            }
            Task::Replay(replayed) => self.plan_replay(replayed, &mut plans)?,
            Task::Reflect if !self.config.reflects => return Err(TrialError::NoReflector),
            Task::Reflect => plans.reflectors = self.rx.len().min(self.tx.len()).min(lcores),
        }
        Ok(Prepared { order, plans })
    }

    fn plan_replay(&mut self, replayed: &Replayed, plans: &mut Plans) -> Result<(), TrialError> {
        let Replayed { recording, rate, limit } = replayed;
        let info = self.port_info()?;
        let link_bps = info.link_bps;
        let mean_bytes = recording.mean_bytes() + f64::from(FCS_BYTES);
        let pps = rate.map(|rate| rate.packets_per_second_of(mean_bytes, link_bps)).transpose()?;
        // `None`: as fast as the port accepts them.
        let departures_s = match pps {
            None => Some(recording.departures_s()),
            Some(pps) => pps.map(|pps| (0..recording.count()).map(|frame| frame as f64 / pps).collect()),
        };
        let frames: Option<Vec<Departure>> = departures_s.as_ref().map(|times: &Vec<f64>| {
            times.iter().copied().zip(recording.lengths_bytes().map(|bytes| bytes + FCS_BYTES)).collect()
        });
        self.config.safety.check_recording(frames.as_deref(), limit, link_bps)?;
        let bytes: Vec<u32> = recording.lengths_bytes().map(|bytes| bytes + FCS_BYTES).collect();
        let times = self.config.safety.frame_times_ps(&bytes, link_bps)?;
        let load = match pps {
            None => departures_s.map(Load::Recorded),
            Some(pps) => pps.map(Load::steady),
        };
        let longest = recording.longest_bytes();
        info.carries(longest + FCS_BYTES)?;
        let queue = self.tx.first_mut().ok_or(TrialError::QueueLost)?;
        let room = vec![0; HEAD_BYTES.max(longest as usize)];
        queue.stamp(&room, longest).map_err(|_| too_large(info, longest + FCS_BYTES))?;
        let source = Replay::new(recording.clone().into_frames()).map(Source::Replay);
        plans.intended_pps = load.as_ref().map(|load| load.mean_pps_within(limit, 1));
        plans.transmit.extend(source.map(|source| TransmitPlan {
            source,
            load,
            ceilings: times.into_iter().map(Ceiling::Frames).collect(),
            duration_ticks: limit.duration_ms.map(|ms| self.clock.ticks_in_ms(ms)),
            packets: limit.packets,
            burst: BURST,
        }));
        Ok(())
    }

    fn plan_receive(&self, expect: Expect, lcores: usize) -> Vec<Analysis> {
        let analysis = |_| {
            let mut analysis = Analysis::new(expect);
            if let Some(answering) = &self.answering {
                analysis.forward_foreign(answering.mailbox());
            }
            analysis
        };
        (0..self.rx.len().min(lcores)).map(analysis).collect()
    }

    fn plan_transmit(
        &mut self,
        tag: u16,
        spec: &TransmitSpec,
        lcores: usize,
        plans: &mut Plans,
    ) -> Result<(), TrialError> {
        let info = self.port_info()?;
        let TransmitSpec { profile, peer_mac, limit } = spec;
        self.config.safety.check(profile, limit, info.link_bps)?;
        let stages = profile.load(info.link_bps)?;
        let load = stages.map(|stages| Load::Stages { stages, burst: profile.burst() });
        let frames = Frames::new(profile, info.mac, *peer_mac);
        let template = frames.template();
        let largest = profile.frame_sizes().largest();
        info.carries(largest.bytes())?;
        let flows = profile.flows();
        let most_workers = (self.tx.len().min(lcores) as u32).min(flows);
        let admitted = self.config.safety.packets_within(profile.frame_sizes(), info.link_bps)?;
        let peak_pps = load.as_ref().map_or(0.0, Load::peak_pps);
        let (workers, shares) = workers_under(admitted, most_workers, flows, (profile.burst(), peak_pps));
        plans.planned.left_out = most_workers - workers;
        let mut before = 0;
        for (worker, queue) in (0..workers).zip(&mut self.tx) {
            queue
                .stamp(&template, largest.port_bytes())
                .map_err(|_| too_large(info.clone(), largest.bytes()))?;
            let Some(writer) = FrameWriter::new(profile, &frames, tag, worker, workers) else { continue };
            let mine = writer.flow_count();
            // Packets are divided in proportion to flows, without losing any to rounding.
            let share = |packets: u64, flows_before: u32| {
                (u128::from(packets) * u128::from(flows_before) / u128::from(flows)) as u64
            };
            plans.transmit.push(TransmitPlan {
                source: Source::Flows(writer),
                load: load.clone().map(|load| load.share(f64::from(mine) / f64::from(flows))),
                ceilings: shares
                    .get(worker as usize)
                    .map(|share| Ceiling::Packets(*share))
                    .into_iter()
                    .collect(),
                duration_ticks: limit.duration_ms.map(|ms| self.clock.ticks_in_ms(ms)),
                packets: limit.packets.map(|packets| share(packets, before + mine) - share(packets, before)),
                burst: whole_bursts_within(BURST, profile.burst()),
            });
            before += mine;
            plans.planned.flows_per_lcore.push(mine);
        }
        plans.planned.burst = if load.is_some() { profile.burst() } else { 1 };
        let slack_packets = u64::from(workers) * u64::from(plans.planned.burst);
        plans.intended_pps = load.map(|load| load.mean_pps_within(limit, slack_packets));
        Ok(())
    }
}

/// Error: frames larger than the buffers. The port's MTU in force does not exceed the one that the buffers
/// were made for.
fn too_large(port: PortInfo, asked: u32) -> FrameTooLarge {
    FrameTooLarge { asked, port: Box::new(port) }
}

#[cfg(test)]
mod tests {
    use linerate_wire::counters::TransmitCounters;

    use super::*;

    #[test]
    fn a_trial_too_short_for_its_bursts_or_flows_is_noted() {
        // (burst, flows of each lcore, intended packets per second, packets of each lcore in 0.01 s, note)
        type Row<'a> = (u32, &'a [u32], Option<f64>, &'a [u64], &'a [&'a str]);
        let rows: &[Row<'_>] = &[
            (1, &[50, 50], Some(1e4), &[50, 50], &[]),
            (1, &[500, 500], Some(1e4), &[50, 50], &["900 of 1000 flows had no packet: only 100 packets"]),
            (64, &[1], Some(1e3), &[64], &["10.0 packets per TX lcore were intended, and 64 leave together"]),
            (64, &[1], None, &[640], &[]),
            (32, &[4, 4], Some(1e4), &[64, 64], &[]),
            (1, &[], Some(1e3), &[10], &[]),
        ];
        for (burst, flows, intended_pps, packets, expected) in rows {
            let planned = Planned { burst: *burst, flows_per_lcore: flows.to_vec(), left_out: 0 };
            let counters = TransmitCounters { packets: packets.iter().sum(), ..TransmitCounters::default() };
            let transmit = TransmitReport {
                counters,
                intended_pps: *intended_pps,
                duration_s: 0.01,
                packets_per_lcore: packets.to_vec(),
                ..TransmitReport::default()
            };
            let notes = planned.notes(&transmit);
            assert_eq!(notes.len(), expected.len(), "{notes:?}");
            for (note, part) in notes.iter().zip(*expected) {
                assert!(note.contains(part), "{note}");
            }
        }
    }

    #[test]
    fn lcores_that_a_ceiling_keeps_from_sending_are_noted() {
        let planned = Planned { left_out: 3, ..Planned::default() };
        let transmit = TransmitReport { packets_per_lcore: vec![7], ..TransmitReport::default() };
        let notes = planned.notes(&transmit);
        assert!(matches!(&notes[..], [note] if note.contains("3 of 4 TX lcores did not send")), "{notes:?}");
    }
}
