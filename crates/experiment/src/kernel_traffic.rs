//! Profiles of traffic through the kernel's sockets, and the fields of a document that do not go with it. Pure.

use serde_saphyr::Location;

use crate::Wrong;
use crate::direction::Direction;
use crate::document::{Document, PlatformKind, Spec, TrialDuration};
use crate::http::{HttpProfile, RequestRate};
use crate::streams::StreamsProfile;

/// Profiles of `spec.streams`, after the default duration is filled in; none in an experiment of other traffic.
pub(crate) fn streams_profiles(document: &mut Document) -> Result<Vec<StreamsProfile>, Wrong> {
    let spec = &mut document.spec;
    let topology = spec.topology.clone().unwrap_or_default();
    let nowhere = |problem: String| (Location::UNKNOWN, problem);
    let Some(section) = &spec.streams else {
        if spec.topology.is_some() {
            let problem =
                "spec.topology: given without spec.streams; frames go between pairs, which spec.pairs counts";
            return Err(nowhere(problem.to_owned()));
        }
        return Ok(Vec::new());
    };
    let of_streams = [
        (
            "spec.search",
            spec.search.is_some(),
            "rates of streams are not searched for; give spec.streams.rates",
        ),
        (
            "spec.trial.direction",
            spec.trial.direction == Direction::RoundTrip,
            "round-trip times are the kernel's in every trial of TCP; use one-way or bidirectional",
        ),
        (
            "spec.trial.duration",
            section.endless && spec.trial.duration.is_some(),
            "an endless trial has no duration; remove it, or spec.streams.endless",
        ),
    ];
    refuse(spec, "streams", &of_streams)?;
    topology.check(spec.pairs.0.get_u32()).map_err(nowhere)?;
    if !section.endless && spec.trial.duration.is_none() {
        spec.trial.duration = Some(TrialDuration::of_millis::<10_000>());
    }
    let duration_ms = spec.trial.duration.map(TrialDuration::millis);
    section.profiles(duration_ms)
}

/// Profiles of `spec.http`, after the default duration is filled in; none in an experiment of other traffic.
pub(crate) fn http_profiles(document: &mut Document) -> Result<Vec<HttpProfile>, Wrong> {
    let spec = &mut document.spec;
    let Some(section) = &spec.http else { return Ok(Vec::new()) };
    let of_http = [
        ("spec.streams", spec.streams.is_some(), "requests are other traffic; remove one of them"),
        ("spec.search", spec.search.is_some(), "it searches for rates of frames; give spec.http.search"),
        ("spec.pairs", spec.pairs.0.get() != 1, "clients are counted by spec.http.clients; remove it"),
        (
            "spec.trial.direction",
            spec.trial.direction != Direction::OneWay,
            "requests go from clients to backends; remove it",
        ),
    ];
    refuse(spec, "http", &of_http)?;
    if let Some(target) = section.targets.value.iter().find(|target| !target.runs_on(spec.platform)) {
        let others = match spec.platform {
            PlatformKind::Local => "direct, nftables-random, nftables-inc, ipvs-rr, haproxy, or a URL",
            PlatformKind::Kubernetes => "cluster-ip, node-port, direct, or a URL",
        };
        let problem = format!(
            "spec.http.targets: {target} is not available on platform {}; give {others}, or another spec.platform",
            spec.platform.name()
        );
        return Err((section.targets.referenced, problem));
    }
    if let Some(search) = &section.search {
        let beside = [
            ("spec.http.rates", section.rates.value != [RequestRate::Max], "the search chooses them"),
            ("spec.http.churn", section.churn.is_some(), "a search has no use for its errors"),
            ("spec.trial.duration", spec.trial.duration.is_some(), "the goals say how long trials last"),
            ("spec.trial.repeats", spec.trial.repeats.get() != 1, "the goals say how often a rate is tried"),
            ("spec.trial.order", !spec.trial.order.is_usual(), "a search chooses the order of its trials"),
        ];
        if let Some((field, _, why)) = beside.into_iter().find(|(_, given, _)| *given) {
            let problem = format!("{field}: given beside spec.http.search; {why}; remove one of them");
            return Err((Location::UNKNOWN, problem));
        }
        crate::not_empty("spec.http.search.goals", &search.goals)?;
        search.check().map_err(|problem| (Location::UNKNOWN, format!("spec.http.search: {problem}")))?;
        return section.profiles(0);
    }
    let usual = TrialDuration::of_millis::<10_000>();
    let duration_ms = spec.trial.duration.get_or_insert(usual).millis();
    section.profiles(duration_ms)
}

/// Refuses fields that are given beside `spec.TRAFFIC`: those of frames, and those in `more`.
fn refuse(spec: &Spec, traffic: &str, more: &[(&str, bool, &str)]) -> Result<(), Wrong> {
    let trial = &spec.trial;
    let rates = if traffic == "http" { "1000" } else { "100mbps" };
    let other = format!(
        "it describes frames; remove one of them (spec.{traffic} has fields of its own: --set 'spec.{traffic}.rates=[{rates}]')"
    );
    let of_frames = [
        ("spec.traffic", spec.traffic.is_some(), other.as_str()),
        ("spec.profiles", spec.profiles.is_some(), &other),
        ("spec.addresses", spec.addresses.is_some(), "the kernel's addresses are used; remove it"),
        ("spec.local.devices", spec.local.devices.is_some(), "the kernel's interfaces are used; remove it"),
        ("spec.trial.packets", trial.packets.is_some(), "trials end by time; give spec.trial.duration"),
        ("spec.trial.allFlows", trial.all_flows, "everything has its results in any case; remove it"),
    ];
    match of_frames.iter().chain(more).find(|(_, given, _)| *given) {
        Some((field, _, why)) => {
            Err((Location::UNKNOWN, format!("{field}: given beside spec.{traffic}; {why}")))
        }
        None => Ok(()),
    }
}
