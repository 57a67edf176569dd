//! `spec.topology`: the agents, and the connections between them. Pure.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::direction::Direction;
use crate::ranged::Ranged;
use crate::topology::{AgentNode, Topology};

/// Longest name of a network interface, as the kernel has it.
const LONGEST_INTERFACE: usize = 15;

/// The agents of an experiment, and which of them send to which.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TopologySection {
    /// Which agents send to which.
    pub kind: TopologyKind,
    /// Number of agents of a mesh; of a star, the target included. Pairs are counted by `spec.pairs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agents: Option<Ranged<2, 1000>>,
    /// Interfaces of every agent that carry streams; a pair of agents has a connection on each. Left out: one connection, where the kernel
    /// routes it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceName>,
    /// Which pairs of agents use which of the interfaces; the first rule that holds for a pair. Pairs without a rule use all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<InterfaceRule>,
}

/// Which agents send to which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TopologyKind {
    /// Each transmitter to its receiver.
    #[default]
    Pairs,
    /// Each agent to every other.
    Mesh,
    /// Each client to the one target.
    Star,
}

impl std::fmt::Display for TopologyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TopologyKind::Pairs => "pairs",
            TopologyKind::Mesh => "mesh",
            TopologyKind::Star => "star",
        })
    }
}

/// Interfaces of some pairs of agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InterfaceRule {
    /// The pairs, by the nodes of their agents.
    pub nodes: NodeRelation,
    /// The interfaces that they use; none: they have no connection.
    pub interfaces: Vec<InterfaceName>,
}

/// Nodes of two agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum NodeRelation {
    /// Both agents are on one node.
    Same,
    /// They are on two nodes.
    Different,
}

/// Name of a network interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if (1..=LONGEST_INTERFACE).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.')
        {
            return Ok(Self(name));
        }
        Err(format!(
            "'{name}' is not a name of an interface: 1 to {LONGEST_INTERFACE} letters, digits, dashes, dots and underscores, such as net1"
        ))
    }
}

impl From<InterfaceName> for String {
    fn from(name: InterfaceName) -> String {
        name.0
    }
}

/// Streams from one agent to another, on one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its number in the trial, from 0.
    pub number: u32,
    /// Its name, such as `a0-a1` or, with several interfaces, `a0-a1:net1`.
    pub name: String,
    /// The agent that sends, by its place among all agents.
    pub from: usize,
    /// The agent that receives.
    pub to: usize,
    /// The interface of both ends; `None`: the kernel's choice.
    pub interface: Option<InterfaceName>,
}

/// Agents of an experiment of streams, and rules for the connections between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamsTopology {
    topology: Topology,
    section: TopologySection,
}

impl TopologySection {
    /// Checks the section alone.
    ///
    /// # Errors
    /// Field, reason and remedy.
    pub(crate) fn check(&self, pairs: u32) -> Result<(), String> {
        match (self.kind, self.agents) {
            (TopologyKind::Pairs, Some(agents)) => {
                return Err(format!(
                    "spec.topology.agents: {} given for pairs, which spec.pairs counts; set spec.topology.kind to mesh or star, or spec.pairs",
                    agents.get()
                ));
            }
            (kind @ (TopologyKind::Mesh | TopologyKind::Star), agents) => {
                if agents.is_none() {
                    return Err(format!(
                        "spec.topology.agents: missing; a {kind} needs the number of its agents, such as 4"
                    ));
                }
                if pairs != 1 {
                    return Err(format!(
                        "spec.pairs: {pairs} given beside a {kind}; set spec.topology.agents, and leave spec.pairs out"
                    ));
                }
            }
            (TopologyKind::Pairs, None) => {}
        }
        let mut names = std::collections::BTreeSet::new();
        if let Some(twice) = self.interfaces.iter().find(|name| !names.insert(*name)) {
            return Err(format!("spec.topology.interfaces: {} stands twice; remove one", twice.as_str()));
        }
        for (index, rule) in self.rules.iter().enumerate() {
            if let Some(unknown) = rule.interfaces.iter().find(|name| !self.interfaces.contains(name)) {
                return Err(format!(
                    "spec.topology.rules[{index}].interfaces: {} is none of spec.topology.interfaces; add it there",
                    unknown.as_str()
                ));
            }
        }
        Ok(())
    }

    /// Agents and rules of the section.
    pub(crate) fn build(&self, pairs: Range<usize>, direction: Direction) -> StreamsTopology {
        let count = self.agents.map_or(0, |agents| agents.get() as usize);
        let names = |count: usize, letter: &str| {
            (0..count).map(|number| format!("{letter}{number}")).collect::<Vec<_>>()
        };
        let topology = match self.kind {
            TopologyKind::Pairs => Topology::pairs(pairs, direction),
            TopologyKind::Mesh => Topology::mesh(&names(count, "a")),
            TopologyKind::Star => Topology::star(&names(count.saturating_sub(1), "c"), "target", direction),
        };
        StreamsTopology { topology, section: self.clone() }
    }
}

impl StreamsTopology {
    /// Kind of the topology.
    pub fn kind(&self) -> TopologyKind {
        self.section.kind
    }

    /// All agents, in order.
    pub fn agents(&self) -> Vec<AgentNode> {
        self.topology.agents().cloned().collect()
    }

    /// Interfaces that carry streams; empty: the kernel's choice.
    pub fn interfaces(&self) -> &[InterfaceName] {
        &self.section.interfaces
    }

    /// Connections, with the node of each agent; agents whose node is not known count as on different nodes.
    pub fn connections(&self, nodes: &[String]) -> Vec<Connection> {
        let mut connections = Vec::new();
        let mut first = 0;
        for group in &self.topology.groups {
            for path in &group.paths {
                let (from, to) = (first + path.from, first + path.to);
                let mut add = |name: String, interface: Option<&InterfaceName>| {
                    let number = connections.len() as u32;
                    connections.push(Connection { number, name, from, to, interface: interface.cloned() });
                };
                let used = self.interfaces_of(nodes.get(from), nodes.get(to));
                match used {
                    None => add(path.name.clone(), None),
                    Some(used) if self.section.interfaces.len() == 1 => {
                        used.iter().for_each(|interface| add(path.name.clone(), Some(interface)));
                    }
                    Some(used) => {
                        used.iter().for_each(|one| add(format!("{}:{}", path.name, one.as_str()), Some(one)));
                    }
                }
            }
            first += group.agents.len();
        }
        connections
    }

    /// Interfaces of a pair; `None`: the kernel's choice.
    fn interfaces_of(&self, from: Option<&String>, to: Option<&String>) -> Option<&[InterfaceName]> {
        let TopologySection { interfaces, rules, .. } = &self.section;
        if interfaces.is_empty() {
            return None;
        }
        let relation = match (from, to) {
            (Some(from), Some(to)) if from == to => NodeRelation::Same,
            _ => NodeRelation::Different,
        };
        let rule = rules.iter().find(|rule| rule.nodes == relation);
        Some(rule.map_or(interfaces, |rule| &rule.interfaces))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> TopologySection {
        serde_saphyr::from_str(text).unwrap()
    }

    fn names(connections: &[Connection]) -> Vec<&str> {
        connections.iter().map(|connection| connection.name.as_str()).collect()
    }

    #[test]
    fn a_mesh_has_a_connection_for_each_way_and_interface() {
        let mesh =
            section("{kind: mesh, agents: 49, interfaces: [net0, net1]}").build(0..1, Direction::OneWay);
        let here = vec!["n".to_owned(); 49];
        let connections = mesh.connections(&here);
        assert_eq!(connections.len(), 49 * 48 * 2);
        assert_eq!(names(&connections[..3]), ["a0-a1:net0", "a0-a1:net1", "a0-a2:net0"]);
        assert!(connections.iter().enumerate().all(|(index, one)| one.number as usize == index));
        let one = section("{kind: mesh, agents: 2, interfaces: [net0]}").build(0..1, Direction::OneWay);
        assert_eq!(names(&one.connections(&here)), ["a0-a1", "a1-a0"]);
    }

    #[test]
    fn rules_choose_interfaces_by_nodes() {
        let text = "{kind: mesh, agents: 3, interfaces: [eth0, net1], rules: [{nodes: different, interfaces: [net1]}, {nodes: same, interfaces: [eth0]}]}";
        let mesh = section(text).build(0..1, Direction::OneWay);
        let nodes = ["n0", "n0", "n1"].map(String::from);
        let connections = mesh.connections(&nodes);
        let used: Vec<_> = connections.iter().map(|one| one.interface.as_ref().unwrap().as_str()).collect();
        assert_eq!(used, ["eth0", "net1", "eth0", "net1", "net1", "net1"]);
        let none =
            section("{kind: mesh, agents: 2, interfaces: [eth0], rules: [{nodes: same, interfaces: []}]}");
        assert!(none.build(0..1, Direction::OneWay).connections(&nodes).is_empty());
    }

    #[test]
    fn pairs_and_stars_have_connections_too() {
        let pairs = TopologySection::default().build(0..2, Direction::Bidirectional);
        let connections = pairs.connections(&[]);
        assert_eq!(names(&connections), ["tx0-rx0", "rx0-tx0", "tx1-rx1", "rx1-tx1"]);
        assert_eq!((connections[3].from, connections[3].to, connections[3].interface.as_ref()), (3, 2, None));
        let star = section("{kind: star, agents: 3}").build(0..1, Direction::OneWay);
        assert_eq!(names(&star.connections(&[])), ["c0-target", "c1-target"]);
        let both = section("{kind: star, agents: 2}").build(0..1, Direction::Bidirectional);
        assert_eq!(names(&both.connections(&[])), ["c0-target", "target-c0"]);
    }

    #[test]
    fn mistakes_name_the_field_and_the_remedy() {
        for (text, pairs, part) in [
            ("{agents: 3}", 1, "spec.topology.agents: 3 given for pairs"),
            ("{kind: mesh}", 1, "spec.topology.agents: missing"),
            ("{kind: mesh, agents: 3}", 2, "spec.pairs: 2 given beside a mesh"),
            ("{interfaces: [a, a]}", 1, "a stands twice"),
            (
                "{interfaces: [a], rules: [{nodes: same, interfaces: [b]}]}",
                1,
                "rules[0].interfaces: b is none of",
            ),
        ] {
            let problem = section(text).check(pairs).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
        let bad = serde_saphyr::from_str::<TopologySection>("{interfaces: ['a/b']}").unwrap_err().to_string();
        assert!(bad.contains("not a name of an interface"), "{bad}");
    }
}
