//! Watches: changes after a version, one object a line, with bookmarks in between.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::answer::{self, Answer};
use super::faults::Effect;
use super::objects::has_labels;
use super::request::Asked;
use super::state::State;

/// Time without any change after which a bookmark is sent.
const BOOKMARK_EVERY: Duration = Duration::from_millis(500);

fn gone() -> Value {
    json!({"type": "ERROR", "object": answer::status(410, "Expired", "too old resource version: 1 (2)")})
}

pub fn watch(state: Arc<State>, asked: Asked, effect: Option<Effect>) -> Answer {
    let (pieces, from) = mpsc::channel(64);
    tokio::spawn(async move {
        // The watcher has closed the connection.
        let _ = tell(&state, &asked, effect, &pieces).await;
    });
    answer::pieces(from)
}

type Pieces = mpsc::Sender<std::io::Result<Bytes>>;
type Told = Result<(), mpsc::error::SendError<std::io::Result<Bytes>>>;

async fn tell(state: &State, asked: &Asked, effect: Option<Effect>, pieces: &Pieces) -> Told {
    let mut version: u64 = asked.parameter("resourceVersion").parse().unwrap_or(0);
    let mut changed = state.changed.subscribe();
    let mut told = 0;
    let line = |event: &Value| Bytes::from(format!("{event}\n"));
    loop {
        changed.mark_unchanged();
        let changes = state.objects().since(&asked.resource, version);
        for change in changes {
            version = change.version;
            let ours = asked.namespace.as_deref().is_none_or(|n| change.object["metadata"]["namespace"] == n);
            if !ours || !has_labels(&change.object, asked.parameter("labelSelector")) {
                continue;
            }
            let event = json!({"type": change.kind, "object": *change.object});
            match &effect {
                Some(Effect::GoneForDeletion) if change.is_deletion() => {
                    return pieces.send(Ok(line(&gone()))).await;
                }
                Some(Effect::GoneAtEvent(number)) if told == *number => {
                    return pieces.send(Ok(line(&gone()))).await;
                }
                Some(Effect::CutInEvent(number)) if told == *number => {
                    let whole = line(&event);
                    pieces.send(Ok(whole.slice(..whole.len() / 2))).await?;
                    return pieces.send(Err(answer::cut())).await;
                }
                Some(Effect::LateEvents(time)) => tokio::time::sleep(*time).await,
                _ => {}
            }
            told += 1;
            pieces.send(Ok(line(&event))).await?;
        }
        if tokio::time::timeout(BOOKMARK_EVERY, changed.changed()).await.is_err() {
            let metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
            let object = json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata});
            pieces.send(Ok(line(&json!({"type": "BOOKMARK", "object": object})))).await?;
        }
    }
}
