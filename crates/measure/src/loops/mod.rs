//! Polling loops of the worker lcores, generic over their queues.

mod absence;
pub mod counters;
#[cfg(test)]
mod memory_link;
pub mod own_frames;
pub mod queue;
pub mod receive;
pub mod reflect;
pub mod source;
pub mod stop;
pub mod transmit;

#[cfg(test)]
mod tests;
