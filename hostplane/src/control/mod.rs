//! What the two ends of a trial say to each other: JSON lines over one TCP connection per trial.
//!
//! ```text
//! client                                   server
//! hello {protocol, program, nonce}    ►
//!                                     ◄    challenge {protocol, program, nonce, proof}
//! proof {proof}                       ►
//!                                     ◄    welcome {boot_id, …}
//! ping, several times                 ►◄   pong {now_ns}
//! observe, any number of times        ►◄   observed {…}
//! trial {…} | exchange {…} | ladder   ►
//!                                     ◄    accepted {tag}
//! streams: connections or datagrams that begin with a header
//!                                     ◄    ready
//! start {at_ns, …}                    ►
//!                                     ◄    sample, each interval
//! ended {counts}                      ►◄   ended {counts}
//!                                     ◄    report
//! ```
//!
//! Both ends prove that they know the token, and the token itself is never sent. The key of the streams
//! follows from the token and both nonces, so it is a new one for each connection.

pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod proof;

use std::time::Duration;

/// Version of the messages. Both ends must speak the same.
pub(crate) const PROTOCOL: u32 = 1;
/// Time for each step of the set-up.
pub(crate) const STEP_TIME: Duration = Duration::from_secs(10);
/// Time between signs of life, and the silence after which the other end counts as gone.
pub(crate) const ALIVE_TIME: Duration = Duration::from_secs(1);
/// See [`ALIVE_TIME`].
pub(crate) const SILENCE_TIME: Duration = Duration::from_secs(10);
/// Time between two looks at a running trial.
pub(crate) const LOOK_TIME: Duration = Duration::from_millis(10);

/// The program and its version, as told to the other end.
pub(crate) fn program() -> String {
    format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
}
