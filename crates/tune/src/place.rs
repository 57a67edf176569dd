//! One setting of the kernel, and its value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use linerate_hardware::CpuSet;
use serde::{Deserialize, Serialize};

/// Where a setting is kept. Their order is that of writing: a driver that is given another number of queues makes
/// queues and interrupts anew, so everything of a queue comes after it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Number of queues by kind (`ethtool -L`).
    Channels,
    /// Descriptors of rings (`ethtool -G`).
    Rings,
    /// Which hash value goes to which queue (`ethtool -X`).
    RssTable,
    /// Interrupt coalescing (`ethtool -C`).
    Coalesce,
    /// CPUs that may handle an interrupt (`/proc/irq/N/smp_affinity_list`).
    IrqAffinity {
        /// Its number.
        irq: u32,
        /// Who handles it; stays when the driver takes other numbers.
        action: String,
    },
    /// CPUs that send on a queue (`queues/tx-N/xps_cpus`).
    XpsCpus {
        /// Number of the queue.
        queue: u32,
    },
    /// CPUs that process what a queue received (`queues/rx-N/rps_cpus`).
    RpsCpus {
        /// Number of the queue.
        queue: u32,
    },
    /// Flows of the whole host that RFS follows (`net.core.rps_sock_flow_entries`).
    RpsSockFlowEntries,
    /// Flows of a queue that RFS follows (`queues/rx-N/rps_flow_cnt`).
    RpsFlowCnt {
        /// Number of the queue.
        queue: u32,
    },
    /// Frequency governor of a CPU.
    Governor {
        /// Number of the CPU.
        cpu: u32,
    },
}

impl Place {
    /// True for settings of the whole host, which interfaces share.
    pub fn is_host_wide(&self) -> bool {
        matches!(self, Self::RpsSockFlowEntries | Self::Governor { .. })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channels => f.write_str("channels"),
            Self::Rings => f.write_str("rings"),
            Self::RssTable => f.write_str("RSS table"),
            Self::Coalesce => f.write_str("coalescing"),
            Self::IrqAffinity { irq, action } if action.is_empty() => write!(f, "irq {irq} affinity"),
            Self::IrqAffinity { irq, action } => write!(f, "irq {irq} ({action}) affinity"),
            Self::XpsCpus { queue } => write!(f, "tx-{queue} xps_cpus"),
            Self::RpsCpus { queue } => write!(f, "rx-{queue} rps_cpus"),
            Self::RpsSockFlowEntries => f.write_str("rps_sock_flow_entries"),
            Self::RpsFlowCnt { queue } => write!(f, "rx-{queue} rps_flow_cnt"),
            Self::Governor { cpu } => write!(f, "cpu{cpu} governor"),
        }
    }
}

/// A value of a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// CPUs in the kernel's list format, such as `0-3,8`; `none` without any.
    Cpus(String),
    /// A number.
    Number(u64),
    /// A name.
    Word(String),
    /// Numbers by name. As a wish it may lack some, which then stay as they are.
    Fields(BTreeMap<String, u32>),
    /// The queue of each hash value.
    Table(Vec<u32>),
}

impl Value {
    /// CPUs.
    pub fn cpus(cpus: &CpuSet) -> Self {
        Self::Cpus(cpus.to_string())
    }

    /// True when `now` is what this value asks for.
    pub fn is_met_by(&self, now: &Self) -> bool {
        match (self, now) {
            (Self::Fields(wanted), Self::Fields(now)) => {
                wanted.iter().all(|(name, value)| now.get(name) == Some(value))
            }
            _ => self == now,
        }
    }
}

/// Names and numbers, such as `rx 256, tx 256`.
pub fn list(fields: &BTreeMap<String, u32>) -> String {
    fields.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpus(text) | Self::Word(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Fields(fields) => f.write_str(&list(fields)),
            Self::Table(table) => {
                let used: BTreeSet<u32> = table.iter().copied().collect();
                let queues: CpuSet = used.iter().copied().collect();
                write!(f, "{} entries for queues {queues}", table.len())
            }
        }
    }
}

/// The kernel's mask of CPUs: hexadecimal words of 32 bits, highest first.
pub fn mask(cpus: &CpuSet) -> String {
    let mut words = vec![0u32; cpus.iter().max().unwrap_or(0) as usize / 32 + 1];
    for cpu in cpus.iter() {
        if let Some(word) = words.get_mut(cpu as usize / 32) {
            *word |= 1 << (cpu % 32);
        }
    }
    words.iter().rev().map(|word| format!("{word:08x}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_words_highest_first() {
        for (list, expected) in [
            ("", "00000000"),
            ("0-1", "00000003"),
            ("31,32", "00000001,80000000"),
            ("64", "00000001,00000000,00000000"),
        ] {
            let cpus: CpuSet = list.parse().unwrap();
            assert_eq!(mask(&cpus), expected);
            assert_eq!(CpuSet::from_mask(&mask(&cpus)), Ok(cpus));
        }
    }

    #[test]
    fn what_is_of_a_queue_comes_after_the_number_of_queues() {
        let mut places = [
            Place::RpsCpus { queue: 1 },
            Place::IrqAffinity { irq: 4, action: String::new() },
            Place::RssTable,
            Place::Channels,
            Place::RpsFlowCnt { queue: 0 },
            Place::RpsSockFlowEntries,
        ];
        places.sort();
        let names: Vec<String> = places.iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "channels",
                "RSS table",
                "irq 4 affinity",
                "rx-1 rps_cpus",
                "rps_sock_flow_entries",
                "rx-0 rps_flow_cnt"
            ]
        );
    }

    #[test]
    fn a_wish_for_some_fields_is_met_whatever_the_others_are() {
        let fields = |text: &[(&str, u32)]| {
            Value::Fields(text.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect())
        };
        assert!(fields(&[("rx", 1)]).is_met_by(&fields(&[("rx", 1), ("tx", 2)])));
        assert!(!fields(&[("rx", 1)]).is_met_by(&fields(&[("rx", 2), ("tx", 2)])));
        assert!(!fields(&[("rx", 1)]).is_met_by(&fields(&[])));
        assert!(!Value::Number(1).is_met_by(&Value::Word("1".to_owned())));
        assert_eq!(Value::Table(vec![0, 1, 3, 0]).to_string(), "4 entries for queues 0-1,3");
    }
}
