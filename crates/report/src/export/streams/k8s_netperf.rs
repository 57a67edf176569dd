//! The documents and the table of k8s-netperf: one per profile, its repeats are the samples.

use super::super::cells::Table;
use linerate_results::streams::StreamsTrialSummary;
use linerate_results::summary::Summary;
use serde_json::{Value, json};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::{Samples, mean, profiles, same_node};

/// Name of this tool among k8s-netperf's drivers.
const DRIVER: &str = "linerate";

/// The documents that k8s-netperf indexes, as a JSON list.
pub(in crate::export) fn documents(summary: &Summary) -> Value {
    profiles(summary).iter().map(|samples| document(summary, samples)).collect()
}

fn document(summary: &Summary, samples: &Samples<'_>) -> Value {
    let first = samples.first;
    let throughput = samples.throughput();
    json!({
        "uuid": summary.experiment.id,
        "timestamp": summary.experiment.started_at,
        "driver": DRIVER,
        "profile": samples.test(),
        "testName": first.profile,
        "hostNetwork": null,
        "service": false,
        "local": same_node(summary),
        "acrossAZ": null,
        "parallelism": first.parallel,
        "connections": first.connections,
        "duration": first.duration_s.round() as u64,
        "samples": samples.trials.len(),
        "messageSize": first.message_bytes,
        "burst": 0,
        "throughput": throughput.as_deref().map(mean),
        "tputMetric": "Mb/s",
        "confidence": throughput.as_deref().and_then(confidence),
        "latency": latency_us(samples),
        "ltcyMetric": "usec",
        "tcpRetransmits": samples.mean(|trial| trial.retransmits.map(|number| number as f64)),
        "udpLossPercent": samples.mean(|trial| trial.loss_share().map(|share| 100.0 * share)),
        "metadata": { "linerate": summary.experiment.versions.linerate, "platform": summary.experiment.platform },
        "serverCPU": null,
        "serverPods": null,
        "clientCPU": null,
        "clientPods": null,
    })
}

/// 99th percentile of the one-way delay, in microseconds.
fn latency_us(samples: &Samples<'_>) -> Option<f64> {
    samples.mean(|trial: &StreamsTrialSummary| trial.delay_ns.map(|delay| delay.p99 as f64 / 1e3))
}

/// 95 % confidence interval of the mean (Student's t); `None` for a single sample.
fn confidence(values: &[f64]) -> Option<[f64; 2]> {
    let count = values.len();
    let mean = mean(values);
    let freedom = count.checked_sub(1).filter(|freedom| *freedom > 0)? as f64;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / freedom;
    let quantile = StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(0.975);
    let half = quantile * (variance / count as f64).sqrt();
    Some([mean - half, mean + half])
}

/// The table of k8s-netperf's results.
pub(in crate::export) fn table(summary: &Summary) -> Result<Vec<u8>, csv::Error> {
    let mut writer = Table::new();
    writer.row([
        "Driver",
        "Profile",
        "Same node",
        "Host Network",
        "Service",
        "Duration",
        "Parallelism",
        "# of Samples",
        "Message Size",
        "Avg Throughput",
        "Throughput Metric",
        "99%tile Observed Latency",
        "Latency Metric",
    ])?;
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.6}"));
    for samples in profiles(summary) {
        let first = samples.first;
        writer.row([
            DRIVER.to_owned(),
            samples.test().to_owned(),
            same_node(summary).map_or_else(String::new, |same| same.to_string()),
            String::new(),
            "false".to_owned(),
            format!("{:.0}", first.duration_s),
            first.parallel.to_string(),
            samples.trials.len().to_string(),
            first.message_bytes.to_string(),
            number(samples.throughput().as_deref().map(mean)),
            "Mb/s".to_owned(),
            number(latency_us(&samples)),
            "usec".to_owned(),
        ])?;
    }
    writer.finish()
}
