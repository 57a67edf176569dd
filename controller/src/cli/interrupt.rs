//! Signals: the first ends a run in order, the second at once.

use linerate_command::signals::Signals;
use tokio::sync::watch;

/// Raises `flag` at the first signal and returns at the second.
pub(super) async fn twice(mut signals: Signals, flag: watch::Sender<bool>) {
    signals.next().await;
    flag.send_replace(true);
    tracing::warn!("interrupted: ending the run in good order; once more to leave at once");
    signals.next().await;
}
