//! Recovery of groups that lost an agent during a trial: live agents are reconnected, ended ones are
//! restarted. A group that cannot be recovered leaves the run, and the others continue.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::agent::Unreachable;
use super::group::Group;
use super::observer::Observer;
use super::recorder::Recorder;
use super::round::Lost;
use super::warm_up::{WarmUpError, warm_up};
use super::{CONNECTING_AT_ONCE, Ending, Job, Numbers};
use crate::platform::Platform;
use linerate_experiment::plan::Trial;
use linerate_traffic::profile::Profile;

/// Added to the orphan time, after which a live agent releases a broken connection.
const RECONNECT_MARGIN: Duration = Duration::from_secs(10);

/// Inputs of a recovery.
pub(super) struct Recovery<'a, 'j> {
    pub(super) job: &'a Job<'j>,
    pub(super) numbers: &'a Numbers,
    /// Trials that are recorded as missing for a group that is not recovered.
    pub(super) left: &'a [Trial],
    /// Profiles of all trials.
    pub(super) profiles: &'a [Profile],
    pub(super) observer: &'a dyn Observer,
}

impl Recovery<'_, '_> {
    /// Recovers the groups in `lost`. Removes those that cannot be recovered from `groups`, and records each
    /// trial left as missing for them.
    ///
    /// # Errors
    /// When no group is left, the run is interrupted, or results cannot be stored.
    pub(super) async fn bring_back(
        &self,
        lost: Vec<Lost>,
        groups: &mut Vec<Group>,
        platform: &mut impl Platform,
        recorder: &mut Recorder<'_>,
    ) -> Result<(), Ending> {
        recorder.recovery_begins();
        for Lost { position, reason, .. } in &lost {
            self.observer.phase(&format!("{}: {reason}; bringing the pair back", groups[*position].name()));
        }
        let connected = self.reconnect(&lost, groups).await?;
        // In reverse, so that removals do not change the positions that follow.
        for Lost { position, reason, .. } in lost.into_iter().rev() {
            if *self.job.interrupted.borrow() {
                return Err(Ending::Interrupted);
            }
            let group = &mut groups[position];
            let name = group.name().to_owned();
            match self.one(group, connected.contains(&position), platform).await {
                Ok(how) => {
                    recorder.recovered(format!("{name} {how}: {reason}"))?;
                    recorder.connected_again(&groups[position])?;
                }
                Err(Ending::Failed(why)) => {
                    let group = groups.remove(position);
                    let why = if why.contains(&reason) { why } else { format!("{reason}; and then: {why}") };
                    recorder.given_up(&group, &why, self.left)?;
                    if groups.is_empty() {
                        return Err(Ending::Failed(why));
                    }
                    self.observer.phase(&format!("{name} is given up: {why}"));
                }
                Err(other) => return Err(other),
            }
        }
        recorder.recovery_ended();
        Ok(())
    }

    /// Reconnects to all live agents in parallel, because one cause may break all connections. Returns the
    /// positions of the reconnected groups.
    async fn reconnect(&self, lost: &[Lost], groups: &mut [Group]) -> Result<BTreeSet<usize>, Ending> {
        let time_limit = self.job.experiment.trial().orphan.get() + RECONNECT_MARGIN;
        let is_lost = |position: &usize| lost.iter().any(|lost| lost.position == *position);
        let attempts = groups.iter_mut().enumerate().filter(|(position, _)| is_lost(position));
        let attempts = attempts.map(|(position, group)| async move {
            match group.reconnect(time_limit).await {
                Ok(()) => Ok(Some(position)),
                Err(forbidden @ Unreachable::Forbidden(_)) => Err(Ending::from(forbidden)),
                Err(Unreachable::Failed(reason)) => {
                    tracing::debug!(pair = group.name(), reason, "not connected again");
                    Ok(None)
                }
            }
        });
        let connected = stream::iter(attempts).buffer_unordered(CONNECTING_AT_ONCE).try_collect::<Vec<_>>();
        let connected = self.unless_interrupted(connected).await?;
        Ok(connected.into_iter().flatten().collect())
    }

    /// The result of the work, or an error when the user interrupts the run.
    async fn unless_interrupted<T>(
        &self,
        work: impl Future<Output = Result<T, Ending>>,
    ) -> Result<T, Ending> {
        let mut interrupted = self.job.interrupted.clone();
        tokio::select! {
            done = work => done,
            Ok(_) = interrupted.wait_for(|flag| *flag) => Err(Ending::Interrupted),
        }
    }

    /// Recovers one group; returns a text on how.
    async fn one(
        &self,
        group: &mut Group,
        is_connected: bool,
        platform: &mut impl Platform,
    ) -> Result<&'static str, Ending> {
        let Self { job, numbers, profiles, observer, .. } = self;
        let how = if is_connected {
            "was connected again"
        } else {
            let (number, plan, keep_alive) = (group.number, group.plan.clone(), group.keep_alive);
            let anew = async {
                let endpoints = platform.restart(number, &|text| observer.phase(text)).await?;
                Ok(Group::connect(number, plan, endpoints, keep_alive, profiles).await?)
            };
            *group = self.unless_interrupted(anew).await?;
            "was started anew"
        };
        // Without trials left, the group is not needed.
        let Some(first) = self.left.first() else { return Ok(how) };
        match warm_up(group, job.experiment, &first.profile, numbers, &job.interrupted).await {
            Ok(_) => Ok(how),
            Err(error @ WarmUpError::Stopped(_)) => Err(error.into()),
            Err(error) => Err(Ending::Failed(error.to_string())),
        }
    }
}
