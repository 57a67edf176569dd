//! Pairs of which an agent was lost in a trial: connected again where the agent still lives, started anew where it does not. What cannot be
//! brought back leaves the run, and the other pairs go on.

use std::time::Duration;

use super::agent::Pair;
use super::ledger::Ledger;
use super::observer::Observer;
use super::round::Lost;
use super::warm_up::{Cold, warm_up};
use super::{Ending, Job, Numbers};
use crate::plan::Trial;
use crate::platform::Platform;

/// An agent that lives lets go of the connection that broke after the orphan time; this comes on top.
const RECONNECT_MARGIN: Duration = Duration::from_secs(10);

/// Brings back the pairs in `lost`, or takes them out of `pairs` and says so for each of the trials `left`.
///
/// # Errors
/// When no pair is left, the run is interrupted, or results cannot be stored.
pub(super) async fn recover(
    job: &Job<'_>,
    platform: &mut impl Platform,
    pairs: &mut Vec<Pair>,
    lost: Vec<Lost>,
    numbers: &Numbers,
    left: &[Trial],
    ledger: &mut Ledger<'_>,
    observer: &dyn Observer,
) -> Result<(), Ending> {
    // From the back, so that positions stay what they are.
    for Lost { position, reason } in lost.into_iter().rev() {
        if *job.interrupted.borrow() {
            return Err(Ending::Interrupted);
        }
        let pair = &mut pairs[position];
        let name = pair.name.clone();
        observer.phase(&format!("{name}: {reason}; bringing the pair back"));
        match bring_back(job, platform, pair, numbers, observer).await {
            Ok(how) => ledger.recovered(format!("{name} {how}: {reason}"))?,
            Err(Ending::Failed(why)) => {
                pairs.remove(position);
                let why = if why.contains(&reason) { why } else { format!("{reason}; and then: {why}") };
                ledger.given_up(&name, &why, left)?;
                if pairs.is_empty() {
                    return Err(Ending::Failed(why));
                }
                observer.phase(&format!("{name} is given up: {why}"));
            }
            Err(other) => return Err(other),
        }
    }
    Ok(())
}

/// Says in words how it was done.
async fn bring_back(
    job: &Job<'_>,
    platform: &mut impl Platform,
    pair: &mut Pair,
    numbers: &Numbers,
    observer: &dyn Observer,
) -> Result<&'static str, Ending> {
    let patience = job.experiment.trial().orphan.get() + RECONNECT_MARGIN;
    let how = if pair.reconnect(patience).await.is_ok() {
        "was connected again"
    } else {
        let endpoints = platform.restart(pair.number, &|text| observer.phase(text)).await?;
        *pair = Pair::connect(pair.number, endpoints, pair.keep_alive).await.map_err(Ending::Failed)?;
        "was started anew"
    };
    match warm_up(pair, job.experiment, numbers, &job.interrupted).await {
        Ok(_) => Ok(how),
        Err(cold @ Cold::Stopped(_)) => Err(cold.into()),
        Err(cold) => Err(Ending::Failed(cold.to_string())),
    }
}
