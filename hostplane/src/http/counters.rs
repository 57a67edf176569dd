//! Counters of one worker, which it writes and the sampler reads.

use linerate_http::tls::fault::FaultKind;
use linerate_measure::loops::counters::Block;
use linerate_wire::counters::Counters;

use crate::streams::counters::counters;

counters! {
    /// Counters of a trial's requests, or of one worker's. While it runs, intended = sent + skipped + waiting, and
    /// sent = answered + failed + busy; at the end, intended = sent + skipped, and sent = answered + failed + unfinished.
    HttpCounters {
        /// Requests that were due: by the schedule, or because a connection was free.
        intended,
        /// Requests that were given to a connection.
        sent,
        /// Requests of which at least one byte was written: those that a server can have seen.
        written,
        /// Requests that were due and waited for a connection, or for a ceiling, however short.
        queued,
        /// Requests that were due when all connections were busy and the queue was full.
        skipped_full,
        /// Requests that still waited in the queue when the time of sending ended.
        skipped_at_end,
        /// Whole responses.
        answered,
        /// Of these, those whose last byte came within the time of sending.
        answered_in_time,
        /// Whole responses by class of their status.
        status_2xx,
        status_3xx,
        status_4xx,
        status_5xx,
        /// Whole responses with a status of 600 or more.
        status_other,
        /// Failed requests: no connection was made.
        failed_connect,
        /// Failed requests: no local port or file descriptor was free, or the kernel had no memory.
        failed_local,
        /// Failed requests: the peer reset the connection.
        failed_reset,
        /// Failed requests: the peer closed the connection before the end of the response.
        failed_closed_early,
        /// Failed requests: the end of the response had not come in time.
        failed_timeout,
        /// Failed requests: what came is not HTTP, or breaks its rules.
        failed_malformed,
        /// Failed requests: a response beyond the limits of its head or body.
        failed_too_large,
        /// Failed requests: the server reset the stream of HTTP/2, or refused to begin with it.
        failed_stream_reset,
        failed_stream_refused,
        /// Failed requests: TLS could not be agreed on, or broke.
        failed_tls_unknown_issuer,
        failed_tls_expired,
        failed_tls_name,
        failed_tls_certificate,
        failed_tls_alert,
        failed_tls_protocol,
        failed_tls_closed,
        failed_tls_timeout,
        /// Requests that were under way when the trial was over.
        unfinished,
        /// Connections that were made, with TLS those whose handshake is over.
        connected,
        /// Connections that were made in place of an earlier one of the same slot.
        reconnected,
        /// Attempts to connect that failed, with or without a request.
        connect_failures,
        /// Connections that the peer closed while no request was under way.
        closed_idle,
        /// Connections that were closed because bytes came to which no request belongs.
        unsolicited,
        /// Bytes of requests that the kernel accepted.
        written_bytes,
        /// Bytes of responses that were read, heads included.
        read_bytes,
        /// Bytes of bodies of whole responses, without chunk framing.
        body_bytes,
        /// Times that a server of HTTP/2 ended a connection (GOAWAY), and requests that it returned then without having
        /// begun with them: they were sent again.
        goaways,
        returned,
        /// Handshakes of TLS that are over, and those of them that took up an earlier session.
        handshakes,
        resumed,
        /// Bytes on the wire of connections with TLS: handshakes and what encryption adds included.
        wire_read_bytes,
        wire_written_bytes,
        /// Requests that wait in the queue now.
        waiting,
        /// Connections with a request now.
        busy,
    }
}

/// The published counters of one worker.
pub(crate) type HttpBlock = Block<HttpCounters, { HttpCounters::COUNT }>;

impl HttpCounters {
    /// The counters of two workers together.
    pub(crate) fn plus(self, other: Self) -> Self {
        let (mine, theirs) = (self.to_array(), other.to_array());
        Self::from_array(std::array::from_fn(|index| mine[index].saturating_add(theirs[index])))
    }

    /// Requests that failed, of all kinds.
    pub(crate) fn failed(&self) -> u64 {
        self.failures().iter().map(|(_, count)| count).sum()
    }

    /// Failed requests by kind, by the kind's name in results.
    pub(crate) fn failures(&self) -> [(&'static str, u64); 17] {
        [
            ("connect", self.failed_connect),
            ("local", self.failed_local),
            ("reset", self.failed_reset),
            ("closed_early", self.failed_closed_early),
            ("timeout", self.failed_timeout),
            ("malformed", self.failed_malformed),
            ("too_large", self.failed_too_large),
            ("stream_reset", self.failed_stream_reset),
            ("stream_refused", self.failed_stream_refused),
            (FaultKind::UnknownIssuer.word(), self.failed_tls_unknown_issuer),
            (FaultKind::Expired.word(), self.failed_tls_expired),
            (FaultKind::Name.word(), self.failed_tls_name),
            (FaultKind::Certificate.word(), self.failed_tls_certificate),
            (FaultKind::Alert.word(), self.failed_tls_alert),
            (FaultKind::Protocol.word(), self.failed_tls_protocol),
            (FaultKind::Closed.word(), self.failed_tls_closed),
            (FaultKind::Timeout.word(), self.failed_tls_timeout),
        ]
    }

    /// The counter of requests that failed because of TLS.
    pub(crate) fn failed_tls(&mut self, kind: FaultKind) -> &mut u64 {
        match kind {
            FaultKind::UnknownIssuer => &mut self.failed_tls_unknown_issuer,
            FaultKind::Expired => &mut self.failed_tls_expired,
            FaultKind::Name => &mut self.failed_tls_name,
            FaultKind::Certificate => &mut self.failed_tls_certificate,
            FaultKind::Alert => &mut self.failed_tls_alert,
            FaultKind::Protocol => &mut self.failed_tls_protocol,
            FaultKind::Closed => &mut self.failed_tls_closed,
            FaultKind::Timeout => &mut self.failed_tls_timeout,
        }
    }

    /// Requests that were due and never given to a connection.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped_full + self.skipped_at_end
    }

    /// Why the account of a trial that is over does not add up; `None` when it does.
    pub(crate) fn gap(&self) -> Option<String> {
        let (skipped, failed) = (self.skipped(), self.failed());
        let Self { intended, sent, answered, unfinished, .. } = self;
        if *intended != sent + skipped {
            return Some(format!("{intended} intended requests are not {sent} sent and {skipped} skipped"));
        }
        (*sent != answered + failed + unfinished).then(|| {
            format!("{sent} sent requests are not {answered} answered, {failed} failed and {unfinished} unfinished")
        })
    }

    /// Responses that are no success: 4xx and 5xx.
    pub(crate) fn error_responses(&self) -> u64 {
        self.status_4xx + self.status_5xx
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_kinds() {
        let numbered = HttpCounters::from_array(std::array::from_fn(|index| index as u64));
        assert_eq!(numbered.plus(numbered).to_array(), std::array::from_fn(|index| 2 * index as u64));
        let counters = HttpCounters {
            sent: 10,
            answered: 3,
            failed_reset: 2,
            failed_timeout: 4,
            ..HttpCounters::default()
        };
        assert_eq!(counters.failed(), 6);
        assert!(counters.gap().unwrap().contains("0 intended"));
        let counters = HttpCounters { intended: 10, ..counters };
        assert!(counters.gap().unwrap().contains("10 sent requests are not 3 answered, 6 failed and 0"));
        assert_eq!(HttpCounters { unfinished: 1, ..counters }.gap(), None);
    }
}
