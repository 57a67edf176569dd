//! Counters of one stream, which its worker writes and the sampler reads.

use linerate_measure::loops::counters::Block;
use linerate_wire::counters::Counters;

/// Defines a set of counters as an array of known order.
macro_rules! counters {
    ($(#[$about:meta])* $Set:ident { $($(#[$attribute:meta])* $field:ident,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub(crate) struct $Set {
            $($(#[$attribute])* pub(crate) $field: u64,)+
        }

        impl $Set {
            pub(crate) const COUNT: usize = [$(stringify!($field)),+].len();
        }

        impl Counters<{ $Set::COUNT }> for $Set {
            fn to_array(self) -> [u64; $Set::COUNT] {
                [$(self.$field),+]
            }

            fn from_array([$($field),+]: [u64; $Set::COUNT]) -> Self {
                Self { $($field),+ }
            }
        }
    };
}

pub(crate) use counters;

counters! {
    /// Counters of a stream's end: a sender uses those of sending, a receiver the others.
    StreamCounters {
        /// Bytes of payload: that the kernel accepted, or that the program read (UDP: of first copies).
        bytes,
        /// Datagrams that the kernel accepted, or first copies received; 0 for TCP.
        datagrams,
        /// System calls that moved bytes.
        calls,
        /// Sender: times that the socket was full.
        full,
        /// Sender: datagrams that the kernel refused, because a queue or a rule of this host dropped them.
        refused,
        /// Receiver: further copies of datagrams.
        duplicates,
        /// Receiver: first copies that arrived after a later one (RFC 4737).
        reordered,
        /// Receiver: datagrams missing before the last one received.
        missing,
        /// Receiver: datagrams that are not this trial's, or of another length.
        foreign,
        /// Receiver: delays of first copies, added up, in nanoseconds.
        delay_sum_ns,
        /// Receiver: interarrival jitter (RFC 3550), in nanoseconds.
        jitter_ns,
        /// Receiver: time of the first arrival, as of the last one.
        first_ns,
        /// Time of the last arrival, in nanoseconds of the raw monotonic clock; 0: none.
        last_ns,
    }
}

impl StreamCounters {
    /// Something of the stream has arrived.
    #[inline]
    pub(super) fn arrived(&mut self, now_ns: u64) {
        if self.first_ns == 0 {
            self.first_ns = now_ns;
        }
        self.last_ns = now_ns;
    }
}

/// The published counters of one stream.
pub(crate) type StreamBlock = Block<StreamCounters, { StreamCounters::COUNT }>;
