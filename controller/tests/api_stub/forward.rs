//! Port-forwards: a websocket with channels, connected to the agent of a pod.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::answer::{self, Answer};
use super::state::State;

pub const PORT: u16 = 22022;
/// Channels of the single port: data, and errors.
const DATA: u8 = 0;
const ERRORS: u8 = 1;

/// Responds with a stream to the pod.
pub fn open(state: &Arc<State>, pod: &str, parts: &mut Parts) -> Answer {
    let found = state.pod(pod);
    let Some(found) = found.filter(|pod| pod["status"]["phase"] == "Running") else {
        return answer::error(404, "NotFound", &format!("pods \"{pod}\" not found"));
    };
    let node = found["spec"]["nodeName"].as_str().unwrap();
    if state.lost_nodes.lock().unwrap().contains(node) {
        let message = "error dialing backend: dial tcp 10.0.0.9:10250: connect: no route to host";
        return answer::error(500, "InternalError", message);
    }
    let key = parts.headers.get(header::SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let (Some(key), Some(upgrade)) = (key, parts.extensions.remove::<OnUpgrade>()) else {
        return answer::error(400, "BadRequest", "a websocket is wanted");
    };
    let uid = found["metadata"]["uid"].as_str().unwrap();
    let agent = state.agents.lock().unwrap().get(uid).cloned();
    let task = tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        let [low, high] = PORT.to_le_bytes();
        for channel in [DATA, ERRORS] {
            if socket.send(Message::binary(vec![channel, low, high])).await.is_err() {
                return;
            }
        }
        let Some(agent) = agent else {
            let words = [&[ERRORS][..], b"connect: connection refused"].concat();
            let _ = socket.send(Message::binary(words)).await;
            return;
        };
        let (ours, agents) = tokio::io::duplex(64 * 1024);
        let (mut from_agent, mut to_agent) = tokio::io::split(ours);
        let (mut sink, mut stream) = socket.split();
        let upward = async {
            let mut buffer = vec![0; 16 * 1024];
            buffer[0] = DATA;
            while let Ok(read @ 1..) = from_agent.read(&mut buffer[1..]).await {
                if sink.send(Message::binary(buffer[..=read].to_vec())).await.is_err() {
                    return;
                }
            }
            let _ = sink.close().await;
        };
        let downward = async {
            while let Some(Ok(message)) = stream.next().await {
                match message {
                    Message::Binary(bytes) if bytes.first() == Some(&DATA) => {
                        let Ok(()) = to_agent.write_all(&bytes[1..]).await else { return };
                    }
                    Message::Close(_) => return,
                    _ => {}
                }
            }
        };
        tokio::select! {
            _ = async { tokio::join!(agent.serve(agents), upward) } => {}
            () = downward => {}
        }
    });
    state.streams.lock().unwrap().push((pod.to_owned(), task.abort_handle()));
    let mut answer = answer::text(101, "text/plain", "");
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.clear();
    headers.insert(header::CONNECTION, "Upgrade".parse().unwrap());
    headers.insert(header::UPGRADE, "websocket".parse().unwrap());
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, key.parse().unwrap());
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, "v4.channel.k8s.io".parse().unwrap());
    answer
}
