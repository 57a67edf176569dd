//! Agents in memory: how a run reaches them, and what they say of themselves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use linerate_runner::session::{Dial, Dialling, NoConnection, Stream};
use linerate_wire::engine::EngineInfo;
use linerate_wire::http::HttpDoor;
use linerate_wire::message::{ClockInfo, PROTOCOL_VERSION, Welcome};
use linerate_wire::state::AgentState;
use linerate_wire::streams::StreamsEngine;
use tokio::io::DuplexStream;

/// An agent that answers on a connection.
pub trait Serve: Send + Sync + 'static {
    /// Ends with the connection.
    fn serve(&self, stream: DuplexStream) -> impl Future<Output = ()> + Send;

    fn name(&self) -> &str {
        "an agent in memory"
    }

    /// True when it accepts no connection any more.
    fn has_exited(&self) -> bool {
        false
    }
}

/// Opens connections to an agent.
pub struct Reach<A>(pub Arc<A>);

impl<A: Serve> Dial for Reach<A> {
    fn time_limit(&self) -> Duration {
        Duration::ZERO
    }

    fn dial(&self) -> Dialling<'_> {
        Box::pin(async {
            if self.0.has_exited() {
                return Err(NoConnection::Failed("connection refused".to_owned()));
            }
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let agent = Arc::clone(&self.0);
            tokio::spawn(async move { agent.serve(theirs).await });
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

impl<A: Serve> fmt::Display for Reach<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

/// What an agent with this engine says first, on the machine with this boot id.
pub fn welcome(state: AgentState, engine: EngineInfo, boot_id: &str) -> Welcome {
    Welcome {
        protocol: PROTOCOL_VERSION,
        agent: "stub".to_owned(),
        state,
        waiting: None,
        engine,
        clock: ClockInfo {
            boot_id: boot_id.to_owned(),
            source: "tsc".to_owned(),
            tick_hz: 1_000_000_000,
            rate: None,
            invariant: true,
            now_ns: 0,
        },
        host: None,
    }
}

/// The engine of streams and HTTP.
pub fn kernel_engine(http: Option<HttpDoor>) -> EngineInfo {
    EngineInfo::Streams(Box::new(StreamsEngine {
        listen: Vec::new(),
        workers: 1,
        cpus: vec![0],
        congestion: None,
        interfaces: Vec::new(),
        descriptors: None,
        http,
    }))
}
