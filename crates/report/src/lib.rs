//! Results for people and for other programs. Everything here reads results and nothing else.
//!
//! [`pages`] are reports (HTML, Markdown, LaTeX, workbooks), [`export`] writes samples and figures in other programs' forms, [`compare`]
//! decides between two experiments, [`upload`] sends samples to Weights & Biases.

pub mod compare;
pub mod export;
pub mod pages;
pub mod upload;
