//! Logs of agents in pods, stored with the results.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use tokio::time::timeout;

use super::AT_ONCE;
use super::pods::AGENT;
use super::retry::steadily;

/// Time limit for all logs together, so that the run ends even if the server is away.
const LOGS_TIME: Duration = Duration::from_secs(60);

/// Appends each pod's log to its file in `directory`: all of it, or the part `since` a time. Missing logs are
/// not an error.
pub(super) async fn keep(pods: &Api<Pod>, names: &[String], directory: &Path, since: Option<Instant>) {
    if timeout(LOGS_TIME, fetch(pods, names, directory, since)).await.is_err() {
        tracing::warn!(seconds = LOGS_TIME.as_secs(), "not all logs of the pods could be had in time");
    }
}

async fn fetch(pods: &Api<Pod>, names: &[String], directory: &Path, since: Option<Instant>) {
    let since_seconds = since.map(|since| since.elapsed().as_secs() as i64 + 1);
    let params = LogParams { container: Some(AGENT.to_owned()), since_seconds, ..LogParams::default() };
    let params = &params;
    stream::iter(names)
        .for_each_concurrent(AT_ONCE, |name| async move {
            let path = directory.join(format!("{name}.log"));
            match steadily(|| pods.logs(name, params)).await {
                Ok(log) => {
                    if let Err(error) = append(&path, &log) {
                        tracing::warn!(path = %path.display(), %error, "the log of a pod is not kept");
                    }
                }
                Err(error) => tracing::debug!(pod = name, %error, "no log"),
            }
        })
        .await;
}

/// Appends, because a resumed experiment has logs of its earlier pods.
fn append(path: &Path, log: &str) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).open(path)?.write_all(log.as_bytes())
}
