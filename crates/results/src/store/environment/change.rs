//! Differences between environment periods of an experiment. Pure.

use super::{AgentEnvironment, EnvironmentPeriod};
use crate::streams::StreamsAgentInfo;
use linerate_wire::host::HostInfo;

/// Differences between two periods of an experiment, as text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Another kind of equipment: results are not comparable.
    pub incomparable: Vec<String>,
    /// Another unit of the same kind, or another setting: results may be comparable, and the reader must
    /// know.
    pub noted: Vec<String>,
}

impl Changes {
    /// Differences of `now` from `before`. A value that is missing on either side is not a difference.
    pub fn between(before: &EnvironmentPeriod, now: &EnvironmentPeriod) -> Self {
        let mut changes = Self::default();
        for agent in &now.agents {
            let Some(earlier) = before.agents.iter().find(|earlier| earlier.name == agent.name) else {
                continue;
            };
            let mut compare = |is_kind: bool, what: &str, then: Option<String>, now: Option<String>| {
                let (Some(then), Some(now)) = (then, now) else { return };
                if then != now {
                    let change = format!("{}'s {what} is {now} and was {then}", agent.name);
                    if is_kind { changes.incomparable.push(change) } else { changes.noted.push(change) }
                }
            };
            for (is_kind, what, of) in OF_AGENT {
                compare(is_kind, what, of(earlier), of(agent));
            }
            let (then, now) = (before.host(&earlier.node), now.host(&agent.node));
            for (is_kind, what, of) in OF_HOST {
                compare(is_kind, what, then.and_then(of), now.and_then(of));
            }
        }
        for agent in &now.streams_agents {
            let earlier = before.streams_agents.iter().find(|earlier| earlier.name == agent.name);
            if let Some(earlier) = earlier {
                changes.of_streams((before, earlier), (now, agent));
            }
        }
        changes
    }

    fn of_streams(
        &mut self,
        (before, earlier): (&EnvironmentPeriod, &StreamsAgentInfo),
        (now, agent): (&EnvironmentPeriod, &StreamsAgentInfo),
    ) {
        let mut compare = |is_kind: bool, what: &str, then: Option<String>, now: Option<String>| {
            let (Some(then), Some(now)) = (then, now) else { return };
            if then != now {
                let change = format!("{}'s {what} is {now} and was {then}", agent.name);
                if is_kind { self.incomparable.push(change) } else { self.noted.push(change) }
            }
        };
        for (is_kind, what, of) in OF_STREAMS_AGENT {
            compare(is_kind, what, of(earlier), of(agent));
        }
        let (then, here) = (before.host(&earlier.node), now.host(&agent.node));
        for (is_kind, what, of) in OF_HOST {
            compare(is_kind, what, then.and_then(of), here.and_then(of));
        }
    }

    /// All differences.
    pub fn all(self) -> Vec<String> {
        [self.incomparable, self.noted].concat()
    }
}

/// True if a difference means another kind of equipment; the property's name; its value.
type Row<T> = (bool, &'static str, fn(&T) -> Option<String>);

const OF_AGENT: [Row<AgentEnvironment>; 12] = [
    (true, "program", |agent| Some(agent.version.clone())),
    (true, "DPDK", |agent| Some(agent.dpdk.clone())),
    (true, "image", |agent| agent.image_digest.clone()),
    (true, "poll mode driver", |agent| Some(agent.port.driver.clone())),
    (true, "kernel driver", |agent| agent.port.kernel_driver.clone()),
    (true, "firmware", |agent| agent.port.firmware.clone()),
    (true, "link speed in bit/s", |agent| agent.port.link_bps.map(|bps| bps.to_string())),
    (true, "use of hugepages", |agent| Some(agent.hugepages.to_string())),
    (false, "node", |agent| Some(agent.node.clone())),
    (false, "device", |agent| Some(agent.port.device.clone())),
    (false, "MTU", |agent| Some(agent.port.mtu.to_string())),
    (false, "list of lcores", |agent| Some(format!("{:?}", agent.lcores))),
];

const OF_STREAMS_AGENT: [Row<StreamsAgentInfo>; 5] = [
    (true, "program", |agent| Some(agent.version.clone())),
    (true, "image", |agent| agent.image_digest.clone()),
    (true, "congestion control", |agent| agent.congestion.clone()),
    (false, "node", |agent| Some(agent.node.clone())),
    (false, "number of workers", |agent| Some(agent.workers.to_string())),
];

const OF_HOST: [Row<HostInfo>; 7] = [
    (true, "kernel", |host| host.kernel.clone()),
    (true, "processor", |host| host.cpu_model.clone()),
    (true, "architecture", |host| Some(host.architecture.clone())),
    (false, "kernel command line", |host| host.kernel_command_line.clone()),
    (false, "frequency governor", |host| host.governor.clone()),
    (false, "simultaneous multithreading", |host| host.smt.map(|smt| smt.to_string())),
    (false, "list of isolated CPUs", |host| host.cpus_isolated.clone()),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::environment;
    use crate::store::environment::Environment;

    fn period(change: impl FnOnce(&mut Environment)) -> EnvironmentPeriod {
        let mut environment = environment("x", "quiet");
        change(&mut environment);
        environment.period(0)
    }

    #[test]
    fn another_kind_of_equipment_differs_from_another_piece_of_the_same_kind() {
        let before = period(|_| {});
        assert_eq!(Changes::between(&before, &period(|_| {})), Changes::default());
        let kinds: [fn(&mut Environment); 5] = [
            |environment| environment.agents[0].dpdk = "DPDK 1.2.3".into(),
            |environment| environment.agents[0].port.driver = "net_other".into(),
            |environment| environment.agents[0].version = "9.9.9".into(),
            |environment| environment.nodes[0].host.as_mut().unwrap().kernel = Some("9.9".into()),
            |environment| environment.nodes[0].host.as_mut().unwrap().cpu_model = Some("another".into()),
        ];
        for kind in kinds {
            let changes = Changes::between(&before, &period(kind));
            assert_eq!((changes.incomparable.len(), changes.noted.len()), (1, 0), "{changes:?}");
            assert!(
                changes.incomparable[0].contains(" is ") && changes.incomparable[0].contains(" and was ")
            );
        }
        let changes = Changes::between(
            &before,
            &period(|environment| environment.agents[0].port.device = "0000:09:00.1".into()),
        );
        assert_eq!((changes.incomparable.len(), changes.noted.len()), (0, 1), "{changes:?}");
        // The fixture's other node reports no host.
        let changes =
            Changes::between(&before, &period(|environment| environment.agents[0].node = "b".into()));
        assert_eq!((changes.incomparable.len(), changes.noted.len()), (0, 1), "{changes:?}");
    }
}
