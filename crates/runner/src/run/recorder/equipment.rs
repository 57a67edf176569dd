//! What a resumed run compares: the programs and the equipment of the trials recorded earlier.

use linerate_results::store::environment::Changes;
use linerate_results::summary::Versions;

use super::{Recorder, add};
use crate::run::group::Group;

impl Recorder<'_> {
    /// Programs that differ from those of the trials recorded earlier; `None` when they are the same, or when
    /// nothing is recorded.
    pub(in crate::run) fn other_programs(&self, groups: &[Group]) -> Option<String> {
        let first = groups.first()?.agents.first()?;
        let (agent, dpdk) = (&first.session.welcome().agent, &first.engine().dpdk);
        let Versions { agent: before_agent, dpdk: before_dpdk, .. } = &self.head.experiment.versions;
        let differs = |name: &str, before: &Option<String>, now: &str| {
            let before = before.as_deref().filter(|before| *before != now)?;
            Some(format!("{name} is {now} and was {before}"))
        };
        let first = self.first_recorded.as_ref().filter(|_| before_dpdk.is_some())?;
        differs("the agents' program", before_agent, agent)
            .or_else(|| differs("DPDK", before_dpdk, dpdk))
            .map(|what| {
                format!("{what} when {first} was run: results would not compare; run without --resume")
            })
    }

    /// Differences that make the agents' equipment another kind than that of the trials recorded earlier;
    /// `None` when there are none, or when nothing is recorded.
    pub(in crate::run) fn other_equipment(&self, groups: &[Group]) -> Option<String> {
        let first = self.first_recorded.as_ref()?;
        let mut now = self.environment.clone();
        now.clear_agents();
        add(&mut now, groups);
        let is_here = |name: &str| now.agent(name).is_some();
        let mut periods = self.environment.periods.iter().rev();
        let last = periods.find(|period| period.agents.iter().any(|agent| is_here(&agent.name)))?;
        let changes = Changes::between(last, &now.period(0)).incomparable;
        (!changes.is_empty()).then(|| {
            format!(
                "{} when {first} was run: results would not compare; run without --resume",
                changes.join(", ")
            )
        })
    }
}
