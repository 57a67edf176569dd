//! What the threads of both ends hand over.

pub(crate) use super::stream::{Answered, Shared, StreamTally, Tally, answer};
