//! Topology: the agents of a trial, and the paths of packets between them. Pure.
//!
//! Agents that exchange packets form a [`Group`]. When an agent is lost, the trial is repeated for its whole
//! group. At present, documents describe pairs: groups of two agents each.

use std::ops::Range;

use linerate_wire::report::Part;
use linerate_wire::trial::Role;

use crate::direction::Direction;

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentNode {
    /// Its name, such as `tx0`.
    pub name: String,
    /// Its role, which selects the settings of the document.
    pub role: Role,
}

/// A path of packets from the agent that sends to the agent that counts. Agents are positions in their group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Its name, such as `tx0-rx0`, under which results are stored.
    pub name: String,
    /// The agent that sends.
    pub from: usize,
    /// The agent that counts; in a round trip, the sender.
    pub to: usize,
    /// The reflector of a round trip.
    pub reflector: Option<usize>,
}

impl Path {
    /// The agent that packets are addressed to.
    pub fn far(&self) -> usize {
        self.reflector.unwrap_or(self.to)
    }
}

/// Agents that exchange packets only with each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name in messages, such as `tx0-rx0`.
    pub name: String,
    /// Its agents.
    pub agents: Vec<AgentNode>,
    /// The paths of a trial between them; each has a result.
    pub paths: Vec<Path>,
}

impl Group {
    /// A pair of agents, such as `tx0` and `rx0`.
    pub fn pair(number: usize, direction: Direction) -> Self {
        let agent = |role: Role| AgentNode { name: format!("{role}{number}"), role };
        let agents = vec![agent(Role::Tx), agent(Role::Rx)];
        let path = |from: usize, to: usize, reflector: Option<usize>| {
            let far: &AgentNode = &agents[reflector.unwrap_or(to)];
            Path { name: format!("{}-{}", agents[from].name, far.name), from, to, reflector }
        };
        let paths = match direction {
            Direction::OneWay => vec![path(0, 1, None)],
            Direction::Bidirectional => vec![path(0, 1, None), path(1, 0, None)],
            Direction::RoundTrip => vec![path(0, 0, Some(1))],
        };
        Self { name: paths[0].name.clone(), agents, paths }
    }

    /// Part of an agent on these `paths` of its group; `None`: it has none.
    pub fn part(agent: usize, paths: &[Path]) -> Option<Part> {
        let sends = paths.iter().any(|path| path.from == agent);
        let counts = paths.iter().any(|path| path.to == agent);
        match (sends, counts) {
            (true, true) => Some(Part::Exchange),
            (true, false) => Some(Part::Tx),
            (false, true) => Some(Part::Rx),
            (false, false) => paths.iter().any(|path| path.reflector == Some(agent)).then_some(Part::Reflect),
        }
    }
}

/// All agents and paths of an experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// Groups, each independent of the others.
    pub groups: Vec<Group>,
}

impl Topology {
    /// Pairs of agents with these numbers.
    pub fn pairs(numbers: Range<usize>, direction: Direction) -> Self {
        Self { groups: numbers.map(|number| Group::pair(number, direction)).collect() }
    }

    /// Agents without paths, each in a group of its own.
    pub fn single(agents: Vec<AgentNode>) -> Self {
        let group =
            |agent: AgentNode| Group { name: agent.name.clone(), agents: vec![agent], paths: Vec::new() };
        Self { groups: agents.into_iter().map(group).collect() }
    }

    /// A full mesh: each of `names` sends to every other, on n (n − 1) paths.
    pub fn mesh(names: &[String]) -> Self {
        let agents: Vec<AgentNode> =
            names.iter().map(|name| AgentNode { name: name.clone(), role: Role::Tx }).collect();
        let ordered = (0..agents.len())
            .flat_map(|from| (0..agents.len()).filter(move |to| *to != from).map(move |to| (from, to)));
        let paths = ordered.map(|(from, to)| between(&agents, from, to)).collect();
        Self { groups: vec![Group { name: "mesh".to_owned(), agents, paths }] }
    }

    /// A star: each of `clients` sends to `target`, and `target` to each of them when both ways are loaded.
    pub fn star(clients: &[String], target: &str, direction: Direction) -> Self {
        let client = |name: &String| AgentNode { name: name.clone(), role: Role::Tx };
        let mut agents: Vec<AgentNode> = clients.iter().map(client).collect();
        agents.push(AgentNode { name: target.to_owned(), role: Role::Rx });
        let to = agents.len() - 1;
        let both = direction == Direction::Bidirectional;
        let ways = |client| [(client, to), (to, client)].into_iter().take(1 + usize::from(both));
        let paths = (0..to).flat_map(ways).map(|(from, to)| between(&agents, from, to)).collect();
        Self { groups: vec![Group { name: target.to_owned(), agents, paths }] }
    }

    /// All agents, group by group.
    pub fn agents(&self) -> impl Iterator<Item = &AgentNode> {
        self.groups.iter().flat_map(|group| &group.agents)
    }

    /// All paths, group by group; each has a result in every trial.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.groups.iter().flat_map(|group| &group.paths)
    }
}

fn between(agents: &[AgentNode], from: usize, to: usize) -> Path {
    Path { name: format!("{}-{}", agents[from].name, agents[to].name), from, to, reflector: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<'a>(paths: impl Iterator<Item = &'a Path>) -> Vec<&'a str> {
        paths.map(|path| path.name.as_str()).collect()
    }

    #[test]
    fn a_pair_has_a_path_for_each_way_that_is_counted() {
        use Part::{Exchange, Reflect, Rx, Tx};
        for (direction, paths, parts) in [
            (Direction::OneWay, &["tx3-rx3"][..], [Tx, Rx]),
            (Direction::Bidirectional, &["tx3-rx3", "rx3-tx3"], [Exchange, Exchange]),
            (Direction::RoundTrip, &["tx3-rx3"], [Exchange, Reflect]),
        ] {
            let group = Group::pair(3, direction);
            assert_eq!(names(group.paths.iter()), paths);
            assert_eq!(group.name, "tx3-rx3");
            assert_eq!([0, 1].map(|agent| Group::part(agent, &group.paths)), parts.map(Some));
            assert_eq!(group.paths[0].far(), 1);
        }
        let none = Group::part(1, &Group::pair(0, Direction::OneWay).paths[..0]);
        assert_eq!(none, None);
    }

    #[test]
    fn pairs_are_independent_and_a_mesh_is_one_group() {
        let pairs = Topology::pairs(0..2, Direction::OneWay);
        assert_eq!(pairs.groups.len(), 2);
        assert_eq!(names(pairs.paths()), ["tx0-rx0", "tx1-rx1"]);
        let all: Vec<_> = pairs.agents().map(|agent| agent.name.as_str()).collect();
        assert_eq!(all, ["tx0", "rx0", "tx1", "rx1"]);

        let mesh = Topology::mesh(&["a", "b", "c"].map(String::from));
        assert_eq!(names(mesh.paths()), ["a-b", "a-c", "b-a", "b-c", "c-a", "c-b"]);
        assert_eq!(Group::part(1, &mesh.groups[0].paths), Some(Part::Exchange));
    }

    #[test]
    fn a_star_has_a_path_from_every_client_to_the_target() {
        let star = Topology::star(&["c0", "c1"].map(String::from), "lb", Direction::OneWay);
        assert_eq!(names(star.paths()), ["c0-lb", "c1-lb"]);
        let group = &star.groups[0];
        assert_eq!(
            (Group::part(0, &group.paths), Group::part(2, &group.paths)),
            (Some(Part::Tx), Some(Part::Rx))
        );
    }
}
