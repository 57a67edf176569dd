//! A histogram of delays that costs a few instructions per packet.
//!
//! Buckets are log-linear, 128 to each power of two, so a bucket is at most 0.8 % wide. Values are ticks,
//! converted to nanoseconds on reading. (A general HDR histogram checks its range and resizes on each record;
//! here the range is fixed to that of a probe's time.)

use linerate_wire::report::{Distribution, Latency, LatencySummary};

/// Miri takes half a second to look through all buckets once.
const LINEAR_BITS: u32 = if cfg!(miri) { 3 } else { 7 };
const LINEAR: u64 = 1 << LINEAR_BITS;
/// Largest recordable delay: half the range of a probe's 40-bit time.
const LARGEST: u64 = (1 << 39) - 1;
const BUCKETS: usize = bucket_of(LARGEST) + 1;

const fn bucket_of(value: u64) -> usize {
    if value < LINEAR {
        return value as usize;
    }
    let shift = 63 - value.leading_zeros() - LINEAR_BITS;
    ((shift as usize) << LINEAR_BITS) + (value >> shift) as usize
}

/// Largest value that falls into a bucket.
fn upper_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * LINEAR {
        return bucket;
    }
    let shift = (bucket >> LINEAR_BITS) - 1;
    (((bucket & (LINEAR - 1)) + LINEAR + 1) << shift) - 1
}

/// Times that one lcore measured, in ticks: delays of packets, or intervals between packets.
#[derive(Debug, Clone)]
pub struct TickHistogram {
    counts: Box<[u64; BUCKETS]>,
    negative: u64,
    min: u64,
    max: u64,
    sum: u128,
}

impl Default for TickHistogram {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), negative: 0, min: u64::MAX, max: 0, sum: 0 }
    }
}

impl TickHistogram {
    /// Records one delay. A negative delay (the clocks disagree) counts as zero and increments its own
    /// counter.
    #[inline(always)]
    pub fn record(&mut self, ticks: i64) {
        self.negative += u64::from(ticks < 0);
        self.record_times(ticks.max(0) as u64, 1);
    }

    /// Records the same time `count` times.
    #[inline(always)]
    pub fn record_times(&mut self, ticks: u64, count: u64) {
        let ticks = ticks.min(LARGEST);
        self.counts[bucket_of(ticks)] += count;
        self.sum += u128::from(ticks) * u128::from(count);
        self.min = self.min.min(ticks);
        self.max = self.max.max(ticks);
    }

    /// Sum of all times, in ticks.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// Adds another lcore's times.
    pub fn merge(&mut self, other: &TickHistogram) {
        self.counts.iter_mut().zip(other.counts.iter()).for_each(|(mine, theirs)| *mine += theirs);
        self.negative += other.negative;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// The delays in nanoseconds, given the clock's frequency in Hz; `None` when there are none.
    pub fn read_delays(&self, tick_hz: u64) -> Option<Latency> {
        let Distribution { summary, histogram } = self.read(tick_hz)?;
        let less_min = |figure: u64| figure.saturating_sub(summary.min);
        let variation = LatencySummary {
            min: 0,
            p50: less_min(summary.p50),
            p90: less_min(summary.p90),
            p99: less_min(summary.p99),
            p999: less_min(summary.p999),
            max: less_min(summary.max),
            mean: less_min(summary.mean),
        };
        Some(Latency { summary, variation, negative: self.negative, histogram })
    }

    /// The distribution in nanoseconds, given the clock's frequency in Hz; `None` when empty.
    pub fn read(&self, tick_hz: u64) -> Option<Distribution> {
        let total: u64 = self.counts.iter().sum();
        if total == 0 {
            return None;
        }
        let ns = |ticks: u64| (u128::from(ticks) * 1_000_000_000 / u128::from(tick_hz.max(1))) as u64;
        let percentile = |share: f64| {
            let rank = ((total as f64 * share).ceil() as u64).clamp(1, total);
            let mut seen = 0;
            let bucket = self.counts.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            ns(bucket.map_or(self.max, upper_bound).clamp(self.min, self.max))
        };
        Some(Distribution {
            summary: LatencySummary {
                min: ns(self.min),
                p50: percentile(0.5),
                p90: percentile(0.9),
                p99: percentile(0.99),
                p999: percentile(0.999),
                max: ns(self.max),
                mean: ns((self.sum / u128::from(total)) as u64),
            },
            histogram: (0..BUCKETS)
                .filter(|bucket| self.counts[*bucket] > 0)
                .map(|bucket| (ns(upper_bound(bucket)), self.counts[bucket]))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_narrow() {
        assert_eq!(bucket_of(0), 0);
        for bucket in 1..BUCKETS {
            let (below, upper) = (upper_bound(bucket - 1), upper_bound(bucket));
            assert_eq!(bucket_of(below + 1), bucket);
            assert_eq!(bucket_of(upper), bucket);
            assert!((upper - below) as f64 <= 1.0 + upper as f64 / LINEAR as f64, "bucket {bucket}");
        }
        assert_eq!(upper_bound(BUCKETS - 1), LARGEST);
    }

    #[test]
    fn figures_are_within_a_bucket_of_the_truth() {
        let mut histogram = TickHistogram::default();
        let mut other = TickHistogram::default();
        let step = if cfg!(miri) { 10_000 } else { 1000 };
        for delay in 1..=10_000_000 / step {
            if delay % 2 == 0 { &mut histogram } else { &mut other }.record(delay * step);
        }
        histogram.merge(&other);
        let latency = histogram.read_delays(1_000_000_000).unwrap();
        let LatencySummary { min, p50, p90, p99, p999, max, mean } = latency.summary;
        let step = step as u64;
        assert_eq!((min, max, mean), (step, 10_000_000, 5_000_000 + step / 2));
        assert_eq!((latency.variation.max, latency.variation.p50), (max - min, p50 - min));
        for (figure, truth) in
            [(p50, 5_000_000.0), (p90, 9_000_000.0), (p99, 9_900_000.0), (p999, 9_990_000.0)]
        {
            let most = truth * (1.0 + 1.0 / LINEAR as f64);
            assert!((truth..=most).contains(&(figure as f64)), "{figure} for {truth}");
        }
        assert_eq!(latency.histogram.iter().map(|(_, count)| count).sum::<u64>(), 10_000_000 / step);
        assert_eq!(TickHistogram::default().read(1), None);
    }

    #[test]
    fn extremes_stay_in_range() {
        let mut histogram = TickHistogram::default();
        for ticks in [i64::MIN, -1, 0, i64::MAX] {
            histogram.record(ticks);
        }
        let latency = histogram.read_delays(2_000_000_000).unwrap();
        assert_eq!((latency.negative, latency.summary.min, latency.summary.max), (2, 0, LARGEST / 2));
    }
}
