//! System calls that `rustix` does not have: the only unsafe code of this crate.

#![allow(unsafe_code)]

pub(crate) mod batch;
pub(crate) mod ethtool;
pub(crate) mod interfaces;
pub(crate) mod sockopt;
pub(crate) mod stamps;
