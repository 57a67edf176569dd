//! What a benchmark measures: from its parameters to the benchmark, and back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    BackToBack, BackToBackSpec, LatencyShares, LatencySpec, LossCurve, LossCurveSpec, Method, MethodError,
    Recovery, RecoverySpec, ServiceSpec, ServiceTest, Soak, SoakSpec,
};

/// Parameters of a benchmark of any kind. With the outcomes of its trials, they give its result again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", rename_all = "camelCase")]
pub enum MethodSpec {
    /// RFC 2544, section 26.2.
    Latency(LatencySpec),
    /// RFC 2544, section 26.3.
    LossCurve(LossCurveSpec),
    /// RFC 2544, section 26.4, and RFC 9004.
    BackToBack(BackToBackSpec),
    /// RFC 2544, section 26.5.
    Recovery(RecoverySpec),
    /// ITU-T Y.1564.
    Service(ServiceSpec),
    /// A long trial at one load.
    Soak(SoakSpec),
}

impl MethodSpec {
    /// The benchmark without trials.
    ///
    /// # Errors
    /// The first parameter out of range.
    pub fn begin(self) -> Result<Method, MethodError> {
        match self {
            Self::Latency(spec) => LatencyShares::new(spec).map(Method::Latency),
            Self::LossCurve(spec) => LossCurve::new(spec).map(Method::LossCurve),
            Self::BackToBack(spec) => BackToBack::new(spec).map(Method::BackToBack),
            Self::Recovery(spec) => Recovery::new(spec).map(Method::Recovery),
            Self::Service(spec) => ServiceTest::new(spec).map(Method::Service),
            Self::Soak(spec) => Soak::new(spec).map(Method::Soak),
        }
    }
}

impl Method {
    /// Its parameters.
    pub fn spec(&self) -> MethodSpec {
        match self {
            Self::Latency(method) => MethodSpec::Latency(method.spec().clone()),
            Self::LossCurve(method) => MethodSpec::LossCurve(method.spec().clone()),
            Self::BackToBack(method) => MethodSpec::BackToBack(method.spec().clone()),
            Self::Recovery(method) => MethodSpec::Recovery(method.spec().clone()),
            Self::Service(method) => MethodSpec::Service(method.spec().clone()),
            Self::Soak(method) => MethodSpec::Soak(method.spec().clone()),
        }
    }
}
