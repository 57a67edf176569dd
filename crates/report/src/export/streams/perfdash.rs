//! Data of perfdash, the dashboard of Kubernetes' performance tests, with the labels of Cilium's network tests.

use linerate_results::summary::Summary;
use serde_json::{Map, Value, json};

use super::{Samples, profiles, same_node};

/// The data of an experiment: throughput of each profile, and delays where they are known.
pub(in crate::export) fn data(summary: &Summary) -> Value {
    let mut items = Vec::new();
    for samples in profiles(summary) {
        let labels = |metric: &str| labels(summary, &samples, metric);
        if let Some(throughput) = samples.throughput() {
            let mean = super::mean(&throughput);
            items.push(
                json!({ "data": { "Throughput": mean }, "unit": "Mb/s", "labels": labels("Throughput") }),
            );
        }
        if let Some(delays) = delays(&samples) {
            items.push(json!({ "data": delays, "unit": "us", "labels": labels("Latency") }));
        }
    }
    json!({ "version": "v1", "dataItems": items, "labels": { "experiment": summary.experiment.name } })
}

fn labels(summary: &Summary, samples: &Samples<'_>, metric: &str) -> Value {
    let node = match same_node(summary) {
        Some(true) => "same-node",
        Some(false) => "other-node",
        None => "unknown",
    };
    json!({
        "scenario": samples.first.profile,
        "node": node,
        "test_type": format!("linerate-{}", samples.test()),
        "metric": metric,
    })
}

/// One-way delays in microseconds, each figure as the mean of the repeats.
fn delays(samples: &Samples<'_>) -> Option<Map<String, Value>> {
    let figure = |of: fn(&linerate_wire::report::LatencySummary) -> u64| {
        samples.mean(|trial| trial.delay_ns.as_ref().map(|delay| of(delay) as f64 / 1e3))
    };
    let figures = [
        ("Min", figure(|delay| delay.min)),
        ("Avg", figure(|delay| delay.mean)),
        ("Max", figure(|delay| delay.max)),
        ("Perc50", figure(|delay| delay.p50)),
        ("Perc90", figure(|delay| delay.p90)),
        ("Perc99", figure(|delay| delay.p99)),
    ];
    figures.into_iter().map(|(name, value)| Some((name.to_owned(), Value::from(value?)))).collect()
}
