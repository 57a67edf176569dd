//! What iperf3's clients and servers say to each other: bytes in, values out. Pure.
//!
//! A test has one control connection, on which the ends exchange [states](state), and two JSON objects in
//! [frames](frame): the client's [parameters] and both ends' [results]. Each data connection begins with the
//! [cookie](cookie::Cookie) of its test; a stream of datagrams begins with a [greeting](datagram::answer).
//!
//! ```text
//! client                                   server
//! cookie                              ►
//!                                     ◄    9 parameters, or -1 denied
//! frame: parameters                   ►
//!                                     ◄    10 create streams, or -2 error and two numbers
//! data connections, datagrams         ►
//!                                     ◄    1 start, 2 running
//! 4 end (or 12 client terminates)     ►    (or 11 server terminates)
//!                                     ◄    13 exchange results
//! frame: results                      ►
//!                                     ◄    frame: results, 14 display results
//! 16 done                             ►
//! ```
//!
//! Everything that is read comes from a stranger: sizes and numbers have limits, types are checked, and nothing
//! here panics.

pub mod cookie;
pub mod datagram;
pub mod frame;
mod object;
pub mod parameters;
pub mod results;
pub mod state;

pub use object::Malformed;

/// Port of iperf3's servers.
pub const PORT: u16 = 5201;

/// Number of a stream in results: 1, 3, 4, 5, … in the order in which the streams were made. iperf3 leaves 2 out.
pub fn stream_id(index: u32) -> u32 {
    if index == 0 { 1 } else { index.saturating_add(2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_stream_has_number_three() {
        assert_eq!([0, 1, 2, 3, u32::MAX].map(stream_id), [1, 3, 4, 5, u32::MAX]);
    }
}
