//! What is to be done: the document, read and checked once. Below [`Experiment`] nothing is checked again.

pub mod addresses;
pub mod agents;
pub mod determinants;
pub mod direction;
pub mod document;
pub mod kubernetes;
pub mod name;
mod overrides;
pub mod plan;
pub mod quantity;
pub mod ranged;
pub mod strategy;
pub mod topology;
pub mod yaml;

use std::path::{Path, PathBuf};

use linerate_traffic::limit::Limit;
use linerate_traffic::profile::{Profile, ProfileError};
use linerate_traffic::safety::{Ceilings, Origin, Safety};
use linerate_wire::trial::Role;
use serde_saphyr::{Location, Spanned};

use crate::yaml::{excerpt, line, place_of_message};
use agents::AgentsSection;
use direction::Direction;
use document::{Document, LocalSection, PlatformKind, Traffic, TrialDuration, TrialSection};
use kubernetes::{KubernetesSection, LinkKind, PlacementRule, ResourceName};
use topology::Topology;

pub use overrides::{Overrides, Setting};

/// The experiment that runs when no document is given.
pub const DEFAULT_DOCUMENT: &str = include_str!("../../../examples/first-light.yaml");
/// What the default document is called in messages.
pub const DEFAULT_ORIGIN: &str = "built-in first-light.yaml";

/// A valid experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// The document in force: every default filled in.
    pub document: Document,
    /// What is sent, in order; at least one, no two of one name.
    pub profiles: Vec<Profile>,
    /// Ceilings of this program's environment, which hold beside the document's.
    pub environment: Safety,
}

/// A document that is no experiment. The message names place, value, what is allowed, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// The file cannot be read.
    #[error("{}: {reason}; give the path of an experiment document, or none to run the built-in one", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// The text is not a document of the right form.
    #[error(
        "{origin}: {}\nrun `linerate schema experiment` for all fields and their ranges",
        excerpt(origin, problem)
    )]
    Form {
        /// The file.
        origin: String,
        /// Line, column, reason and excerpt.
        problem: Box<serde_saphyr::Error>,
    },
    /// The command line sets a field to what it cannot be.
    #[error("{option}: {problem}")]
    Setting {
        /// What the user wrote.
        option: String,
        /// Value, reason, what is allowed.
        problem: String,
    },
    /// The values do not go together.
    #[error("{origin}{}: {problem}", line(*.location))]
    Content {
        /// The file.
        origin: String,
        /// Where; unknown for defaults.
        location: Location,
        /// Field, value, reason and remedy.
        problem: String,
    },
}

impl Experiment {
    /// Reads a document from a file, or the built-in one.
    ///
    /// # Errors
    /// When the file cannot be read or is not a valid experiment.
    pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Self, ExperimentError> {
        let Some(path) = path else {
            return Self::parse(DEFAULT_DOCUMENT, DEFAULT_ORIGIN, overrides);
        };
        let text = std::fs::read_to_string(path)
            .map_err(|reason| ExperimentError::Unreadable { path: path.to_owned(), reason })?;
        Self::parse(&text, &path.display().to_string(), overrides)
    }

    /// Reads a document. `origin` names it in messages.
    ///
    /// # Errors
    /// When the text is not a valid experiment.
    pub fn parse(text: &str, origin: &str, overrides: &Overrides) -> Result<Self, ExperimentError> {
        let document: Document = serde_saphyr::from_str(text).map_err(|problem| ExperimentError::Form {
            origin: origin.to_owned(),
            problem: Box::new(problem),
        })?;
        let mut document = overrides.apply(document)?;
        // With settings of the command line, the document in force is not the text that the user wrote: places are looked up there.
        let wrong = |location: Location, problem: String| {
            let location = if overrides.is_empty() { location } else { place_of_message(text, &problem) };
            ExperimentError::Content { origin: origin.to_owned(), location, problem }
        };
        let profiles = profiles(&mut document).map_err(|(location, problem)| wrong(location, problem))?;
        if let Some(devices) = &document.spec.local.devices {
            let pairs = document.spec.pairs.0.get_u32() as usize;
            if devices.value.len() != pairs {
                let problem = format!(
                    "spec.local.devices: {} entries for {pairs} pairs; give one for each pair, or set spec.pairs",
                    devices.value.len()
                );
                return Err(wrong(devices.referenced, problem));
            }
        }
        check_addresses(&document).map_err(|(location, problem)| wrong(location, problem))?;
        complete_kubernetes(&mut document).map_err(|(location, problem)| wrong(location, problem))?;
        if document.spec.trial.duration.is_none() && document.spec.trial.packets.is_none() {
            document.spec.trial.duration = Some(TrialDuration::of_millis::<10_000>());
        }
        Ok(Self { document, profiles, environment: overrides.environment.clone() })
    }

    /// The experiment's name.
    pub fn name(&self) -> &str {
        self.document.metadata.name.as_str()
    }

    /// Where the agents run.
    pub fn platform(&self) -> PlatformKind {
        self.document.spec.platform
    }

    /// Pairs that are loaded at the same time.
    pub fn pairs(&self) -> usize {
        self.document.spec.pairs.0.get_u32() as usize
    }

    /// The agents and the paths between them.
    pub fn topology(&self) -> Topology {
        Topology::pairs(self.pairs(), self.direction())
    }

    /// How each trial runs.
    pub fn trial(&self) -> &TrialSection {
        &self.document.spec.trial
    }

    /// What no trial may exceed.
    pub fn ceilings(&self) -> Ceilings {
        Ceilings::default()
            .with(Origin::Document, self.safety().clone())
            .with(Origin::Environment, self.environment.clone())
    }

    /// The document's ceilings.
    pub fn safety(&self) -> &Safety {
        &self.document.spec.safety
    }

    /// Settings of every agent.
    pub fn agents(&self) -> &AgentsSection {
        &self.document.spec.agents
    }

    /// What the agent at that end of a pair has to be told of its addresses when it starts, behind `agent`.
    pub fn address_options(&self, pair: usize, end: Role) -> Vec<String> {
        let addresses = self.document.spec.addresses.as_ref();
        let of_pair = addresses.and_then(|addresses| addresses.value.get(pair));
        of_pair.map_or_else(Vec::new, |pair| pair.of(end).agent_options())
    }

    /// Settings of the Kubernetes platform.
    pub fn kubernetes(&self) -> &KubernetesSection {
        &self.document.spec.kubernetes
    }

    /// Which ways packets go in each trial.
    pub fn direction(&self) -> Direction {
        self.trial().direction
    }

    /// Settings of the local platform.
    pub fn local(&self) -> &LocalSection {
        &self.document.spec.local
    }

    /// When each trial's transmitter ends.
    pub fn limit(&self) -> Limit {
        let trial = self.trial();
        Limit {
            duration_ms: trial.duration.map(TrialDuration::millis),
            packets: trial.packets.map(ranged::Ranged::get),
        }
    }

    /// The document in force, as YAML.
    ///
    /// # Errors
    /// When the writer of YAML fails, which it has no reason to.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        serde_saphyr::to_string(&self.document)
    }
}

type Wrong = (Location, String);

fn check_addresses(document: &Document) -> Result<(), Wrong> {
    let Some(addresses) = &document.spec.addresses else { return Ok(()) };
    let pairs = document.spec.pairs.0.get_u32() as usize;
    if addresses.value.len() != pairs {
        let entries = addresses.value.len();
        let problem = format!(
            "spec.addresses: {entries} entries for {pairs} pairs; give one for each pair, or set spec.pairs"
        );
        return Err((addresses.referenced, problem));
    }
    for (index, pair) in addresses.value.iter().enumerate() {
        pair.check()
            .map_err(|problem| (addresses.referenced, format!("spec.addresses[{index}].{problem}")))?;
    }
    Ok(())
}

/// A device is asked for where the pods are joined by devices, and what contradicts itself is refused.
fn complete_kubernetes(document: &mut Document) -> Result<(), Wrong> {
    let pairs = document.spec.pairs.0.get_u32() as usize;
    let settings = &mut document.spec.kubernetes;
    if let Some(nodes) = settings.nodes.as_ref().filter(|nodes| nodes.value.len() > pairs) {
        let problem = format!("spec.kubernetes.nodes: {} entries for {pairs} pairs", nodes.value.len());
        return Err((nodes.referenced, problem));
    }
    if settings.link.kind == LinkKind::Device && settings.resources.is_empty() {
        let name = ResourceName::try_from("intel.com/dpdk".to_owned())
            .map_err(|problem| (Location::UNKNOWN, problem))?;
        settings.resources.insert(name, ranged::Ranged::of::<1>());
    }
    if settings.link.kind == LinkKind::Memif && settings.placement == PlacementRule::DifferentNodes {
        let problem = "spec.kubernetes.placement: differentNodes, but the pods of a memif meet in a directory of one node; use sameNode, or \
                       another spec.kubernetes.link.kind";
        return Err((Location::UNKNOWN, problem.to_owned()));
    }
    Ok(())
}

/// The profiles of the list, or of the matrix in the order frame size, flows, rate. Fills the matrix in when neither is given.
fn profiles(document: &mut Document) -> Result<Vec<Profile>, Wrong> {
    let spec = &mut document.spec;
    let placed: Vec<(Location, Profile)> = match (&spec.traffic, &spec.profiles) {
        (Some(_), Some(list)) => {
            return Err((
                list.referenced,
                "spec.profiles: given beside spec.traffic; remove one of them".to_owned(),
            ));
        }
        (None, Some(list)) => {
            let list = not_empty("spec.profiles", list)?;
            list.iter().map(|profile| (profile.referenced, profile.value.clone())).collect()
        }
        (traffic, None) => matrix(traffic.as_ref().unwrap_or(&Traffic::default()))?,
    };
    if spec.profiles.is_none() {
        spec.traffic.get_or_insert_default();
    }
    let mut names = std::collections::BTreeSet::new();
    for (location, profile) in &placed {
        if !names.insert(profile.name()) {
            let problem = format!(
                "two profiles have the name {}, and results are filed under it; remove one (to run a profile more often, set spec.trial.repeats)",
                profile.name()
            );
            return Err((*location, problem));
        }
    }
    Ok(placed.into_iter().map(|(_, profile)| profile).collect())
}

fn not_empty<'d, T>(field: &str, list: &'d Spanned<Vec<T>>) -> Result<&'d Vec<T>, Wrong> {
    if list.value.is_empty() {
        Err((
            list.referenced,
            format!("{field}: the list is empty; give at least one, or leave the field out for its default"),
        ))
    } else {
        Ok(&list.value)
    }
}

fn matrix(traffic: &Traffic) -> Result<Vec<(Location, Profile)>, Wrong> {
    let frame_sizes = not_empty("spec.traffic.frameSizes", &traffic.frame_sizes)?;
    let flow_counts = not_empty("spec.traffic.flows", &traffic.flows)?;
    let rates = not_empty("spec.traffic.rates", &traffic.rates)?;
    let mut profiles = Vec::with_capacity(frame_sizes.len() * flow_counts.len() * rates.len());
    for frame_size in frame_sizes {
        for flows in flow_counts {
            for &rate in rates {
                let profile = Profile::try_from(traffic.profile(frame_size, flows.value.get_u32(), rate))
                    .map_err(|error: ProfileError| (flows.referenced, format!("spec.traffic.{error}")))?;
                profiles.push((flows.referenced, profile));
            }
        }
    }
    Ok(profiles)
}

#[cfg(test)]
mod tests;
