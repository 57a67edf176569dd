//! Pairs of which an agent was lost in a trial: connected again where the agent still lives, started anew where it does not. What cannot be
//! brought back leaves the run, and the other pairs go on.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use super::agent::Pair;
use super::ledger::Ledger;
use super::observer::Observer;
use super::round::Lost;
use super::warm_up::{Cold, warm_up};
use super::{CONNECTING_AT_ONCE, Ending, Job, Numbers};
use crate::plan::Trial;
use crate::platform::Platform;

/// An agent that lives lets go of the connection that broke after the orphan time; this comes on top.
const RECONNECT_MARGIN: Duration = Duration::from_secs(10);

/// What bringing pairs back takes.
pub(super) struct Rescue<'a, 'j> {
    pub(super) job: &'a Job<'j>,
    pub(super) numbers: &'a Numbers,
    /// Trials in which a pair that does not come back is missing.
    pub(super) left: &'a [Trial],
    pub(super) observer: &'a dyn Observer,
}

impl Rescue<'_, '_> {
    /// Brings back the pairs in `lost`, or takes them out of `pairs` and says so for each trial left.
    ///
    /// # Errors
    /// When no pair is left, the run is interrupted, or results cannot be stored.
    pub(super) async fn bring_back(
        &self,
        lost: Vec<Lost>,
        pairs: &mut Vec<Pair>,
        platform: &mut impl Platform,
        ledger: &mut Ledger<'_>,
    ) -> Result<(), Ending> {
        for Lost { position, reason } in &lost {
            self.observer.phase(&format!("{}: {reason}; bringing the pair back", pairs[*position].name));
        }
        let connected = self.reconnect(&lost, pairs).await?;
        // From the back, so that positions stay what they are.
        for Lost { position, reason } in lost.into_iter().rev() {
            if *self.job.interrupted.borrow() {
                return Err(Ending::Interrupted);
            }
            let pair = &mut pairs[position];
            let name = pair.name.clone();
            match self.one(pair, connected.contains(&position), platform).await {
                Ok(how) => ledger.recovered(format!("{name} {how}: {reason}"))?,
                Err(Ending::Failed(why)) => {
                    pairs.remove(position);
                    let why = if why.contains(&reason) { why } else { format!("{reason}; and then: {why}") };
                    ledger.given_up(&name, &why, self.left)?;
                    if pairs.is_empty() {
                        return Err(Ending::Failed(why));
                    }
                    self.observer.phase(&format!("{name} is given up: {why}"));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// Connects again to all that live, side by side: what breaks one connection may well break all. Says which those are.
    async fn reconnect(&self, lost: &[Lost], pairs: &mut [Pair]) -> Result<BTreeSet<usize>, Ending> {
        let patience = self.job.experiment.trial().orphan.get() + RECONNECT_MARGIN;
        let is_lost = |position: &usize| lost.iter().any(|lost| lost.position == *position);
        let attempts = pairs.iter_mut().enumerate().filter(|(position, _)| is_lost(position));
        let attempts = attempts.map(|(position, pair)| async move {
            pair.reconnect(patience).await.is_ok().then_some(position)
        });
        let connected = stream::iter(attempts).buffer_unordered(CONNECTING_AT_ONCE).collect::<Vec<_>>();
        let mut interrupted = self.job.interrupted.clone();
        tokio::select! {
            connected = connected => Ok(connected.into_iter().flatten().collect()),
            Ok(_) = interrupted.wait_for(|flag| *flag) => Err(Ending::Interrupted),
        }
    }

    /// Says in words how it was done.
    async fn one(
        &self,
        pair: &mut Pair,
        is_connected: bool,
        platform: &mut impl Platform,
    ) -> Result<&'static str, Ending> {
        let Self { job, numbers, observer, .. } = self;
        let how = if is_connected {
            "was connected again"
        } else {
            let endpoints = platform.restart(pair.number, &|text| observer.phase(text)).await?;
            *pair = Pair::connect(pair.number, endpoints, pair.keep_alive, &job.experiment.profiles)
                .await
                .map_err(Ending::Failed)?;
            "was started anew"
        };
        match warm_up(pair, job.experiment, numbers, &job.interrupted).await {
            Ok(_) => Ok(how),
            Err(cold @ Cold::Stopped(_)) => Err(cold.into()),
            Err(cold) => Err(Ending::Failed(cold.to_string())),
        }
    }
}
