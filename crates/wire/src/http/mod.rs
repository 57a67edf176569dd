//! HTTP requests: what an agent sends or serves, and what it reports.
//!
//! A trial has clients that send requests and, unless the servers are the user's own, backends that answer them. Between
//! them may be a load balancer. Counts are of requests, and exact: intended = sent + skipped, and sent = answered +
//! failed + unfinished.

mod report;
mod sample;
mod work;

pub use report::{
    AbsenceReport, Connections, GateAnswers, GateReport, HttpPart, HttpReport, LoadReport, LoadWorker,
    RequestCounts, RequestTimes, ServeReport, TlsReport,
};
pub use sample::{HttpMeasures, LoadSample};
pub use work::{
    AbsenceKind, AbsenceWork, Arrivals, BACKEND_SERVER_NAME, Destination, HttpDoor, HttpError, HttpGate,
    HttpLoad, HttpWork, MOST_CONNECTIONS, ServerProof, packets_of_a_request,
};

fn is_zero(number: &u64) -> bool {
    *number == 0
}
