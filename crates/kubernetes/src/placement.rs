//! Placement of pods on nodes, and the shortage when there is no room. Pure. All pods of an experiment
//! request the same resources, so a node's room is a number of pods.

use std::collections::BTreeMap;
use std::fmt;

use super::pods::Amount;
use linerate_experiment::kubernetes::{NodePair, PlacementRule};
use linerate_experiment::quantity::Bytes;

/// A node with its free resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Allocatable minus requested amounts in thousandths, by resource.
    pub free: BTreeMap<String, u128>,
    /// Why the node takes no pods of Linerate.
    pub closed: Option<String>,
}

/// The nodes of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Node of the transmitter.
    pub tx: String,
    /// Node of the receiver.
    pub rx: String,
}

/// A shortage on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// The node.
    pub node: String,
    /// The reason.
    pub lack: Lack,
}

/// Reason of a shortage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// Too little of a resource, in thousandths.
    Resource {
        /// Its name.
        resource: String,
        /// Amount that the remaining pods need there.
        wanted: u128,
        /// Amount that is left for them.
        available: u128,
    },
    /// The node takes no pods.
    Closed(String),
    /// The node does not exist.
    Unknown,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, lack } = self;
        match lack {
            Lack::Resource { resource, wanted, available } => write!(
                f,
                "node {node}: {resource}: wanted {}, available {}",
                shown(resource, *wanted),
                shown(resource, *available)
            ),
            Lack::Closed(reason) => write!(f, "node {node}: {reason}"),
            Lack::Unknown => write!(f, "node {node}: there is no such node"),
        }
    }
}

/// An amount in human-readable form.
pub fn shown(resource: &str, milli: u128) -> String {
    let bytes = resource == "memory" || resource == "ephemeral-storage" || resource.starts_with("hugepages-");
    match u64::try_from(milli / 1000) {
        Ok(0) if milli == 0 => "0".to_owned(),
        // Free memory is rarely a whole number of gibibytes; mebibytes are precise enough for a comparison.
        Ok(whole) if bytes && whole >= 1 << 20 => Bytes(whole >> 20 << 20).to_string(),
        Ok(whole) if milli.is_multiple_of(1000) => whole.to_string(),
        _ => format!("{milli}m"),
    }
}

/// The pods do not fit. Nothing was created.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pair {pair} of {pairs} has no place ({rule}):\n{}", lines(shortages))]
pub struct NoRoom {
    /// The first pair without room.
    pub pair: usize,
    /// Number of pairs.
    pub pairs: usize,
    /// Description of the rule.
    pub rule: &'static str,
    /// The shortages, by node.
    pub shortages: Vec<Shortage>,
}

fn lines(shortages: &[Shortage]) -> String {
    if shortages.is_empty() {
        return "  the cluster has no node".to_owned();
    }
    shortages.iter().map(|shortage| format!("  {shortage}")).collect::<Vec<_>>().join("\n")
}

fn words(rule: PlacementRule) -> &'static str {
    match rule {
        PlacementRule::Any => "on any nodes",
        PlacementRule::SameNode => "both pods on one node",
        PlacementRule::DifferentNodes => "its pods on two nodes",
    }
}

/// Chooses a node for every pod: named nodes first, then by `rule`, each time the node with most room.
///
/// # Errors
/// The shortages for the first pair without room.
pub fn place(
    pairs: usize,
    rule: PlacementRule,
    named: &[NodePair],
    wanted: &BTreeMap<String, Amount>,
    nodes: &[Node],
) -> Result<Vec<Placed>, NoRoom> {
    let mut room: Vec<usize> = nodes.iter().map(|node| slots(node, wanted)).collect();
    let mut placed: Vec<Option<Placed>> = vec![None; pairs];
    let is_named =
        |pair: &usize| named.get(*pair).is_some_and(|nodes| nodes.tx.is_some() || nodes.rx.is_some());
    let order = (0..pairs).filter(is_named).chain((0..pairs).filter(|pair| !is_named(pair)));
    for pair in order {
        let names = named.get(pair).cloned().unwrap_or_default();
        let (tx, rx) = choose(nodes, &mut room, rule, &names).ok_or_else(|| NoRoom {
            pair,
            pairs,
            rule: words(rule),
            shortages: shortages(nodes, &room, rule, &names, wanted),
        })?;
        placed[pair] = Some(Placed { tx: nodes[tx].name.clone(), rx: nodes[rx].name.clone() });
    }
    Ok(placed.into_iter().flatten().collect())
}

/// Number of pods that fit on a node.
fn slots(node: &Node, wanted: &BTreeMap<String, Amount>) -> usize {
    if node.closed.is_some() {
        return 0;
    }
    let fits =
        |(name, amount): (&String, &Amount)| node.free.get(name).copied().unwrap_or(0) / amount.milli.max(1);
    let most = wanted.iter().map(fits).chain(node.free.get("pods").map(|pods| pods / 1000)).min();
    most.map_or(0, |most| usize::try_from(most).unwrap_or(usize::MAX))
}

fn choose(
    nodes: &[Node],
    room: &mut [usize],
    rule: PlacementRule,
    names: &NodePair,
) -> Option<(usize, usize)> {
    let index =
        |name: &Option<String>| name.as_ref().map(|name| nodes.iter().position(|node| node.name == *name));
    let (tx_named, rx_named) = (index(&names.tx), index(&names.rx));
    let candidates = |fixed: Option<Option<usize>>| match fixed {
        Some(one) => one.into_iter().collect::<Vec<_>>(),
        None => (0..nodes.len()).collect(),
    };
    let mut best: Option<(usize, (usize, usize))> = None;
    let fixed = tx_named.is_some() && rx_named.is_some();
    for tx in candidates(tx_named) {
        for rx in candidates(rx_named) {
            let allowed = match rule {
                // Both nodes are named, so the rule does not apply.
                _ if fixed => true,
                PlacementRule::Any => true,
                PlacementRule::SameNode => tx == rx,
                PlacementRule::DifferentNodes => tx != rx,
            };
            let fits = if tx == rx { room[tx] >= 2 } else { room[tx] >= 1 && room[rx] >= 1 };
            let score = if tx == rx { room[tx] } else { room[tx].saturating_add(room[rx]) };
            if allowed && fits && best.is_none_or(|(most, _)| score > most) {
                best = Some((score, (tx, rx)));
            }
        }
    }
    let (_, (tx, rx)) = best?;
    room[tx] -= 1;
    room[rx] -= 1;
    Some((tx, rx))
}

fn shortages(
    nodes: &[Node],
    room: &[usize],
    rule: PlacementRule,
    names: &NodePair,
    wanted: &BTreeMap<String, Amount>,
) -> Vec<Shortage> {
    let mut found: Vec<Shortage> = [&names.tx, &names.rx]
        .into_iter()
        .flatten()
        .filter(|name| nodes.iter().all(|node| node.name != **name))
        .map(|name| Shortage { node: name.clone(), lack: Lack::Unknown })
        .collect();
    let concerned = |node: &Node| {
        let named = [&names.tx, &names.rx].into_iter().flatten().count();
        named < 2 || [&names.tx, &names.rx].into_iter().flatten().any(|name| *name == node.name)
    };
    for (node, &left) in nodes.iter().zip(room).filter(|(node, _)| concerned(node)) {
        let need = if rule == PlacementRule::SameNode { 2 } else { 1 };
        if let Some(reason) = &node.closed {
            found.push(Shortage { node: node.name.clone(), lack: Lack::Closed(reason.clone()) });
            continue;
        }
        if left >= need {
            continue;
        }
        // The pods placed before have used their part.
        let taken = (slots(node, wanted) - left) as u128;
        for (resource, amount) in wanted {
            let available =
                node.free.get(resource).copied().unwrap_or(0).saturating_sub(taken * amount.milli);
            let wanted = amount.milli * need as u128;
            if available < wanted {
                let lack = Lack::Resource { resource: resource.clone(), wanted, available };
                found.push(Shortage { node: node.name.clone(), lack });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, cpu: u128, devices: u128) -> Node {
        let free = [("cpu", cpu * 1000), ("intel.com/dpdk", devices * 1000), ("pods", 110_000)];
        Node {
            name: name.into(),
            free: free.into_iter().map(|(name, milli)| (name.to_owned(), milli)).collect(),
            closed: None,
        }
    }

    fn wanted() -> BTreeMap<String, Amount> {
        let amount = |number: u128| Amount { milli: number * 1000, text: number.to_string() };
        BTreeMap::from([("cpu".to_owned(), amount(2)), ("intel.com/dpdk".to_owned(), amount(1))])
    }

    fn placed(pairs: usize, rule: PlacementRule, named: &[NodePair], nodes: &[Node]) -> Vec<String> {
        let placed = place(pairs, rule, named, &wanted(), nodes).unwrap();
        placed.iter().map(|pair| format!("{}-{}", pair.tx, pair.rx)).collect()
    }

    #[test]
    fn rules_are_kept_and_room_is_shared_out() {
        let nodes = [node("a", 8, 8), node("b", 4, 8), node("c", 4, 8)];
        assert_eq!(placed(2, PlacementRule::SameNode, &[], &nodes), ["a-a", "a-a"]);
        assert_eq!(placed(4, PlacementRule::DifferentNodes, &[], &nodes), ["a-b", "a-c", "a-b", "a-c"]);
        assert_eq!(placed(4, PlacementRule::Any, &[], &nodes).len(), 4);
        let named = [NodePair { tx: Some("c".into()), rx: None }];
        assert_eq!(placed(1, PlacementRule::DifferentNodes, &named, &nodes), ["c-a"]);
        let both = [NodePair { tx: Some("c".into()), rx: Some("c".into()) }];
        assert_eq!(placed(1, PlacementRule::DifferentNodes, &both, &nodes), ["c-c"], "named beats the rule");
    }

    #[test]
    fn shortages_name_node_resource_wanted_and_available() {
        let mut closed = node("c", 64, 64);
        closed.closed = Some("it is cordoned".into());
        let nodes = [node("a", 4, 1), node("b", 1, 5), closed];
        let error = place(2, PlacementRule::DifferentNodes, &[], &wanted(), &nodes).unwrap_err();
        assert_eq!(
            error.to_string(),
            "pair 0 of 2 has no place (its pods on two nodes):\n  node b: cpu: wanted 2, available 1\n  node c: it is cordoned"
        );
        let error = place(1, PlacementRule::SameNode, &[], &wanted(), &nodes[..1]).unwrap_err();
        assert!(error.to_string().contains("node a: intel.com/dpdk: wanted 2, available 1"), "{error}");
        let named = [NodePair { tx: Some("z".into()), rx: None }];
        let error = place(1, PlacementRule::Any, &named, &wanted(), &nodes).unwrap_err();
        assert!(error.to_string().contains("node z: there is no such node"), "{error}");
        let error = place(1, PlacementRule::Any, &[], &wanted(), &[]).unwrap_err();
        assert!(error.to_string().contains("no node"), "{error}");
    }

    #[test]
    fn amounts_are_shown_in_their_units() {
        for (resource, milli, text) in [
            ("cpu", 1500, "1500m"),
            ("cpu", 2000, "2"),
            ("memory", (3u128 << 30) * 1000, "3Gi"),
            ("hugepages-2Mi", 0, "0"),
            ("intel.com/dpdk", 4000, "4"),
        ] {
            assert_eq!(shown(resource, milli), text);
        }
    }
}
