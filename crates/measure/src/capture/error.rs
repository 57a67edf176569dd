//! Errors of captures that cannot be read or replayed.

use crate::recording::RecordingError;

/// Most frames of a capture. A larger capture is an error, so no frame is cut off silently.
pub(super) const MOST_FRAMES: usize = 4_000_000;
/// Most bytes of frames in a capture: 1 GiB.
pub(super) const MOST_BYTES: u64 = 1 << 30;

/// Error of a capture that cannot be read or replayed, with the reason and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file is too short for a file header.
    #[error("too short for a capture: pcap and pcapng files begin with 24 bytes or more; record it again")]
    TooShort,
    /// The file is of another kind.
    #[error(
        "neither pcap nor pcapng: it begins with {0}; convert it with `editcap -F pcapng IN OUT` if Wireshark reads it"
    )]
    Unknown(String),
    /// The frames are not Ethernet frames.
    #[error("{which} of link type {number} ({name}), not Ethernet; {remedy}")]
    LinkType {
        /// The frames concerned.
        which: String,
        /// Number of the link type.
        number: u32,
        /// Name of the link type.
        name: &'static str,
        /// Remedy.
        remedy: &'static str,
    },
    /// The file is inconsistent.
    #[error("damaged at byte {offset}: {problem}; keep what Wireshark can read of it with `editcap IN OUT`")]
    Damaged {
        /// Offset in the (unpacked) file.
        offset: u64,
        /// The inconsistency.
        problem: String,
    },
    /// The file ends before the end of its first frame.
    #[error("it ends at byte {offset}, before its first whole frame; record or copy it again")]
    NoWholeFrame {
        /// Length of the (unpacked) file.
        offset: u64,
    },
    /// The capture exceeds the limits.
    #[error("more than {MOST_FRAMES} frames or {} MiB; take a part with `editcap -r IN OUT 1-{MOST_FRAMES}`", MOST_BYTES >> 20)]
    TooLarge,
    /// The frames cannot be sent.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The file could not be read.
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
}

/// The error for a file of another kind, by its first bytes.
pub(super) fn unknown(magic: &[u8; 4]) -> CaptureError {
    let name = match magic {
        b"snoo" => "the mark of snoop".to_owned(),
        b"GMBU" => "the mark of Network Monitor".to_owned(),
        b"TRSN" => "the mark of Sniffer".to_owned(),
        _ if magic.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) => {
            format!("the text {:?}", String::from_utf8_lossy(magic))
        }
        [a, b, c, d] => format!("the bytes {a:02x} {b:02x} {c:02x} {d:02x}"),
    };
    CaptureError::Unknown(name)
}

const REWRITE: &str = "these frames have no Ethernet header: record on the interface itself (tcpdump -i eth0, not -i any), or add \
                       one with `tcprewrite --dlt=enet --enet-smac=MAC --enet-dmac=MAC -i IN -o OUT`";
const RADIO: &str =
    "these frames are no Ethernet frames: record behind the access point, on an Ethernet interface";

/// Rejects frames of a link type other than Ethernet.
pub(super) fn ethernet(number: u32, which: impl FnOnce() -> String) -> Result<(), CaptureError> {
    let (name, remedy) = match number {
        1 => return Ok(()),
        0 => ("BSD loopback", REWRITE),
        9 => ("PPP", REWRITE),
        12 | 14 | 101 => ("raw IP", REWRITE),
        105 => ("IEEE 802.11", RADIO),
        108 => ("OpenBSD loopback", REWRITE),
        113 => ("Linux cooked", REWRITE),
        127 => ("IEEE 802.11 with radiotap", RADIO),
        228 => ("raw IPv4", REWRITE),
        229 => ("raw IPv6", REWRITE),
        276 => ("Linux cooked v2", REWRITE),
        _ => (
            "see tcpdump.org/linktypes.html",
            "only Ethernet frames can be sent: record on an Ethernet interface",
        ),
    };
    Err(CaptureError::LinkType { which: which(), number, name, remedy })
}
