//! The end of a test: what is under way arrives, and is acknowledged.

use std::time::Duration;

use linerate_wire::streams::Protocol;
use tokio::time::{Instant, sleep};

use crate::iperf3::LOOK_TIME;
use crate::iperf3::account::Claims;
use crate::spec::TrialSpec;
use crate::streams::report::SentCounts;
use crate::streams::session::Session;

/// Rest of the acknowledgements after which a client that has ended its test acknowledges nothing more, and the
/// longest wait for them.
const UNACKNOWLEDGED: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// Rest of the arrivals after which everything that the client sent has arrived; until which bytes that it sent
/// are awaited; and the longest wait.
const ARRIVALS: (Duration, Duration, Duration) =
    (Duration::from_millis(20), Duration::from_secs(3), Duration::from_secs(15));

/// Waits until the client's kernel has acknowledged everything, or acknowledges nothing more.
pub(super) async fn acknowledged(session: &Session) {
    let (rest, most) = UNACKNOWLEDGED;
    let began = Instant::now();
    let (mut open, mut since) = (session.unacknowledged(), began);
    while open > 0 && since.elapsed() < rest && began.elapsed() < most {
        sleep(LOOK_TIME).await;
        let now = session.unacknowledged();
        if now != open {
            (open, since) = (now, Instant::now());
        }
    }
}

/// Waits until what the client sent has arrived, as far as it tells, or nothing more arrives.
pub(super) async fn arrive(session: &mut Session, spec: &TrialSpec, claims: &[Claims], omitted: bool) {
    let (rest, stalled, most) = ARRIVALS;
    let began = Instant::now();
    if spec.each.protocol == Protocol::Udp {
        let datagrams = claims.iter().map(|claim| claim.packets.unwrap_or(u64::from(u32::MAX))).collect();
        session.expect(SentCounts { bytes: Vec::new(), datagrams });
        while !session.is_over() && began.elapsed() < most {
            session.look();
            sleep(LOOK_TIME).await;
        }
        return;
    }
    let (mut arrived, mut since) = (0, began);
    while began.elapsed() < most {
        let counts = session.stream_counts();
        let bytes: u64 = counts.iter().map(|(_, counts)| counts.bytes).sum();
        if bytes != arrived {
            (arrived, since) = (bytes, Instant::now());
        }
        let enough = |claim: &Claims| {
            let found = counts.iter().find(|(number, _)| *number == claim.stream);
            found.is_some_and(|(_, counts)| counts.bytes >= claim.bytes)
        };
        // With an omitted beginning, the client's bytes are fewer than those that it sent.
        let needed = if !omitted && claims.iter().all(enough) {
            rest
        } else if omitted {
            10 * rest
        } else {
            stalled
        };
        if since.elapsed() >= needed {
            return;
        }
        sleep(LOOK_TIME).await;
    }
}
