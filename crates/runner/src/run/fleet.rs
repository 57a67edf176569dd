//! The agents of a run through the kernel's sockets: connected, recovered, ended.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use linerate_results::store::StoreError;
use linerate_results::summary::{Status, Summary};

use super::host_settings::restore;
use super::observer::Observer;
use super::part::KernelAgent;
use super::recorder::Recorder;
use super::{CONNECTING_AT_ONCE, Ending};
use crate::platform::Platform;

/// Time for a lost agent to accept a connection again before it is started anew.
const RECONNECT_TIME: Duration = Duration::from_secs(2);

/// What became of an attempt at a trial.
pub(super) struct Attempt {
    /// Agents that were lost, by their place, with the reasons.
    pub(super) agents: Vec<(usize, String)>,
    /// True when its result or failure is on disk.
    pub(super) is_filed: bool,
}

/// Starts the agents and connects to them.
pub(super) async fn connect(
    platform: &mut impl Platform,
    keep_alive: Duration,
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
) -> Result<Vec<KernelAgent>, Ending> {
    let endpoints = platform.start(&|text| observer.phase(text)).await?;
    recorder.agents_run();
    let connecting =
        endpoints.into_iter().flatten().map(|endpoint| KernelAgent::connect(endpoint, keep_alive));
    // Hundreds of handshakes at once would exceed their time limits.
    stream::iter(connecting).buffered(CONNECTING_AT_ONCE).try_collect().await.map_err(Ending::from)
}

/// Connects to lost agents again, or starts them anew.
pub(super) async fn recover(
    platform: &mut impl Platform,
    agents: &mut [KernelAgent],
    lost: Vec<(usize, String)>,
    keep_alive: Duration,
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
) -> Result<(), Ending> {
    recorder.recovery_begins();
    for (place, reason) in lost {
        let name = agents[place].name().to_owned();
        observer.phase(&format!("{name} was lost: {reason}; it is recovered"));
        let how = match agents[place].reconnect(keep_alive, RECONNECT_TIME).await {
            Ok(()) => "connected again",
            Err(_) => {
                let endpoints = platform.restart(place, &|text| observer.phase(text)).await?;
                let endpoint = endpoints.into_iter().next();
                let endpoint =
                    endpoint.ok_or_else(|| Ending::Failed(format!("{name} was not started anew")))?;
                agents[place] = KernelAgent::connect(endpoint, keep_alive).await?;
                "started anew"
            }
        };
        recorder.recovered(format!("{name} was {how}: {reason}"))?;
    }
    recorder.kernel_connected_again(agents)?;
    recorder.recovery_ended();
    Ok(())
}

/// Restores settings of hosts, ends every agent of a run, and closes its records. `of` is the number of planned trials.
pub(super) async fn close(
    ending: Result<(), Ending>,
    platform: &mut impl Platform,
    agents: &[KernelAgent],
    mut recorder: Recorder<'_>,
    observer: &dyn Observer,
    of: usize,
) -> Result<Summary, StoreError> {
    observer.phase("ending the agents");
    recorder.tear_down_begins();
    let ending = restore(ending, platform, &mut recorder).await;
    if !platform.keeps() {
        join_all(agents.iter().map(|agent| agent.session.shut_down())).await;
    }
    platform.stop(!agents.is_empty()).await;
    observer.end();
    let (status, reason) = match ending {
        Ok(()) => recorder.planned_status(of),
        Err(Ending::Interrupted) => (Status::Interrupted, Some("interrupted by a signal".to_owned())),
        Err(ending @ (Ending::Failed(_) | Ending::Refused(_) | Ending::Unrestored(_))) => {
            (Status::Failed, Some(ending.to_string()))
        }
        Err(Ending::Store(error)) => {
            // Closing the summary most likely fails as well; the first error is reported.
            let _ = recorder.close(Status::Failed, Some(error.to_string()));
            return Err(error);
        }
    };
    recorder.close(status, reason)
}
