//! What no agent can have counted. A report with such a number is refused as a whole, so that sums over streams, connections
//! and agents stay exact.

use crate::http::{GateReport, HttpPart, LoadReport, RequestCounts, ServeReport};
use crate::report::{Distribution, Latency, LatencySummary, Report, ReportDetail};
use crate::streams::{PathReport, ReceivingReport, SendingReport, TcpInfo};

/// Most bytes, packets or requests that a report can plausibly count: at 400 Gbit/s, bytes of 16 days. 255 times as many fit into
/// 64 bits.
pub const MOST_COUNTED: u64 = 1 << 56;

impl Report {
    /// The first thing that cannot have been measured, in words; `None` when there is none. Frames are not looked at: counters of
    /// drivers may have any value.
    pub fn implausible(&self) -> Option<String> {
        match &self.detail {
            ReportDetail::Streams(streams) => streams.paths.iter().find_map(path),
            ReportDetail::Http(http) => match &http.part {
                HttpPart::Load(load) => client(load),
                HttpPart::Serve(served) => backend(served),
                HttpPart::Gate(gate) => probes(gate),
            },
            _ => None,
        }
    }
}

/// Counts that are added up; `None` when their sum is plausible.
fn counted(what: &str, counts: impl Iterator<Item = u64>) -> Option<String> {
    let sum: u128 = counts.map(u128::from).sum();
    (sum > u128::from(MOST_COUNTED)).then(|| format!("{what}: {sum} is more than a trial can have"))
}

fn times(what: &str, summary: &LatencySummary, histogram: &[(u64, u64)]) -> Option<String> {
    let LatencySummary { min, max, .. } = summary;
    let reversed =
        (min > max).then(|| format!("{what}: the smallest of {min} ns is above the largest of {max} ns"));
    reversed.or_else(|| counted(what, histogram.iter().map(|(_, count)| *count)))
}

fn path(path: &PathReport) -> Option<String> {
    let found = path.sending.as_ref().and_then(sending);
    let found = found.or_else(|| path.receiving.as_ref().and_then(receiving));
    found.map(|what| format!("path {}, {what}", path.path))
}

fn sending(SendingReport { streams, forgone, .. }: &SendingReport) -> Option<String> {
    let tcp =
        |of: fn(&TcpInfo) -> Option<u64>| streams.iter().filter_map(move |stream| of(stream.tcp.as_ref()?));
    counted("forgone", [*forgone].into_iter())
        .or_else(|| counted("bytes written", streams.iter().map(|stream| stream.bytes)))
        .or_else(|| counted("bytes acknowledged", streams.iter().filter_map(|stream| stream.acked_bytes)))
        .or_else(|| counted("datagrams sent", streams.iter().map(|stream| stream.datagrams)))
        .or_else(|| counted("datagrams refused", streams.iter().map(|stream| stream.refused)))
        .or_else(|| counted("microseconds busy", tcp(|info| info.busy_us)))
        .or_else(|| counted("microseconds limited by the window", tcp(|info| info.window_limited_us)))
        .or_else(|| counted("microseconds limited by the buffer", tcp(|info| info.buffer_limited_us)))
}

fn receiving(ReceivingReport { streams, latency, .. }: &ReceivingReport) -> Option<String> {
    let delays = |Latency { summary, variation, histogram, .. }: &Latency| {
        times("delays", summary, histogram).or_else(|| times("delay variation", variation, &[]))
    };
    latency
        .as_ref()
        .and_then(delays)
        .or_else(|| counted("bytes received", streams.iter().map(|stream| stream.bytes)))
        .or_else(|| counted("datagrams received", streams.iter().map(|stream| stream.datagrams)))
        .or_else(|| counted("duplicates", streams.iter().map(|stream| stream.duplicates)))
        .or_else(|| counted("reordered datagrams", streams.iter().map(|stream| stream.reordered)))
        .or_else(|| counted("foreign datagrams", streams.iter().map(|stream| stream.foreign)))
        .or_else(|| counted("drops of sockets", streams.iter().filter_map(|stream| stream.socket_drops)))
}

fn client(load: &LoadReport) -> Option<String> {
    let RequestCounts { intended, sent, skipped, answered, failed, unfinished } = &load.requests;
    let requests = [*intended, *sent, *skipped, *answered, *unfinished, load.written, load.answered_in_time];
    let answers = [load.unnamed, load.others].into_iter().chain(load.by_backend.values().copied());
    let failures = load.failure_bins.iter().map(|(_, count)| *count).chain([load.failures_without_time]);
    let connections = &load.connections;
    let connections = [
        connections.opened,
        connections.refused,
        connections.reopened,
        connections.closed_idle,
        connections.unsolicited,
    ];
    let distributions = [
        ("corrected latency", &load.times.corrected),
        ("service time", &load.times.service),
        ("time to the first byte", &load.times.first_byte),
        ("error of sending", &load.times.send_error),
        ("time to connect", &load.times.connect),
    ];
    counted("requests", requests.into_iter().chain(failed.values().copied()))
        .or_else(|| counted("requests that waited", load.queued.into_iter()))
        .or_else(|| counted("answers by backend", answers))
        .or_else(|| counted("answers by status", load.statuses.values().copied()))
        .or_else(|| counted("failures over time", failures))
        .or_else(|| counted("connections", connections.into_iter()))
        .or_else(|| counted("bytes", [load.sent_bytes, load.received_bytes].into_iter()))
        .or_else(|| counted("requests permitted", load.permitted.into_iter()))
        .or_else(|| {
            let tls = load.tls.as_ref()?;
            counted(
                "handshakes",
                [tls.handshakes, tls.resumed].into_iter().chain(tls.failed.values().copied()),
            )
        })
        .or_else(|| {
            distributions.into_iter().find_map(|(what, distribution)| {
                let Distribution { summary, histogram } = distribution.as_ref()?;
                times(what, summary, histogram)
            })
        })
}

fn backend(served: &ServeReport) -> Option<String> {
    let ServeReport { requests, answered, connections, absence, .. } = served;
    let cut = absence.map_or(0, |absence| absence.cut_connections);
    counted("requests", [*requests, *answered].into_iter())
        .or_else(|| counted("connections", [*connections, cut].into_iter()))
}

fn probes(gate: &GateReport) -> Option<String> {
    let answers = gate.backends.values().map(|backend| backend.answers);
    counted("probes", [gate.probes, gate.failed].into_iter().chain(answers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HttpReport, RequestTimes};
    use crate::report::Ended;
    use crate::streams::CpuUse;

    fn of(part: HttpPart) -> Report {
        let detail = ReportDetail::Http(Box::new(HttpReport { part, cpu: CpuUse::default() }));
        Report::new(1, Ended::Stopped, 0, detail)
    }

    #[test]
    fn numbers_that_no_trial_has_are_named() {
        let load = |load| of(HttpPart::Load(Box::new(load)));
        assert_eq!(load(LoadReport { written: MOST_COUNTED, ..LoadReport::default() }).implausible(), None);
        let backends = [("b0".to_owned(), u64::MAX), ("b1".to_owned(), u64::MAX)].into();
        let reversed = LatencySummary { min: 9, max: 5, ..LatencySummary::default() };
        let service = Some(Distribution { summary: reversed, histogram: vec![(9, 1)] });
        let times = RequestTimes { service, ..RequestTimes::default() };
        for (report, words) in [
            (load(LoadReport { by_backend: backends, ..LoadReport::default() }), "answers by backend: 36893"),
            (load(LoadReport { times, ..LoadReport::default() }), "service time: the smallest of 9 ns"),
            (
                of(HttpPart::Serve(ServeReport { requests: u64::MAX, ..ServeReport::default() })),
                "requests: 18446",
            ),
        ] {
            let said = report.implausible().unwrap_or_default();
            assert!(said.starts_with(words), "{said}");
        }
    }
}
