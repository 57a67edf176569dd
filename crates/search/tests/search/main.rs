//! Tests of the search against vectors and against the reference implementation.
#![allow(clippy::unwrap_used, clippy::panic)]

mod methods;
mod models;
mod properties;
mod vectors;
