//! The experiment document, parsed and validated once. Code that holds an [`Experiment`] does not check it
//! again.

pub mod addresses;
pub mod agents;
pub mod determinants;
pub mod direction;
pub mod document;
pub mod engines;
pub mod host_settings;
pub mod http;
mod kernel_traffic;
pub mod kubernetes;
pub mod name;
pub mod order;
mod overrides;
pub mod plan;
pub mod planned;
pub mod quantity;
pub mod ranged;
pub mod search;
pub mod secrets;
pub mod strategy;
pub mod streams;
pub mod topology;
pub mod yaml;

use std::ops::Range;
use std::path::{Path, PathBuf};

use linerate_search::{SearchSpec, SpecError};
use linerate_traffic::limit::Limit;
use linerate_traffic::profile::{Profile, ProfileError};
use linerate_traffic::rate::Rate;
use linerate_traffic::safety::{Ceilings, Origin, Safety};
use linerate_wire::trial::Role;
use serde_saphyr::{Location, Spanned};

use crate::yaml::{excerpt, line, place_of_message};
use agents::AgentsSection;
use direction::Direction;
use document::{Document, LocalSection, PlatformKind, Traffic, TrialDuration, TrialSection, unplaced};
use http::HttpProfile;
use kubernetes::KubernetesSection;
use search::{SearchSection, check_follow_up};
use streams::{StreamsProfile, StreamsTopology};
use topology::{AgentNode, Topology};

use kernel_traffic::{http_profiles, streams_profiles};
pub use overrides::{Overrides, Setting};

/// The default document, used when none is given.
pub const DEFAULT_DOCUMENT: &str = include_str!("../../../examples/first-light.yaml");
/// Name of the default document in messages.
pub const DEFAULT_ORIGIN: &str = "built-in first-light.yaml";

/// A valid experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// The document in force, with every default filled in.
    pub document: Document,
    /// Profiles of frames in order, with unique names; none in an experiment of streams or HTTP.
    pub profiles: Vec<Profile>,
    /// Profiles of streams in order, with unique names; none in an experiment of other traffic.
    pub streams: Vec<StreamsProfile>,
    /// Profiles of HTTP load in order, with unique names; none in an experiment of other traffic.
    pub http: Vec<HttpProfile>,
    /// Ceilings of this program's environment, which apply in addition to the document's.
    pub environment: Safety,
    /// Which part of an experiment of engines it is; `None` for a whole experiment.
    pub part: Option<engines::EnginePart>,
}

/// Why a document is not a valid experiment. The message names the place, the value, what is allowed, and the
/// remedy.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// The file cannot be read.
    #[error("{}: {reason}; give the path of an experiment document, or none to run the built-in one", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: std::io::Error,
    },
    /// The text does not have the form of a document.
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
    /// An option of the command line has an invalid value.
    #[error("{option}: {problem}")]
    Setting {
        /// The option as written.
        option: String,
        /// Value, reason, what is allowed.
        problem: String,
    },
    /// Values contradict each other.
    #[error("{origin}{}: {problem}", line(*.location))]
    Content {
        /// The file.
        origin: String,
        /// Place in the document; unknown for defaults.
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
        if text.contains(&format!("={}", secrets::REMOVED)) {
            return Err(ExperimentError::Content {
                origin: path.display().to_string(),
                location: Location::UNKNOWN,
                problem: format!(
                    "{} stands where a secret was, as in documents that runs store; give the document that the run was \
                     started with",
                    secrets::REMOVED
                ),
            });
        }
        Self::parse(&text, &path.display().to_string(), overrides)
    }

    /// Parses a document. `origin` names it in messages.
    ///
    /// # Errors
    /// When the text is not a valid experiment.
    pub fn parse(text: &str, origin: &str, overrides: &Overrides) -> Result<Self, ExperimentError> {
        let document: Document = serde_saphyr::from_str(text).map_err(|problem| ExperimentError::Form {
            origin: origin.to_owned(),
            problem: Box::new(problem),
        })?;
        let mut document = overrides.apply(document)?;
        // With options of the command line, the document in force differs from the user's text, so places are
        // looked up in the text.
        let wrong = |location: Location, problem: String| {
            let location = if overrides.is_empty() { location } else { place_of_message(text, &problem) };
            match overrides.behind(&problem).filter(|_| location == Location::UNKNOWN) {
                Some((option, field)) => {
                    let problem = format!("it sets {field}; {problem}");
                    ExperimentError::Setting { option: option.to_owned(), problem }
                }
                None => ExperimentError::Content { origin: origin.to_owned(), location, problem },
            }
        };
        engines::prepare(&mut document).map_err(|(location, problem)| wrong(location, problem))?;
        host_settings::prepare(&mut document).map_err(|(location, problem)| wrong(location, problem))?;
        let streams =
            streams_profiles(&mut document).map_err(|(location, problem)| wrong(location, problem))?;
        let http = http_profiles(&mut document).map_err(|(location, problem)| wrong(location, problem))?;
        let profiles = match streams.is_empty() && http.is_empty() {
            true => profiles(&mut document).map_err(|(location, problem)| wrong(location, problem))?,
            false => Vec::new(),
        };
        engines::check_profiles(&document, &profiles)
            .map_err(|(location, problem)| wrong(location, problem))?;
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
        kubernetes::complete(&mut document).map_err(|(location, problem)| wrong(location, problem))?;
        check_search(&document).map_err(|(location, problem)| wrong(location, problem))?;
        let limited = document.spec.trial.duration.is_some() || document.spec.trial.packets.is_some();
        if !limited && document.spec.search.is_none() && streams.is_empty() && http.is_empty() {
            document.spec.trial.duration = Some(TrialDuration::of_millis::<10_000>());
        }
        Ok(Self { document, profiles, streams, http, environment: overrides.environment.clone(), part: None })
    }

    /// The experiment's name.
    pub fn name(&self) -> &str {
        self.document.metadata.name.as_str()
    }

    /// Platform of the agents.
    pub fn platform(&self) -> PlatformKind {
        self.document.spec.platform
    }

    /// Number of pairs, which are loaded at the same time.
    pub fn pairs(&self) -> usize {
        self.document.spec.pairs.0.get_u32() as usize
    }

    /// Numbers of the pairs, which name their agents. The parts of an experiment of engines have one each.
    pub fn pair_numbers(&self) -> Range<usize> {
        let first = self.part.map_or(0, |part| part.number);
        first..first + self.pairs()
    }

    /// True when the traffic is streams.
    pub fn is_of_streams(&self) -> bool {
        !self.streams.is_empty()
    }

    /// True when the traffic is frames.
    pub fn is_of_frames(&self) -> bool {
        self.streams.is_empty() && self.http.is_empty()
    }

    /// True when the run makes a Service of Kubernetes.
    pub fn needs_service(&self) -> bool {
        self.http.iter().any(|profile| profile.target.is_service())
    }

    /// Number of clients of an experiment of HTTP.
    pub fn http_clients(&self) -> u32 {
        self.document.spec.http.as_ref().map_or(0, |section| section.clients.get_u32())
    }

    /// The agents of an experiment of HTTP: clients `c0`, `c1`, …, then backends `b0`, `b1`, ….
    pub fn http_agents(&self) -> Vec<AgentNode> {
        let backends = self.http.iter().map(|profile| profile.backends).max().unwrap_or(0);
        let named = |letter: &str, number: u32, role| AgentNode { name: format!("{letter}{number}"), role };
        let clients = (0..self.http_clients()).map(|number| named("c", number, Role::Tx));
        clients.chain((0..backends).map(|number| named("b", number, Role::Rx))).collect()
    }

    /// The agents of an experiment of streams.
    pub fn streams_topology(&self) -> StreamsTopology {
        let section = self.document.spec.topology.clone().unwrap_or_default();
        section.build(self.pair_numbers(), self.direction())
    }

    /// The agents and the paths between them. In an experiment of streams, each agent is a group of its own, which a
    /// platform can start anew alone; connections are in [`Self::streams_topology`].
    pub fn topology(&self) -> Topology {
        if self.is_of_streams() {
            return Topology::single(self.streams_topology().agents());
        }
        if !self.http.is_empty() {
            return Topology::single(self.http_agents());
        }
        Topology::pairs(self.pair_numbers(), self.direction())
    }

    /// The search, if the experiment is one.
    pub fn search(&self) -> Option<&SearchSection> {
        self.document.spec.search.as_ref()
    }

    /// Settings of each trial.
    pub fn trial(&self) -> &TrialSection {
        &self.document.spec.trial
    }

    /// Ceilings of every trial.
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

    /// The agent's options for its addresses, after `agent`.
    pub fn address_options(&self, pair: usize, end: Role) -> Vec<String> {
        let addresses = self.document.spec.addresses.as_ref();
        let of_pair = addresses.and_then(|addresses| addresses.value.get(pair));
        of_pair.map_or_else(Vec::new, |pair| pair.of(end).agent_options())
    }

    /// Settings of the Kubernetes platform.
    pub fn kubernetes(&self) -> &KubernetesSection {
        &self.document.spec.kubernetes
    }

    /// Direction of the packets in each trial.
    pub fn direction(&self) -> Direction {
        self.trial().direction
    }

    /// Settings of the local platform.
    pub fn local(&self) -> &LocalSection {
        &self.document.spec.local
    }

    /// Limit of each trial's transmitter.
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
    /// When the YAML writer fails, which is not expected.
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

/// Names that no search goal may have: with `_pps` behind them, they are figures of trials.
pub const RESERVED_GOALS: [&str; 3] = ["intended", "offered", "received"];

/// Refuses goals and limits that cannot be searched for, and settings that a search chooses itself.
fn check_search(document: &Document) -> Result<(), Wrong> {
    let Some(search) = &document.spec.search else { return Ok(()) };
    let trial = &document.spec.trial;
    let beside = [
        ("duration", trial.duration.is_some(), "the goals say how long trials last"),
        ("packets", trial.packets.is_some(), "the goals say how long trials last"),
        ("repeats", trial.repeats.get() != 1, "spec.search.repeats is the number of whole searches"),
        ("order", !trial.order.is_usual(), "a search chooses the order of its trials"),
    ];
    if let Some((field, _, why)) = beside.into_iter().find(|(_, given, _)| *given) {
        let problem = format!("spec.trial.{field}: given beside spec.search; {why}");
        return Err((Location::UNKNOWN, problem));
    }
    let of_load =
        |field: &str, problem: String| (Location::UNKNOWN, format!("spec.search.load.{field}: {problem}"));
    let endless = [("min", Some(search.load.min)), ("max", search.load.max)];
    if let Some((field, _)) = endless.into_iter().find(|(_, rate)| *rate == Some(Rate::Max)) {
        return Err(of_load(field, "'max' is no bound; give a rate, or leave the field out".to_owned()));
    }
    let goals: Vec<_> =
        not_empty("spec.search.goals", &search.goals)?.iter().map(|goal| goal.0.clone()).collect();
    let names: Vec<&str> = search.goals.value.iter().map(|goal| goal.0.name.as_str()).collect();
    if let Some(name) = names.iter().find(|name| RESERVED_GOALS.contains(name)) {
        let problem = format!(
            "spec.search.goals: no goal may be called '{name}', because '{name}_pps' is a figure of trials in 'results compare'; give it another name"
        );
        return Err((Location::UNKNOWN, problem));
    }
    for (index, follow) in search.then.iter().enumerate() {
        check_follow_up(follow, &names)
            .map_err(|problem| (Location::UNKNOWN, format!("spec.search.then[{index}].{problem}")))?;
    }
    // Limits in other units depend on frame size and link, and are checked when those are known.
    let pps = |rate: Rate| if let Rate::Pps(pps) = rate { Some(pps) } else { None };
    let spec = SearchSpec {
        goals,
        min_pps: pps(search.load.min).map_or(1_000_000_000, |pps| pps.ceil() as u64),
        max_pps: search.load.max.and_then(pps).map_or(u64::MAX, |pps| pps as u64),
        warm_up_ns: 0,
    };
    spec.check().map_err(|error| match error {
        SpecError::Limits { .. } | SpecError::NoPacket { .. } => of_load("min", error.to_string()),
        _ => (search.goals.referenced, format!("spec.search.goals: {error}")),
    })
}

/// Profiles of the list, or of the matrix in the order frame size, flows, rate. Adds the default matrix if
/// there is neither. The profiles of a search have no rate of their own: theirs is `max`.
fn profiles(document: &mut Document) -> Result<Vec<Profile>, Wrong> {
    let spec = &mut document.spec;
    let searches = spec.search.is_some();
    if spec.profiles.is_none() {
        let rates = &mut spec.traffic.get_or_insert_default().rates;
        match rates {
            Some(rates) if searches => {
                return Err((
                    rates.referenced,
                    "spec.traffic.rates: given beside spec.search, which chooses the loads; remove one of them"
                        .to_owned(),
                ));
            }
            None if !searches => *rates = Some(unplaced(vec![Rate::Percent(10.0)])),
            _ => {}
        }
    }
    let placed: Vec<(Location, Profile)> = match (&spec.traffic, &spec.profiles) {
        (Some(_), Some(list)) => {
            return Err((
                list.referenced,
                "spec.profiles: given beside spec.traffic; remove one of them".to_owned(),
            ));
        }
        (None, Some(list)) => {
            let list = not_empty("spec.profiles", list)?;
            if let Some(staged) =
                list.iter().find(|profile| searches && !profile.value.raw().stages.is_empty())
            {
                let problem = "spec.profiles: a profile has stages beside spec.search, which chooses the load; remove one of them";
                return Err((staged.referenced, problem.to_owned()));
            }
            list.iter().map(|profile| (profile.referenced, profile.value.clone())).collect()
        }
        (traffic, None) => matrix(traffic.as_ref().unwrap_or(&Traffic::default()))?,
    };
    let mut names = std::collections::BTreeSet::new();
    for (location, profile) in &placed {
        let name = if searches { profile.search_name() } else { profile.name() };
        if !names.insert(name.clone()) {
            let problem = format!(
                "two profiles have the name {name}, and results are filed under it; remove one (to run a profile more often, set spec.trial.repeats)"
            );
            return Err((*location, problem));
        }
    }
    let loaded = |profile: Profile| if searches { profile.with_rate(Rate::Max) } else { profile };
    Ok(placed.into_iter().map(|(_, profile)| loaded(profile)).collect())
}

pub(crate) fn not_empty<'d, T>(field: &str, list: &'d Spanned<Vec<T>>) -> Result<&'d Vec<T>, Wrong> {
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
    let max = vec![Rate::Max];
    let rates = traffic.rates.as_ref().map_or(Ok(&max), |rates| not_empty("spec.traffic.rates", rates))?;
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
