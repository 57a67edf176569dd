//! Trials of an experiment of HTTP. Pure.

use std::time::Duration;

use linerate_traffic::limit::Limit;
use linerate_traffic::safety::PacketLoad;
use linerate_wire::http::Arrivals;
use serde::Serialize;

use super::profile::HttpProfile;
use super::protocol::HttpProtocol;
use super::search::HttpSearches;
use crate::Experiment;
use crate::determinants::{TrialKey, TrialKeys};
use crate::plan::{PlanError, START_AND_END, TRIAL_OVERHEAD};
use crate::planned::{self, PlannedTrial, TrialProfile};

/// One run of a profile by all clients at the same time.
pub type HttpTrial = PlannedTrial<HttpProfile>;

/// The trials of an experiment of HTTP, in order; at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpPlan {
    /// In the order of their runs; empty in a search, which chooses them one after the other.
    pub trials: Vec<HttpTrial>,
    /// The searches, if the experiment is one.
    pub searches: Option<HttpSearches>,
}

impl TrialProfile for HttpProfile {
    fn name(&self) -> &str {
        &self.name
    }

    fn with_name(self, name: String) -> Self {
        Self { name, ..self }
    }

    fn duration(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.duration_ms))
    }

    fn key(&self, keys: &TrialKeys, repeat: u32) -> TrialKey {
        keys.of_http(self, repeat)
    }

    fn check(&self, experiment: &Experiment) -> Result<(), PlanError> {
        let (packets_per_second, packet_bytes) =
            self.arrivals.packets(&self.path, self.keep_alive, self.protocol.is_tls());
        let load = PacketLoad { packets_per_second, packet_bytes };
        let limit = Limit { duration_ms: Some(self.duration_ms), packets: None };
        let checked = experiment.ceilings().check_streams(&load, &limit, None);
        checked.map_err(|problem| PlanError::UnsafeStreams { profile: self.name.clone(), problem })
    }
}

impl HttpPlan {
    /// The trials whose profile has `filter` in its name; `None` for an experiment of other traffic.
    ///
    /// # Errors
    /// When no profile is left, or a trial exceeds a ceiling.
    pub fn of(experiment: &Experiment, filter: Option<&str>) -> Result<Option<Self>, PlanError> {
        if experiment.http.is_empty() {
            return Ok(None);
        }
        let searches = HttpSearches::of(experiment, filter)?;
        let trials = match searches {
            Some(_) => Vec::new(),
            None => planned::trials(experiment, &experiment.http, filter)?,
        };
        Ok(Some(Self { trials, searches }))
    }

    /// Most backends of a trial.
    pub fn most_backends(&self) -> u32 {
        let searched = self.searches.as_ref().map_or(0, HttpSearches::most_backends);
        self.trials.iter().map(|trial| trial.profile.backends).max().unwrap_or(searched)
    }

    /// The plan as a dry run shows it.
    pub fn view(&self, experiment: &Experiment) -> HttpView {
        let durations = self.trials.iter().map(|trial| trial.duration().unwrap_or_default() + TRIAL_OVERHEAD);
        HttpView {
            experiment: experiment.name().to_owned(),
            clients: experiment.http_clients(),
            backends: self.most_backends(),
            trials: self.trials.iter().map(HttpTrialView::of).collect(),
            searches: self.searches.iter().flat_map(HttpSearches::names).map(str::to_owned).collect(),
            estimated_s: (self.searches.is_none())
                .then(|| (durations.sum::<Duration>() + START_AND_END).as_secs_f64()),
        }
    }
}

/// A plan of HTTP, as a dry run shows it.
#[derive(Debug, Serialize)]
pub struct HttpView {
    /// The experiment's name.
    pub experiment: String,
    /// Number of clients.
    pub clients: u32,
    /// Most backends of a trial.
    pub backends: u32,
    /// The trials, in order.
    pub trials: Vec<HttpTrialView>,
    /// Names of the searches; absent without any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub searches: Vec<String>,
    /// Estimated total time in seconds, without waiting for backends; null for searches, whose number of trials is not known.
    pub estimated_s: Option<f64>,
}

/// A trial of HTTP, as a dry run shows it.
#[derive(Debug, Serialize)]
pub struct HttpTrialView {
    /// Name of the profile.
    pub profile: String,
    /// What requests are sent to.
    pub target: String,
    /// How they are sent.
    pub protocol: HttpProtocol,
    /// Requests of a connection at the same time.
    pub streams: u32,
    /// Backends behind it.
    pub backends: u32,
    /// Connections of all clients.
    pub connections: u32,
    /// Threads of each client.
    pub threads: u32,
    /// When requests are sent.
    pub arrivals: Arrivals,
    /// Number of the repeat.
    pub repeat: u32,
    /// Seconds of sending.
    pub duration_s: f64,
}

impl HttpTrialView {
    fn of(trial: &HttpTrial) -> Self {
        let profile = &trial.profile;
        Self {
            profile: profile.name.clone(),
            target: profile.target.to_string(),
            protocol: profile.protocol,
            streams: profile.streams,
            backends: profile.backends,
            connections: profile.connections,
            threads: profile.threads,
            arrivals: profile.arrivals,
            repeat: trial.repeat,
            duration_s: profile.duration_ms as f64 / 1e3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Overrides;

    fn parse(spec: &str) -> Result<Experiment, String> {
        let text = format!("apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec: {{{spec}}}\n");
        Experiment::parse(&text, "e.yaml", &Overrides::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_list_is_an_axis() {
        let experiment = parse(
            "http: {targets: [direct, 'http://192.0.2.1/'], backends: [1, 2], connections: [8], rates: [max, 500], clients: 2}, \
             trial: {repeats: 2, duration: 1s}",
        )
        .unwrap();
        let plan = HttpPlan::of(&experiment, None).unwrap().unwrap();
        let names: Vec<&str> = plan.trials.iter().map(|trial| trial.profile.name.as_str()).collect();
        assert_eq!(names.len(), 12);
        assert_eq!(
            names[..3],
            ["direct_1_backends_8_connections_max"; 2]
                .into_iter()
                .chain(["direct_2_backends_8_connections_max"])
                .collect::<Vec<_>>()[..]
        );
        assert_eq!(names[8], "192.0.2.1_8_connections_max");
        assert_eq!(names[11], "192.0.2.1_8_connections_500_per_s");
        assert_eq!(plan.most_backends(), 2);
        let of_each = plan.trials[11].profile.arrivals_of_each();
        assert_eq!((of_each, plan.trials[11].profile.connections_of(1)), (Arrivals::Constant(250.0), 4));
        assert_eq!([0, 1].map(|client| plan.trials[11].profile.offset_ns(client)), [0, 2_000_000]);
        let agents: Vec<_> = experiment.topology().agents().map(|agent| agent.name.clone()).collect();
        assert_eq!(agents, ["c0", "c1", "b0", "b1"]);
        let left = HttpPlan::of(&experiment, Some("192.0.2.1")).unwrap().unwrap();
        assert_eq!((left.trials.len(), &left.trials[0].key), (4, &plan.trials[8].key));
    }

    #[test]
    fn protocols_are_an_axis_and_urls_have_those_of_their_scheme() {
        let names = |spec: &str| {
            let plan = HttpPlan::of(&parse(spec).unwrap(), None).unwrap().unwrap();
            plan.trials
                .into_iter()
                .map(|trial| (trial.profile.name, trial.profile.streams))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(
                "http: {targets: [direct, 'https://192.0.2.1/'], connections: [8], protocols: [http, h2], streams: [1, 4]}"
            ),
            [
                ("direct_1_backends_8_connections_max".to_owned(), 1),
                ("direct_h2_1_streams_1_backends_8_connections_max".to_owned(), 1),
                ("direct_h2_4_streams_1_backends_8_connections_max".to_owned(), 4),
                ("192.0.2.1_h2_1_streams_8_connections_max".to_owned(), 1),
                ("192.0.2.1_h2_4_streams_8_connections_max".to_owned(), 4),
            ]
        );
        assert_eq!(
            names("http: {targets: ['https://192.0.2.1/'], connections: [8], ca: a.pem}"),
            [("192.0.2.1_https_8_connections_max".to_owned(), 1)]
        );
        let profiles =
            parse("http: {targets: ['https://192.0.2.1/', direct], protocols: [https], ca: a.pem}").unwrap();
        let of = |at: usize| (profiles.http[at].protocol, profiles.http[at].ca.as_deref());
        assert_eq!((of(0), of(1)), ((HttpProtocol::Https, Some("a.pem")), (HttpProtocol::Https, None)));
    }

    #[test]
    fn mistakes_name_the_field_and_the_remedy() {
        for (spec, part) in [
            ("http: {backends: []}", "spec.http.backends: the list is empty"),
            ("http: {backends: [0]}", "1 to 250"),
            ("http: {targets: [ipvs]}", "'ipvs' is no target"),
            ("http: {rates: [fast]}", "'fast' is no rate"),
            ("http: {rates: [0]}", "'0' is no rate"),
            ("http: {rates: [5, 5]}", "two profiles have the name"),
            ("http: {path: x}", "spec.http.path: 'x' is no path"),
            ("http: {connections: [1], threads: [2]}", "1 are less than one for each of the 2 threads"),
            ("http: {connections: [2], backends: [4]}", "do not reach each of 4 backends"),
            ("http: {churn: {after: 2s, for: 3s}}, trial: {duration: 5s}", "back after 5000 ms"),
            (
                "http: {targets: ['http://192.0.2.1/'], churn: {after: 1s, for: 1s}}",
                "has no backend of this run",
            ),
            ("http: {protocols: []}", "spec.http.protocols: the list is empty"),
            ("http: {protocols: [h3]}", "h3"),
            ("http: {streams: [4]}", "they are for h2 and h2c"),
            ("http: {protocols: [https], ca: a.pem}", "spec.http.ca: it is for https URLs"),
            ("http: {protocols: [h2], keepAlive: false}", "only HTTP/1.1 has a connection for each request"),
            (
                "http: {targets: ['http://192.0.2.1/'], protocols: [https]}",
                "none of them is for http://192.0.2.1/; add http or h2c",
            ),
            ("http: {protocols: [h2], connections: [1000], streams: [65536]}", "more than 1000000"),
            (
                "http: {churn: {after: 1s, for: 1s, kind: notReady}}, trial: {duration: 5s}",
                "nobody before direct asks whether a backend is ready",
            ),
            ("http: {}, streams: {}", "spec.streams: given beside spec.http"),
            ("http: {}, traffic: {}", "spec.traffic: given beside spec.http"),
            ("http: {}, trial: {direction: bidirectional}", "spec.trial.direction"),
            (
                "http: {targets: [haproxy]}, platform: kubernetes",
                "spec.http.targets: haproxy is not available on platform kubernetes",
            ),
            ("http: {targets: [cluster-ip]}", "cluster-ip is not available on platform local"),
        ] {
            let problem = parse(spec).unwrap_err();
            assert!(problem.contains(part), "{spec}: {problem}");
        }
        let unsafe_rate = parse("http: {rates: [max]}, safety: {maxRate: 1mbps}").unwrap();
        assert!(HttpPlan::of(&unsafe_rate, None).unwrap_err().to_string().contains("has no bound"));
        let unsafe_rate = parse("http: {rates: [1000]}, safety: {maxRate: 1mbps}").unwrap();
        assert!(HttpPlan::of(&unsafe_rate, None).unwrap_err().to_string().contains("exceeds the ceiling"));
    }
}
