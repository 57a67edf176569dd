//! From what is wanted and what there is to places and values. Pure.

use std::collections::BTreeMap;

use linerate_hardware::CpuSet;

use crate::Error;
use crate::place::{Place, Value};

/// Most flows that RFS follows.
const MOST_FLOWS: u32 = 1 << 20;

/// Which queues RSS uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RssWish {
    /// All of them.
    On,
    /// The first one only.
    Off,
    /// The first so many.
    Queues(u32),
}

/// Which CPUs process what any receive queue received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RpsWish {
    /// All CPUs online that are not isolated.
    On,
    /// The CPU that the queue's interrupt comes to.
    Off,
    /// These.
    Cpus(CpuSet),
}

/// What is wanted. `None`: as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Numbers of queues by kind; under the empty name: of the kind that the driver has.
    pub channels: Option<BTreeMap<String, u32>>,
    /// Descriptors by kind of ring; under the empty name: of both.
    pub rings: Option<BTreeMap<String, u32>>,
    /// Interrupt coalescing, by ethtool's names.
    pub coalesce: Option<BTreeMap<String, u32>>,
    /// Receive side scaling: the device chooses the queue.
    pub rss: Option<RssWish>,
    /// CPUs to which the interrupts of the queues are dealt out.
    pub irq_cpus: Option<CpuSet>,
    /// Transmit packet steering: each CPU sends on a queue of its own, or (false) on any.
    pub xps: Option<bool>,
    /// Receive packet steering: software chooses the CPU.
    pub rps: Option<RpsWish>,
    /// Receive flow steering: flows that are followed, 0 for none.
    pub rfs: Option<u32>,
    /// Frequency governor of all CPUs online.
    pub governor: Option<String>,
}

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// Receive queues.
    pub rx: Vec<u32>,
    /// Transmit queues.
    pub tx: Vec<u32>,
    /// Interrupts of queues: number, name, and the queue's number where it is known.
    pub irqs: Vec<(u32, String, Option<u32>)>,
    /// CPUs online.
    pub online: CpuSet,
    /// CPUs that are isolated: the kernel leaves them out of RPS.
    pub isolated: CpuSet,
    /// Entries of the RSS table; 0 without one.
    pub rss_entries: usize,
    /// Receive rings among which it chooses.
    pub rss_rings: u32,
    /// The highest number of queues by kind.
    pub channel_limits: BTreeMap<String, u32>,
}

/// A setting that is wanted.
pub type Step = (Place, Value);

impl Wanted {
    /// True when nothing is wanted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// True when a setting of the whole host is wanted.
    pub fn is_host_wide(&self) -> bool {
        self.rfs.is_some() || self.governor.is_some()
    }

    /// What makes queues anew, and comes before all else.
    ///
    /// # Errors
    /// When it cannot be; the driver has the last word.
    pub fn first(&self, layout: &Layout) -> Result<Vec<Step>, Error> {
        let mut steps = Vec::new();
        if let Some(channels) = &self.channels {
            let has = |name: &str| layout.channel_limits.get(name).is_some_and(|most| *most > 0);
            let kinds: &[&str] = if has("combined") { &["combined"] } else { &["rx", "tx"] };
            let channels = named(channels, kinds);
            for (name, number) in &channels {
                let most = layout.channel_limits.get(name).copied();
                if let Some(most) = most.filter(|most| number > most) {
                    return Err(Error::Other(format!(
                        "--channels {name}={number}: the driver has at most {most}"
                    )));
                }
            }
            steps.push((Place::Channels, Value::Fields(channels)));
        }
        if let Some(rings) = &self.rings {
            steps.push((Place::Rings, Value::Fields(named(rings, &["rx", "tx"]))));
        }
        Ok(steps)
    }

    /// Everything else, for the queues and interrupts that there are then.
    ///
    /// # Errors
    /// When there is nothing that could be set.
    pub fn second(&self, layout: &Layout) -> Result<Vec<Step>, Error> {
        let mut steps = Vec::new();
        let nothing = |what: &str| Err(Error::Other(what.to_owned()));
        if let Some(rss) = self.rss {
            let queues = match rss {
                RssWish::On => layout.rss_rings,
                RssWish::Off => 1,
                RssWish::Queues(queues) => queues,
            };
            if layout.rss_entries == 0 {
                return nothing("--rss: the interface has no RSS table");
            }
            if queues == 0 || queues > layout.rss_rings {
                return Err(Error::Other(format!(
                    "--rss {queues}: the interface has {} RX rings",
                    layout.rss_rings
                )));
            }
            let table = (0..layout.rss_entries as u32).map(|entry| entry % queues).collect();
            steps.push((Place::RssTable, Value::Table(table)));
        }
        if let Some(coalesce) = &self.coalesce {
            steps.push((Place::Coalesce, Value::Fields(coalesce.clone())));
        }
        if let Some(cpus) = &self.irq_cpus {
            let cpus = self.online("--irq-cpus", cpus, layout)?;
            if layout.irqs.is_empty() {
                return nothing("--irq-cpus: the interface has no interrupts of its own");
            }
            for (place, (irq, action, queue)) in layout.irqs.iter().enumerate() {
                let turn = queue.map_or(place, |queue| queue as usize);
                let Some(cpu) = cpus.get(turn % cpus.len()) else { continue };
                let value = Value::cpus(&[*cpu].into_iter().collect());
                steps.push((Place::IrqAffinity { irq: *irq, action: action.clone() }, value));
            }
        }
        let lacks = |option: &str, kind: &str| {
            Err(Error::Other(format!(
                "{option}: this kernel shows no {kind} queues of the interface in /sys"
            )))
        };
        if self.xps.is_some() && layout.tx.is_empty() {
            return lacks("--xps", "transmit");
        }
        if (self.rps.is_some() || self.rfs.is_some()) && layout.rx.is_empty() {
            return lacks("--rps and --rfs", "receive");
        }
        if let Some(xps) = self.xps {
            for (turn, queue) in layout.tx.iter().enumerate() {
                let of_queue =
                    layout.online.iter().enumerate().filter(|(at, _)| at % layout.tx.len() == turn);
                let cpus = of_queue.map(|(_, cpu)| cpu).filter(|_| xps).collect();
                steps.push((Place::XpsCpus { queue: *queue }, Value::cpus(&cpus)));
            }
        }
        if let Some(rps) = &self.rps {
            let cpus = match rps {
                RpsWish::On => layout.online.without(&layout.isolated),
                RpsWish::Off => CpuSet::default(),
                RpsWish::Cpus(cpus) => {
                    let usable = cpus.without(&layout.isolated);
                    let isolated = cpus.without(&usable);
                    if !isolated.is_empty() {
                        return Err(Error::Other(format!(
                            "--rps {cpus}: the kernel does no RPS on isolated CPUs (isolcpus, nohz_full), such as {isolated}: leave them out"
                        )));
                    }
                    self.online("--rps", cpus, layout)?.into_iter().collect()
                }
            };
            steps
                .extend(layout.rx.iter().map(|queue| (Place::RpsCpus { queue: *queue }, Value::cpus(&cpus))));
        }
        if let Some(flows) = self.rfs {
            // The kernel takes powers of two, and flow counts of queues that add up to the table.
            if flows > MOST_FLOWS {
                return nothing(&format!(
                    "--rfs {flows}: at most {MOST_FLOWS}; the kernel keeps a table of so many entries for each queue"
                ));
            }
            let flows = if flows == 0 { 0 } else { flows.next_power_of_two() };
            let queues = layout.rx.len().max(1) as u32;
            let each = if flows == 0 { 0 } else { flows.div_ceil(queues).next_power_of_two() };
            steps.push((Place::RpsSockFlowEntries, Value::Number(flows.into())));
            let of_queue = |queue: &u32| (Place::RpsFlowCnt { queue: *queue }, Value::Number(each.into()));
            steps.extend(layout.rx.iter().map(of_queue));
        }
        if let Some(governor) = &self.governor {
            let value = Value::Word(governor.clone());
            steps.extend(layout.online.iter().map(|cpu| (Place::Governor { cpu }, value.clone())));
        }
        steps.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(steps)
    }

    fn online(&self, option: &str, cpus: &CpuSet, layout: &Layout) -> Result<Vec<u32>, Error> {
        let absent = cpus.without(&layout.online);
        if cpus.is_empty() || !absent.is_empty() {
            return Err(Error::Other(format!("{option} {cpus}: online are the CPUs {}", layout.online)));
        }
        Ok(cpus.iter().collect())
    }

    /// Places that have their old value in the journal: those that are wanted, and with another number of queues or
    /// descriptors all that a driver may set back.
    pub fn affected(&self, layout: &Layout) -> Vec<Place> {
        let mut places = Vec::new();
        let renews = self.channels.is_some() || self.rings.is_some();
        let mut add = |is_wanted: bool, place: Place| {
            if is_wanted {
                places.push(place);
            }
        };
        add(renews, Place::Channels);
        add(renews, Place::Rings);
        add(renews || self.rss.is_some(), Place::RssTable);
        add(renews || self.coalesce.is_some(), Place::Coalesce);
        for (irq, action, _) in &layout.irqs {
            let place = Place::IrqAffinity { irq: *irq, action: action.clone() };
            add(renews || self.irq_cpus.is_some(), place);
        }
        for queue in &layout.tx {
            add(renews || self.xps.is_some(), Place::XpsCpus { queue: *queue });
        }
        for queue in &layout.rx {
            add(renews || self.rps.is_some(), Place::RpsCpus { queue: *queue });
            add(renews || self.rfs.is_some(), Place::RpsFlowCnt { queue: *queue });
        }
        add(self.rfs.is_some(), Place::RpsSockFlowEntries);
        for cpu in layout.online.iter() {
            add(self.governor.is_some(), Place::Governor { cpu });
        }
        places.sort();
        places
    }
}

/// A number without a name is that of all these names.
fn named(numbers: &BTreeMap<String, u32>, names: &[&str]) -> BTreeMap<String, u32> {
    let mut all = numbers.clone();
    if let Some(number) = all.remove("") {
        all.extend(names.iter().map(|name| ((*name).to_owned(), number)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout {
            rx: vec![0, 1],
            tx: vec![0, 1],
            irqs: (0..2).map(|queue| (40 + queue, format!("eth0-TxRx-{queue}"), Some(queue))).collect(),
            online: "0-2".parse().unwrap(),
            isolated: CpuSet::default(),
            rss_entries: 4,
            rss_rings: 2,
            channel_limits: [("combined".to_owned(), 4), ("rx".to_owned(), 0)].into(),
        }
    }

    fn cpus(text: &str) -> CpuSet {
        text.parse().unwrap()
    }

    fn shown(steps: Result<Vec<Step>, Error>) -> String {
        let line = |(place, value): Step| match value {
            Value::Table(table) => format!("{place} = {table:?}"),
            value => format!("{place} = {value}"),
        };
        match steps {
            Ok(steps) => steps.into_iter().map(line).collect::<Vec<_>>().join("; "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn wishes_become_values_of_places() {
        let none = Wanted::default;
        for (wanted, expected) in [
            (none(), ""),
            (Wanted { rss: Some(RssWish::On), ..none() }, "RSS table = [0, 1, 0, 1]"),
            (Wanted { rss: Some(RssWish::Off), ..none() }, "RSS table = [0, 0, 0, 0]"),
            (Wanted { rss: Some(RssWish::Queues(3)), ..none() }, "--rss 3: the interface has 2 RX rings"),
            (Wanted { rps: Some(RpsWish::On), ..none() }, "rx-0 rps_cpus = 0-2; rx-1 rps_cpus = 0-2"),
            (Wanted { rps: Some(RpsWish::Off), ..none() }, "rx-0 rps_cpus = none; rx-1 rps_cpus = none"),
            (Wanted { rps: Some(RpsWish::Cpus(cpus("5"))), ..none() }, "--rps 5: online are the CPUs 0-2"),
            (Wanted { xps: Some(true), ..none() }, "tx-0 xps_cpus = 0,2; tx-1 xps_cpus = 1"),
            (Wanted { xps: Some(false), ..none() }, "tx-0 xps_cpus = none; tx-1 xps_cpus = none"),
            (
                Wanted { irq_cpus: Some(cpus("2")), ..none() },
                "irq 40 (eth0-TxRx-0) affinity = 2; irq 41 (eth0-TxRx-1) affinity = 2",
            ),
            (
                Wanted { irq_cpus: Some(cpus("1-2")), ..none() },
                "irq 40 (eth0-TxRx-0) affinity = 1; irq 41 (eth0-TxRx-1) affinity = 2",
            ),
            (
                Wanted { rfs: Some(5000), ..none() },
                "rps_sock_flow_entries = 8192; rx-0 rps_flow_cnt = 4096; rx-1 rps_flow_cnt = 4096",
            ),
            (
                Wanted { rfs: Some(0), ..none() },
                "rps_sock_flow_entries = 0; rx-0 rps_flow_cnt = 0; rx-1 rps_flow_cnt = 0",
            ),
            (
                Wanted { governor: Some("performance".into()), ..none() },
                "cpu0 governor = performance; cpu1 governor = performance; cpu2 governor = performance",
            ),
        ] {
            assert_eq!(shown(wanted.second(&layout())), expected, "{wanted:?}");
        }
        let isolated = Layout { isolated: cpus("2"), ..layout() };
        let rps = |wish| shown(Wanted { rps: Some(wish), ..none() }.second(&isolated));
        assert_eq!(rps(RpsWish::On), "rx-0 rps_cpus = 0-1; rx-1 rps_cpus = 0-1");
        assert!(rps(RpsWish::Cpus(cpus("1-2"))).contains("such as 2: leave them out"));
        assert_eq!(rps(RpsWish::Cpus(cpus("1"))), "rx-0 rps_cpus = 1; rx-1 rps_cpus = 1");
        let bare = Layout { online: cpus("0"), ..Layout::default() };
        assert!(shown(Wanted { rss: Some(RssWish::On), ..none() }.second(&bare)).contains("no RSS table"));
        assert!(
            shown(Wanted { rps: Some(RpsWish::Off), ..none() }.second(&bare)).contains("no receive queues")
        );
        assert!(shown(Wanted { xps: Some(true), ..none() }.second(&bare)).contains("no transmit queues"));
        let irqs = Wanted { irq_cpus: Some(cpus("0")), ..none() };
        assert!(shown(irqs.second(&bare)).contains("no interrupts of its own"));
    }

    #[test]
    fn a_number_of_queues_is_of_the_kind_that_the_driver_has() {
        let wanted = |name: &str, number| Wanted {
            channels: Some([(name.to_owned(), number)].into()),
            rings: Some([(name.to_owned(), 512)].into()),
            ..Wanted::default()
        };
        assert_eq!(shown(wanted("", 4).first(&layout())), "channels = combined 4; rings = rx 512, tx 512");
        assert_eq!(shown(wanted("", 5).first(&layout())), "--channels combined=5: the driver has at most 4");
        assert_eq!(shown(wanted("rx", 1).first(&layout())), "--channels rx=1: the driver has at most 0");
        let split = Layout { channel_limits: BTreeMap::new(), ..layout() };
        assert_eq!(shown(wanted("", 2).first(&split)), "channels = rx 2, tx 2; rings = rx 512, tx 512");
    }

    #[test]
    fn another_number_of_queues_has_everything_of_a_queue_in_the_journal() {
        let rps = Wanted { rps: Some(RpsWish::On), ..Wanted::default() };
        let kinds = |wanted: Wanted| wanted.affected(&layout()).len();
        assert_eq!(kinds(rps), 2);
        let channels = Wanted { channels: Some([(String::new(), 4)].into()), ..Wanted::default() };
        assert_eq!(kinds(channels), 4 + 2 + 2 + 4);
        assert_eq!(kinds(Wanted { rfs: Some(1), governor: Some("x".into()), ..Wanted::default() }), 3 + 3);
    }
}
