//! Streams through the kernel's sockets: what is sent, and what both ends report.
//!
//! A path carries streams from one end to another. All byte counts are bytes of payload, without the headers of
//! any protocol.

mod account;
mod report;
mod sample;
mod spec;
mod tcp_info;
mod verdict;
mod work;

pub use account::gap;
pub use report::{
    CpuUse, HostCpu, PathReport, ReceivedStream, ReceivingReport, SendingEnd, SendingReport, SentStream,
    StreamEnd, StreamEndKind, StreamsReport,
};
pub use sample::{PathMeasures, ReceivedSample, SentSample, StreamsMeasures, TcpPoint};
pub use spec::{LEAST_DATAGRAM_BYTES, Load, MOST_STREAMS, Protocol, SocketOptions, SpecError, StreamsSpec};
pub use tcp_info::TcpInfo;
pub use verdict::{
    CpuEvidence, DatagramEvidence, SegmentEvidence, StreamsEvidence, StreamsLimit, StreamsVerdict, bit_rate,
};
pub use work::{Interface, KeyError, PathSide, PathWork, StreamKey, StreamsEngine, StreamsWork};
