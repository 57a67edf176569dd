//! State of a search: what its recorded trials say, and what it needs next.

use linerate_search::measurement::{Loss, Measurement, TesterLimit};
use linerate_search::{Next, Request, Search};
use linerate_traffic::profile::Profile;

use super::follow::FollowState;
use super::{LimitsOf, MaxLoadSource, PartOf, SearchMode, SearchPurpose, SearchSection};
use crate::determinants::TrialKey;
use crate::plan::Trial;
use crate::strategy::{PathLimit, PathOutcome};

/// How far an offered load may exceed the intended one; beyond, a trial is no evidence.
const MOST_OVER: f64 = 1.001;

/// How a search ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchOutcome {
    /// Every goal has its result.
    Finished,
    /// Its time was used up.
    Budget,
    /// It cannot go on, for this reason.
    Failed(String),
}

/// A recorded trial of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchStep {
    /// What it was for.
    pub purpose: SearchPurpose,
    /// What was asked; `None`: as fast as possible.
    pub request: Option<Request>,
    /// What was measured on each path.
    pub paths: Vec<PathOutcome>,
    /// True when it is no evidence, because the tester was held up, and its load is tried again.
    pub is_repeated: bool,
}

impl SearchStep {
    /// Seconds that the trial took, preparing and draining included.
    pub fn elapsed_s(&self) -> f64 {
        self.paths.iter().map(|path| path.duration_s + path.overhead_s).fold(0.0, f64::max)
    }
}

/// A search by its recorded trials.
#[derive(Debug, Clone)]
pub struct SearchState {
    /// Name of the profile, with `search` in place of a rate.
    pub name: String,
    /// Its traffic, as fast as possible.
    pub profile: Profile,
    /// Number among the searches of the profile, from 1.
    pub number: u32,
    /// The only path that it loads; `None`: all.
    pub path: Option<String>,
    /// Number of paths that it loads.
    pub loaded: usize,
    /// Lowest load in packets per second; `None` until it is known.
    pub min_pps: Option<u64>,
    /// Highest load, and where it comes from; `None` until it is known.
    pub max: Option<(u64, MaxLoadSource)>,
    /// The search; `None` until its highest load is known.
    pub search: Option<Search>,
    /// The recorded trials of the search, in order.
    pub steps: Vec<SearchStep>,
    /// The benchmarks that follow, as far as they have begun.
    pub follow: Vec<FollowState>,
    /// Trials of those that were recorded or have failed.
    pub follow_trials: u32,
    /// Key of the latest recorded trial.
    pub(super) last: Option<TrialKey>,
    /// The next trial; `None` when the search has ended.
    pub next: Option<Box<Trial>>,
    /// How it ended; `None` when it has not.
    pub ended: Option<SearchOutcome>,
}

impl SearchState {
    /// True when the latest trial ended the search, or a benchmark behind it.
    pub fn has_news(&self) -> bool {
        self.ended.is_some()
            && (self.next.is_none() || self.follow.last().is_none_or(|follow| follow.trials == 0))
    }

    /// The benchmark that the latest trial belongs to; `None` before the first trial of one.
    pub fn latest_follow(&self) -> Option<&FollowState> {
        let is_it =
            |follow: &&FollowState| follow.trials > 0 || follow.method.is_some() && follow.reason.is_some();
        self.follow.iter().rfind(is_it).filter(|_| self.follow_trials > 0)
    }

    /// Number of all its trials, those of benchmarks that follow and a failed one of those among them.
    pub(super) fn all_trials(&self) -> u32 {
        self.steps.len() as u32 + self.follow_trials
    }

    /// What a trial as fast as possible offered on the slowest path, in packets per second.
    pub(super) fn measured_pps(&self) -> Option<f64> {
        let ceiling = self.steps.first().filter(|step| step.purpose == SearchPurpose::Ceiling)?;
        ceiling.paths.iter().map(|path| path.offered_pps).reduce(f64::min)
    }

    /// Trials that count.
    pub fn counted(&self) -> impl Iterator<Item = &SearchStep> {
        self.steps.iter().filter(|step| step.purpose == SearchPurpose::Search)
    }

    /// Seconds of its trials, preparing and draining included.
    pub fn elapsed_s(&self) -> f64 {
        self.steps.iter().map(SearchStep::elapsed_s).sum()
    }

    /// The request of the search's engine.
    pub(super) fn request(&self) -> Option<Next> {
        self.search.as_ref().map(Search::next)
    }

    /// Takes a recorded trial.
    ///
    /// # Errors
    /// Why it is no evidence.
    pub(super) fn take(&mut self, section: &SearchSection, mut step: SearchStep) -> Result<(), String> {
        let (number, loaded) = (self.steps.len() + 1, self.loaded);
        if step.paths.len() < loaded {
            return Err(format!(
                "trial {number} has results of {} of {loaded} paths; the others left the run",
                step.paths.len()
            ));
        }
        if let Some(request) = step.request {
            for path in &step.paths {
                // Lcores and their intervals round the load.
                let same = path.intended_pps.is_some_and(|pps| pps.round() as u64 == request.load_pps)
                    && path.intended_ns.is_none_or(|ns| ns == request.duration_ns);
                if !same {
                    return Err(format!(
                        "recorded trial {number} has another load or duration than this version chooses; run without --resume"
                    ));
                }
                if is_above(&request, path) {
                    return Err(format!(
                        "trial {number}: {} offered {:.0} packets per second, and {} were intended",
                        path.path, path.offered_pps, request.load_pps
                    ));
                }
            }
            if let Some(search) = &mut self.search {
                let before = search.trials().at(request.load_pps).len();
                search.record(combine(section.mode, section.limits, &request, &step.paths));
                step.is_repeated = request.counted && search.trials().at(request.load_pps).len() == before;
            }
        }
        self.steps.push(step);
        Ok(())
    }
}

/// True when a path offered so much more than it was asked for that its trial is no evidence.
pub fn is_above(request: &Request, path: &PathOutcome) -> bool {
    path.missed_intended && path.offered_pps > MOST_OVER * request.load_pps as f64
}

/// The paths of a trial as one measurement: their sum, or the path that lost most. Packets that were not sent
/// count where a path offered less than it was asked for, whichever path lost most. The greatest loss that is a
/// path's own is kept beside the counts, where the tester explains more of those.
pub fn combine(mode: SearchMode, limits: LimitsOf, request: &Request, paths: &[PathOutcome]) -> Measurement {
    let each = paths.iter().map(|path| measurement(limits, request, path));
    let combined = match mode {
        SearchMode::Every => {
            let least_offered = each.clone().max_by_key(|path| path.unsent);
            let lost_most =
                each.clone().map(|path| path.path_loss()).max_by(|one, other| one.compare(*other));
            let worst = each.max_by(|one, other| one.selection_loss().compare(other.selection_loss()));
            worst.zip(least_offered).map(|(worst, other)| {
                let is_greater = |loss: &Loss| loss.compare(worst.path_loss()).is_gt();
                let worst = Measurement { loss_elsewhere: lost_most.filter(is_greater), ..worst };
                match worst.unsent {
                    0 if other.unsent > 0 => {
                        Measurement { unsent: other.unsent, limit: other.limit, ..worst }
                    }
                    _ => worst,
                }
            })
        }
        SearchMode::Together | SearchMode::Each => each.reduce(|sum, path| Measurement {
            sent: sum.sent.saturating_add(path.sent),
            lost: sum.lost.saturating_add(path.lost),
            receiver_lost: sum.receiver_lost.saturating_add(path.receiver_lost),
            unsent: sum.unsent.saturating_add(path.unsent),
            limit: sum.limit.or(path.limit),
            ..sum
        }),
    };
    combined.unwrap_or(Measurement {
        load_pps: request.load_pps,
        duration_ns: request.duration_ns,
        effective_ns: request.duration_ns,
        sent: 0,
        lost: 0,
        receiver_lost: 0,
        unsent: 0,
        limit: None,
        loss_elsewhere: None,
    })
}

/// What a path's outcome comes to.
pub(super) fn measurement(limits: LimitsOf, request: &Request, path: &PathOutcome) -> Measurement {
    let intended = u128::from(request.load_pps) * u128::from(request.duration_ns) / 1_000_000_000;
    let intended = u64::try_from(intended).unwrap_or(u64::MAX);
    let missing = intended.saturating_sub(path.sent_packets);
    // A trial without a packet is no evidence that the load is carried, however few were intended.
    let unsent = if path.missed_intended || path.sent_packets == 0 { missing.max(1) } else { 0 };
    let lost = path.sent_packets.saturating_sub(path.received_packets);
    let limit = match path.limit {
        Some(PathLimit::Generator) => Some(TesterLimit::Generator),
        Some(PathLimit::Port) => Some(TesterLimit::Port),
        Some(PathLimit::Receiver) => Some(TesterLimit::Receiver),
        None if unsent > 0 => Some(TesterLimit::Generator),
        None => None,
    };
    let mut measured = Measurement {
        load_pps: request.load_pps,
        duration_ns: request.duration_ns,
        effective_ns: request.duration_ns,
        sent: path.sent_packets,
        lost,
        receiver_lost: 0,
        unsent,
        limit,
        loss_elsewhere: None,
    };
    // What it dropped, or can have caused to be dropped, is not known to be the path's loss, however small its part.
    if limits.receiver == PartOf::Tester {
        measured.receiver_lost = lost.min(path.receiver_dropped.max(path.receiver_missed));
    }
    match (limit, limits.port, limits.receiver) {
        (Some(TesterLimit::Receiver), _, PartOf::Tester) => measured.receiver_lost = lost,
        // What the port did not take, the device behind it lost.
        (Some(TesterLimit::Port), PartOf::Path, _) => {
            measured.sent = measured.sent.saturating_add(unsent);
            measured.lost = lost.saturating_add(unsent);
            (measured.unsent, measured.limit) = (0, None);
        }
        (Some(TesterLimit::Receiver), _, PartOf::Path) => measured.limit = None,
        _ => {}
    }
    if measured.receiver_lost > 0 {
        measured.limit = measured.limit.or(Some(TesterLimit::Receiver));
    }
    if limits.port == PartOf::Tester && path.sender_lost > 0 && lost > 0 {
        measured.receiver_lost = lost.min(measured.receiver_lost.saturating_add(path.sender_lost));
        measured.limit = measured.limit.or(Some(TesterLimit::Port));
    }
    // What may be a copy does not show that its packet arrived, nor that the path lost it.
    let doubtful = path.beyond_window.min(path.received_packets);
    if doubtful > 0 {
        measured.lost = measured.lost.saturating_add(doubtful);
        measured.receiver_lost = measured.receiver_lost.saturating_add(doubtful);
        measured.limit = measured.limit.or(Some(TesterLimit::Receiver));
    }
    measured
}
