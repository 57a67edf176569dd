//! Streams through the kernel's sockets: what is sent, and what both ends report.
//!
//! A path carries streams from one end to another. All byte counts are bytes of payload, without the headers of
//! any protocol.

mod report;
mod sample;
mod spec;
mod tcp_info;
mod work;

pub use report::{
    CpuUse, HostCpu, PathReport, ReceivedStream, ReceivingReport, SendingEnd, SendingReport, SentStream,
    StreamEnd, StreamEndKind, StreamsReport,
};
pub use sample::{PathMeasures, ReceivedSample, SentSample, StreamsMeasures, TcpPoint};
pub use spec::{LEAST_DATAGRAM_BYTES, Load, MOST_STREAMS, Protocol, SocketOptions, SpecError, StreamsSpec};
pub use tcp_info::TcpInfo;
pub use work::{Interface, KeyError, PathSide, PathWork, StreamKey, StreamsEngine, StreamsWork};
