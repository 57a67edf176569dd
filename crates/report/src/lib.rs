//! Reports and exports of results. This crate only reads results.
//!
//! [`pages`] are reports (HTML, Markdown, LaTeX, workbooks), [`export`] writes samples and figures in other
//! programs' formats, [`compare`] compares two experiments, [`upload`] sends samples to Weights & Biases.
//! [`search`] puts the results of rate searches in words.

pub mod compare;
pub mod export;
mod grouping;
pub mod http;
pub mod pages;
pub mod search;
pub mod streams;
pub mod upload;
