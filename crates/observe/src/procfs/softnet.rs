//! `/proc/net/softnet_stat`: how each CPU of the node took packets from its queues.
//!
//! The kernel names no columns. Their number tells what they are, also where a distribution carried a newer
//! format to an older kernel: 9 or 10, 11 (with flow limits), 13 (Linux 5.10, with the length of the backlog
//! and the CPU's number) and 15 (Linux 6.4, with the two parts of the backlog).

use super::Content;
use crate::bytes::{hexadecimal, lines, words};
use crate::counter::{since, widen};

/// One CPU. The kernel counts in 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Row {
    /// Number of the CPU; `None` where the kernel does not tell: rows are the CPUs online, in order.
    pub cpu: Option<u32>,
    /// Packets taken.
    pub processed: u64,
    /// Packets dropped because the CPU's backlog was full.
    pub dropped: u64,
    /// Times that packets were left when a round's budget of packets or time was used up.
    pub squeezed: u64,
    /// Times that another CPU woke this one to take packets (RPS); `None` with 9 columns.
    pub received_rps: Option<u64>,
    /// Packets dropped by the flow limit; `None` with fewer than 11 columns.
    pub flow_limited: Option<u64>,
    /// Packets in the backlog now; `None` with fewer than 13 columns.
    pub backlog: Option<u64>,
}

impl Row {
    /// Counts since `then`; `None` when a counter was set back.
    pub fn since(&self, then: &Self) -> Option<Self> {
        let both = |now: Option<u64>, then: Option<u64>| since(now?, then?);
        Some(Self {
            cpu: self.cpu,
            processed: since(self.processed, then.processed)?,
            dropped: since(self.dropped, then.dropped)?,
            squeezed: since(self.squeezed, then.squeezed)?,
            received_rps: both(self.received_rps, then.received_rps),
            flow_limited: both(self.flow_limited, then.flow_limited),
            backlog: self.backlog,
        })
    }
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Softnet {
    /// A row per CPU that is online.
    pub rows: Vec<Row>,
}

impl Softnet {
    /// The row of a CPU. `online` are the numbers of the CPUs online, in order, for kernels that do not number
    /// the rows.
    pub fn cpu(&self, cpu: u32, online: impl IntoIterator<Item = u32>) -> Option<&Row> {
        // Mostly at the place of its number, unless CPUs before it are offline.
        let likely = self.rows.get(cpu as usize).filter(|row| row.cpu == Some(cpu));
        if let Some(row) = likely.or_else(|| self.rows.iter().find(|row| row.cpu == Some(cpu))) {
            return Some(row);
        }
        let place = online.into_iter().position(|number| number == cpu)?;
        self.rows.get(place).filter(|row| row.cpu.is_none())
    }

    /// Each row's counts since `then`; `None` when CPUs came or went, or a counter was set back.
    pub fn since(&self, then: &Self) -> Option<Self> {
        let same = self.rows.len() == then.rows.len();
        let pairs = self.rows.iter().zip(&then.rows).filter(|(now, then)| same && now.cpu == then.cpu);
        let rows: Vec<Row> = pairs.map(|(now, then)| now.since(then)).collect::<Option<_>>()?;
        (rows.len() == self.rows.len()).then_some(Self { rows })
    }

    /// Sums over all CPUs: packets taken, packets dropped, rounds squeezed.
    pub fn totals(&self) -> (u64, u64, u64) {
        let add = |sum: (u64, u64, u64), row: &Row| {
            (sum.0 + row.processed, sum.1 + row.dropped, sum.2 + row.squeezed)
        };
        self.rows.iter().fold((0, 0, 0), add)
    }
}

/// Most columns that are looked at.
const MOST_COLUMNS: usize = 32;

impl Content for Softnet {
    const PATH: &'static str = "proc/net/softnet_stat";

    fn parse(&mut self, bytes: &[u8], before: Option<&Self>) -> Result<(), &'static str> {
        const EXPECTED: &str = "expected a line of nine hexadecimal numbers or more for each CPU";
        self.rows.clear();
        for line in lines(bytes) {
            let mut columns = [0; MOST_COLUMNS];
            let mut count = 0;
            for (place, word) in columns.iter_mut().zip(words(line)) {
                *place = hexadecimal(word).and_then(|value| u32::try_from(value).ok()).ok_or(EXPECTED)?;
                count += 1;
            }
            if count < 9 {
                return Err(EXPECTED);
            }
            let cpu = (count >= 13).then_some(columns[12]);
            let last =
                before.and_then(|before| before.rows.get(self.rows.len())).filter(|row| row.cpu == cpu);
            let continued = |last: Option<u64>, column: usize| {
                last.map_or(u64::from(columns[column]), |last| widen(last, columns[column]))
            };
            self.rows.push(Row {
                cpu,
                processed: continued(last.map(|row| row.processed), 0),
                dropped: continued(last.map(|row| row.dropped), 1),
                squeezed: continued(last.map(|row| row.squeezed), 2),
                received_rps: (count >= 10).then(|| continued(last.and_then(|row| row.received_rps), 9)),
                flow_limited: (count >= 11).then(|| continued(last.and_then(|row| row.flow_limited), 10)),
                backlog: (count >= 13).then_some(u64::from(columns[11])),
            });
        }
        if self.rows.is_empty() { Err(EXPECTED) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, before: Option<&Softnet>) -> Softnet {
        let mut softnet = Softnet::default();
        softnet.parse(text.as_bytes(), before).unwrap();
        softnet
    }

    #[test]
    fn the_number_of_columns_tells_what_they_are() {
        let nine = "00000010 00000001 00000002 0 0 0 0 0 0\n";
        let row = read(nine, None).rows[0];
        assert_eq!((row.processed, row.dropped, row.squeezed), (16, 1, 2));
        assert_eq!((row.cpu, row.received_rps, row.flow_limited, row.backlog), (None, None, None, None));
        let row = read("1 2 3 0 0 0 0 0 0 a\n", None).rows[0];
        assert_eq!((row.received_rps, row.flow_limited), (Some(10), None));
        let row = read("1 2 3 0 0 0 0 0 0 a b\n", None).rows[0];
        assert_eq!((row.received_rps, row.flow_limited, row.cpu), (Some(10), Some(11), None));
        let row = read("1 2 3 0 0 0 0 0 0 a b c 5\n", None).rows[0];
        assert_eq!((row.flow_limited, row.backlog, row.cpu), (Some(11), Some(12), Some(5)));
        let row = read("1 2 3 0 0 0 0 0 0 a b c 5 9 3\n", None).rows[0];
        assert_eq!((row.backlog, row.cpu), (Some(12), Some(5)));
    }

    #[test]
    fn rows_belong_to_their_cpu_with_and_without_its_number() {
        let old = read("1 0 0 0 0 0 0 0 0 0\n2 0 0 0 0 0 0 0 0 0\n", None);
        assert_eq!(old.cpu(4, [0, 4]).map(|row| row.processed), Some(2));
        assert_eq!(old.cpu(1, [0, 4]), None);
        let new = read("1 0 0 0 0 0 0 0 0 0 0 0 0\n2 0 0 0 0 0 0 0 0 0 0 0 4\n", None);
        assert_eq!(new.cpu(4, [0, 4]).map(|row| row.processed), Some(2));
        assert_eq!(new.cpu(1, [0, 1]), None);
    }

    #[test]
    fn counters_wrap_and_cpus_come_and_go() {
        let then = read("fffffffe 0 0 0 0 0 0 0 0 0\n", None);
        let now = read("00000003 0 1 0 0 0 0 0 0 0\n", Some(&then));
        assert_eq!(now.since(&then).unwrap().totals(), (5, 0, 1));
        let two = read("1 0 0 0 0 0 0 0 0 0\n1 0 0 0 0 0 0 0 0 0\n", None);
        assert_eq!(two.since(&then), None);
    }

    #[test]
    fn another_form_is_refused() {
        for bad in ["", "1 2 3\n", "x 0 0 0 0 0 0 0 0\n", "123456789 0 0 0 0 0 0 0 0\n"] {
            assert!(Softnet::default().parse(bad.as_bytes(), None).is_err(), "{bad:?}");
        }
    }
}
