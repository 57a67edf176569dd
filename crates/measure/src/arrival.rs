//! Classification of a received frame within its flow.

/// Position of a frame relative to the earlier ones of its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Its number is the next one expected, or a higher one.
    InOrder,
    /// A first copy that arrived after `extent` frames with higher numbers.
    Reordered {
        /// RFC 4737, section 4.2.
        extent: u32,
    },
    /// The number was received before.
    Duplicate,
    /// Too late to classify; counted as a first copy.
    BeyondMemory,
}
