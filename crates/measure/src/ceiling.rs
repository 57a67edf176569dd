//! Ceilings on the rate of a worker. Pure.
//!
//! A ceiling holds within any 10 ms ([`WINDOW_S`]), for all workers of a sender together. Each worker gets a
//! share of the packets that the ceiling admits in that time, and remembers the packets it handed to the port
//! in the last 10 ms. So neither a debt nor a step of the load nor a full port makes a worker exceed its
//! share.

use std::collections::VecDeque;
use std::sync::Arc;

use linerate_traffic::safety::{WINDOW_PS, WINDOW_S};

/// Slots per window. Packets within a slot count as sent at the slot's end. The slots bound the memory of a
/// window; a load as high as its ceiling loses at most 0.01 %.
const SLOTS: u64 = 10_000;
/// Bursts per window from which a worker needs no spare burst: a late poll then costs less than a hundredth
/// of the load.
const MANY_BURSTS: f64 = 100.0;
/// A number of bursts that exceeds a whole number by less than this is rounded down to it, since rates are
/// inexact.
const ROUNDING: f64 = 1e-9;

/// A worker's share of a ceiling.
#[derive(Debug, Clone, PartialEq)]
pub enum Ceiling {
    /// Packets within any 10 ms.
    Packets(u64),
    /// Frames of a recording, which repeats: the picoseconds that each frame takes at the ceiling, in order.
    /// The frames within any 10 ms may take 10 ms, plus one frame.
    Frames(Arc<[u64]>),
}

/// Number of workers, at most `most`, that may send under a ceiling of `admitted` packets within any 10 ms,
/// and the share of each; no shares without a ceiling. Worker *i* modulo their number sends flow *i*;
/// together they send at most `peak_pps` packets per second, in bursts of `burst`.
pub fn workers_under(
    admitted: Option<u64>,
    most: u32,
    flows: u32,
    (burst, peak_pps): (u32, f64),
) -> (u32, Vec<u64>) {
    let Some(admitted) = admitted else { return (most, Vec::new()) };
    let among = |workers: u32| {
        let of_flows = |worker: u32| f64::from((flows - worker).div_ceil(workers)) / f64::from(flows);
        let peaks: Vec<f64> = (0..workers).map(|worker| peak_pps * of_flows(worker)).collect();
        Some((workers, shares(admitted, burst, &peaks)?))
    };
    (1..=most).rev().find_map(among).unwrap_or_default()
}

/// Divides the packets that a ceiling admits within any 10 ms among workers with these highest loads, in
/// packets per second; each worker sends bursts of `burst` packets. `None` when several workers need more
/// than the ceiling admits; a single worker gets all packets.
pub(super) fn shares(admitted: u64, burst: u32, peaks_pps: &[f64]) -> Option<Vec<u64>> {
    if peaks_pps.len() < 2 {
        return Some(vec![admitted; peaks_pps.len()]);
    }
    let burst = u64::from(burst.max(1));
    let need = |pps: &f64| {
        let bursts = pps * WINDOW_S / burst as f64;
        let whole =
            if bursts < MANY_BURSTS { (bursts + ROUNDING).floor() + 1.0 } else { (bursts - ROUNDING).ceil() };
        (whole as u64).saturating_mul(burst)
    };
    let needs: Vec<u64> = peaks_pps.iter().map(need).collect();
    let spare = admitted.checked_sub(needs.iter().fold(0, |sum, need| sum.saturating_add(*need)))?;
    let total: f64 = peaks_pps.iter().sum();
    let share = |pps: &f64| if total > 0.0 { (spare as f64 * (pps / total)) as u64 } else { 0 };
    // A product of large numbers may be rounded up.
    let mut left = spare;
    let with_spare = needs.iter().zip(peaks_pps).map(|(need, pps)| {
        let more = share(pps).min(left);
        left -= more;
        need + more
    });
    Some(with_spare.collect())
}

/// The packets that a worker sent within the last 10 ms, compared with its share of a ceiling.
#[derive(Debug)]
pub(super) struct Window {
    ceiling: Ceiling,
    /// Lengths of the window and of a slot, in ticks.
    width: u64,
    slot: u64,
    /// Index of the recording's next frame.
    next: usize,
    /// Packets, or picoseconds, in all slots.
    within: u64,
    slots: VecDeque<Slot>,
}

/// Packets of one slot.
#[derive(Debug, Clone, Copy)]
struct Slot {
    first: u64,
    last: u64,
    amount: u64,
}

impl Window {
    pub(super) fn new(ceiling: Ceiling, tick_hz: f64) -> Self {
        let width = (tick_hz * WINDOW_S).ceil() as u64;
        Self { ceiling, width, slot: width / SLOTS, next: 0, within: 0, slots: VecDeque::new() }
    }

    /// How many of the next `most` packets may leave now.
    pub(super) fn admits(&mut self, now: u64, most: u64) -> u64 {
        while let Some(slot) = self.slots.front().filter(|slot| now.saturating_sub(slot.last) >= self.width) {
            self.within = self.within.saturating_sub(slot.amount);
            self.slots.pop_front();
        }
        match &self.ceiling {
            Ceiling::Packets(share) => share.saturating_sub(self.within).min(most),
            Ceiling::Frames(times) => {
                let (mut within, mut count) = (self.within, 0);
                for time in over_and_over(times, self.next) {
                    if count == most || within > WINDOW_PS {
                        break;
                    }
                    within = within.saturating_add(*time);
                    count += 1;
                }
                count
            }
        }
    }

    /// Counts packets that the port has accepted by now.
    pub(super) fn left(&mut self, now: u64, packets: u64) {
        let amount = match &self.ceiling {
            Ceiling::Packets(_) => packets,
            Ceiling::Frames(times) => {
                let frames = over_and_over(times, self.next).take(packets as usize);
                let amount = frames.fold(0u64, |sum, time| sum.saturating_add(*time));
                self.next = (self.next + packets as usize) % times.len().max(1);
                amount
            }
        };
        self.within = self.within.saturating_add(amount);
        match self.slots.back_mut().filter(|slot| now.saturating_sub(slot.first) < self.slot) {
            Some(slot) => {
                slot.last = now;
                slot.amount = slot.amount.saturating_add(amount);
            }
            None => self.slots.push_back(Slot { first: now, last: now, amount }),
        }
    }
}

/// The numbers from `first` on, repeated from the beginning.
fn over_and_over(numbers: &[u64], first: usize) -> impl Iterator<Item = &u64> {
    let (before, from) = numbers.split_at_checked(first).unwrap_or((numbers, &[]));
    from.iter().chain(before).cycle()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_what_a_ceiling_admits() {
        // (packets admitted, burst, highest loads, shares)
        type Row<'a> = (u64, u32, &'a [f64], Option<&'a [u64]>);
        let rows: &[Row<'_>] = &[
            (11, 1, &[1000.0], Some(&[11])),
            (11, 1, &[500.0, 500.0], None),
            (12, 1, &[500.0, 500.0], Some(&[6, 6])),
            (101, 1, &[500.0, 500.0], Some(&[50, 50])),
            (101, 1, &[6_000.0, 3_000.0], Some(&[67, 34])),
            (101, 11, &[500.0, 500.0], Some(&[50, 50])),
            (101, 64, &[500.0, 500.0], None),
            // As many as the ceiling admits, at the ceiling itself.
            (200_001, 1, &[10e6, 10e6], Some(&[100_000, 100_000])),
            (200_001, 1, &[5e6, 5e6, 5e6, 5e6], Some(&[50_000, 50_000, 50_000, 50_000])),
            (5, 1, &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], None),
            (5, 1, &[0.0, 0.0], Some(&[1, 1])),
        ];
        for (admitted, burst, peaks, expected) in rows {
            let found = shares(*admitted, *burst, peaks);
            assert_eq!(found.as_deref(), *expected, "{admitted} {burst} {peaks:?}");
            assert!(found.iter().flatten().sum::<u64>() <= *admitted, "{found:?}");
        }
    }

    #[test]
    fn a_window_forgets_after_10_ms_and_not_before() {
        let mut window = Window::new(Ceiling::Packets(11), 1e9);
        assert_eq!((window.admits(0, 5), window.admits(0, 99)), (5, 11));
        window.left(0, 4);
        window.left(3_000_000, 7);
        assert_eq!((window.admits(3_000_000, 9), window.admits(9_999_999, 9)), (0, 0));
        assert_eq!(window.admits(10_000_000, 9), 4);
        window.left(10_000_000, 4);
        assert_eq!((window.admits(12_999_999, 9), window.admits(13_000_000, 9)), (0, 7));
        // Packets within a millionth of a second leave the window together, at the time of the last one.
        let mut window = Window::new(Ceiling::Packets(4), 1e9);
        for at in [0, 400, 999, 1_000] {
            window.left(at, 1);
        }
        let admitted = [10_000_998, 10_000_999, 10_001_000].map(|at| window.admits(at, 9));
        assert_eq!(admitted, [0, 3, 4]);
    }

    #[test]
    fn frames_of_a_recording_count_by_their_time_at_the_ceiling() {
        // 4 ms, 4 ms, 8 ms, repeated: the frame that exceeds the window is admitted, and no frame after it.
        let times: Arc<[u64]> = [4u64, 4, 8].map(|ms| ms * 1_000_000_000).into();
        let mut window = Window::new(Ceiling::Frames(times), 1e9);
        assert_eq!((window.admits(0, 9), window.admits(0, 2)), (3, 2));
        window.left(0, 3);
        assert_eq!(window.admits(9_999_999, 9), 0);
        assert_eq!(window.admits(10_000_000, 9), 3);
        window.left(10_000_000, 2);
        window.left(11_000_000, 1);
        assert_eq!((window.admits(19_999_999, 9), window.admits(20_000_000, 9)), (0, 1));
    }

    #[test]
    fn as_many_workers_send_as_a_ceiling_admits() {
        // (packets admitted within 10 ms, most workers, flows, burst, highest load, workers, shares)
        type Row<'a> = (Option<u64>, u32, u32, u32, f64, u32, &'a [u64]);
        let rows: &[Row<'_>] = &[
            (None, 4, 9, 1, 1e3, 4, &[]),
            (Some(11), 4, 9, 1, 1e3, 2, &[6, 5]),
            (Some(11), 4, 9, 1, 500.0, 4, &[3, 2, 2, 2]),
            (Some(2), 4, 9, 1, 100.0, 2, &[1, 1]),
            (Some(101), 4, 8, 1, 1e3, 4, &[25, 25, 25, 25]),
            (Some(101), 2, 3, 1, 9e3, 2, &[67, 34]),
            (Some(101), 2, 2, 64, 1e3, 1, &[101]),
            (Some(200_001), 2, 2, 1, 20e6, 2, &[100_000, 100_000]),
        ];
        for (admitted, most, flows, burst, peak, workers, shares) in rows {
            let found = workers_under(*admitted, *most, *flows, (*burst, *peak));
            assert_eq!(found, (*workers, shares.to_vec()), "{admitted:?} {most} {flows} {burst} {peak}");
        }
    }
}
