//! Refused trials and requests, and their messages.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use linerate_traffic::profile::MAX_FLOWS;
use linerate_wire::diagnosis::DiagnosisWork;
use linerate_wire::message::{ErrorCode, WireError};
use linerate_wire::streams::StreamsWork;
use linerate_wire::trial::{FrameWork, RoleSpec, TransmitSpec, TrialSpec, Work};

use crate::engine::EngineError;

const INTERVAL_RANGE_MS: RangeInclusive<u32> = 10..=3_600_000;
const ORPHAN_RANGE_MS: RangeInclusive<u32> = 100..=3_600_000;

/// Checks the parts of a trial that do not need the engine.
pub(crate) fn validate(spec: &TrialSpec) -> Result<(), WireError> {
    range("sample_interval_ms", spec.sample_interval_ms, INTERVAL_RANGE_MS)?;
    range("orphan_ms", spec.orphan_ms, ORPHAN_RANGE_MS)?;
    match &spec.work {
        Work::Frames(frames) => validate_frames(frames),
        Work::Streams(streams) => validate_streams(streams),
        Work::Http(http) => http.check().map_err(|error| refused(error.to_string())),
        Work::Diagnosis(DiagnosisWork::Ask(ask)) => ask.spec.check().map_err(refused),
        Work::Diagnosis(DiagnosisWork::Answer { .. }) | Work::Watch(_) => Ok(()),
    }
}

fn validate_streams(work: &StreamsWork) -> Result<(), WireError> {
    let mut numbers = BTreeSet::new();
    for path in &work.paths {
        path.streams.check().map_err(|error| refused(format!("path {}: {error}", path.path)))?;
        if !numbers.insert(path.path) {
            return Err(refused(format!("path {}: there are two of this number", path.path)));
        }
    }
    if work.paths.is_empty() { Err(refused("paths: there is none".into())) } else { Ok(()) }
}

fn validate_frames(work: &FrameWork) -> Result<(), WireError> {
    let peer = |transmit: &TransmitSpec| {
        if transmit.peer_mac.is_zero() {
            Err(refused("peer_mac: 00:00:00:00:00:00 is not the address of a port".into()))
        } else {
            Ok(())
        }
    };
    match &work.role {
        RoleSpec::Receive(receive) => range("flows", receive.flows, 1..=MAX_FLOWS),
        RoleSpec::Transmit(transmit) => peer(transmit),
        RoleSpec::Exchange(transmit, receive) => {
            peer(transmit).and_then(|()| range("flows", receive.flows, 1..=MAX_FLOWS))
        }
        RoleSpec::Reflect => Ok(()),
    }
}

fn range(field: &str, value: u32, range: RangeInclusive<u32>) -> Result<(), WireError> {
    if range.contains(&value) {
        Ok(())
    } else {
        Err(refused(format!("{field}: {value} is outside {}…{}", range.start(), range.end())))
    }
}

/// Error: the trial or the request is not possible as specified.
pub(crate) fn refused(message: String) -> WireError {
    WireError { code: ErrorCode::Refused, message }
}

/// Error: the engine failed.
pub(crate) fn failed(error: &impl std::fmt::Display) -> WireError {
    WireError { code: ErrorCode::Failed, message: error.to_string() }
}

impl From<EngineError> for WireError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Refused(reason) => refused(reason),
            EngineError::Failed(_) => failed(&error),
        }
    }
}
