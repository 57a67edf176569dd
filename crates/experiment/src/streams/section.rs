//! `spec.streams`: traffic of TCP and UDP streams, as written.

use linerate_traffic::rate::Rate;
use linerate_wire::streams::Protocol;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::document::unplaced;
use crate::ranged::Ranged;

/// Streams of a connection.
pub(super) type Parallel = Ranged<1, 16_384>;
/// Bytes of a message: of a write of TCP, of a datagram of UDP.
pub(super) type MessageBytes = Ranged<1, 4_194_304>;

/// A matrix of stream profiles: every transport with every number of streams, message size, congestion control and rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StreamsSection {
    /// Transport protocols; TCP by default.
    #[schemars(with = "Vec<Protocol>", length(min = 1))]
    pub transports: Spanned<Vec<Protocol>>,
    /// Numbers of streams of a connection, which share its rate; 1 by default.
    #[schemars(with = "Vec<Parallel>", length(min = 1))]
    pub parallel: Spanned<Vec<Parallel>>,
    /// Intended loads of a connection, all of its streams together: bits of payload per second, or datagrams per second of UDP. TCP: `max` by
    /// default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Rate>>", length(min = 1))]
    pub rates: Option<Spanned<Vec<Rate>>>,
    /// Bytes of payload of a message: a write of TCP (262144 by default), or a datagram of UDP (1448 by default).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<MessageBytes>>", length(min = 1))]
    pub message_bytes: Option<Spanned<Vec<MessageBytes>>>,
    /// Congestion controls of TCP; that of the sending kernel by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>", length(min = 1))]
    pub congestion: Option<Spanned<Vec<String>>>,
    /// Bytes of send and receive buffer; the kernel adjusts them by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_bytes: Option<Ranged<1, 2_147_483_647>>,
    /// Largest payload of a TCP segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mss: Option<Ranged<88, 32_767>>,
    /// Differentiated services code point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dscp: Option<Ranged<0, 63>>,
    /// With a rate: the kernel paces each stream, too.
    pub kernel_pacing: bool,
    /// UDP: datagrams per call that the sender's kernel cuts apart (`UDP_SEGMENT`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gso: Option<Ranged<2, 64>>,
    /// UDP: the receiver's kernel may deliver several datagrams at once (`UDP_GRO`).
    pub gro: bool,
    /// TCP: the receiver discards what arrives without copying it.
    pub skip_copy: bool,
    /// Trials have no duration: each sends until the run is interrupted, and has a result then.
    pub endless: bool,
}

impl Default for StreamsSection {
    fn default() -> Self {
        Self {
            transports: unplaced(vec![Protocol::Tcp]),
            parallel: unplaced(vec![Ranged::of::<1>()]),
            rates: None,
            message_bytes: None,
            congestion: None,
            window_bytes: None,
            mss: None,
            dscp: None,
            kernel_pacing: false,
            gso: None,
            gro: false,
            skip_copy: false,
            endless: false,
        }
    }
}
