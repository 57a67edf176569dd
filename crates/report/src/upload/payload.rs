//! JSON form of an experiment for the script.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::export::series::{SeriesColumn, receiver, transmitter};
use crate::search::{GoalResult, found};
use linerate_results::engines::{EngineFigures, EngineRow, rows};
use linerate_results::store::environment::Environment;
use linerate_results::store::record::TrialRecord;
use linerate_results::store::{Recorded, StoreError};
use linerate_results::summary::{FollowUpSummary, SearchSummary, Summary, TrialSummary};

/// Extensions of report files.
const REPORT_FORMS: [&str; 5] = ["html", "md", "tex", "pdf", "xlsx"];

/// All data of an experiment that is sent to W&B. `more` are report files in other places.
pub(super) fn payload(recorded: &Recorded, project: &str, more: &[PathBuf]) -> Result<Value, StoreError> {
    let Summary { experiment, .. } = &recorded.summary;
    let mut rows = Vec::new();
    for record in recorded.trials() {
        let record = record?;
        rows.extend(of_end(&record, "tx", &transmitter(&record)));
        rows.extend(of_end(&record, "rx", &receiver(&record)));
    }
    let mut report = reports(recorded);
    report.extend_from_slice(more);
    Ok(json!({
        "id": experiment.id,
        "project": project,
        "name": format!("pktgen_run_{}", experiment.id),
        "tags": [experiment.name, experiment.platform],
        "config": config(recorded)?,
        "rows": rows,
        "summary": summary(&recorded.summary),
        "report": report,
    }))
}

/// One row per sample: `step` counts from 0 within its end of its trial.
fn of_end(record: &TrialRecord, role: &str, columns: &[SeriesColumn]) -> Vec<Value> {
    let samples = columns.first().map_or(0, |column| column.values.len());
    (0..samples)
        .map(|step| {
            let mut row = Map::new();
            row.insert("step".into(), json!(step));
            row.insert("profile".into(), json!(record.profile));
            row.insert("pair".into(), json!(record.pair));
            row.insert("repeat".into(), json!(record.repeat));
            row.insert("role".into(), json!(role));
            if let Some(place) = record.result.as_ref().and_then(|result| result.search.as_ref()) {
                row.insert("search".into(), json!(place));
            }
            for column in columns {
                row.insert(column.name.to_string(), json!(column.values.get(step)));
            }
            Value::Object(row)
        })
        .collect()
}

/// Document and environment. Neither file has secrets in it.
fn config(recorded: &Recorded) -> Result<Value, StoreError> {
    let environment = Environment::read(&recorded.directory)?;
    Ok(json!({ "experiment": recorded.summary.experiment, "environment": environment }))
}

/// Totals, and the figures of each trial under its profile, pair and repeat.
fn summary(summary: &Summary) -> Value {
    // Without trials of frames, nothing is known of packets.
    let has_frames = !summary.trials.is_empty() || (summary.streams.is_empty() && summary.http.is_empty());
    let total = |of: fn(&TrialSummary) -> u64| {
        has_frames.then(|| summary.trials.iter().map(of).fold(0, u64::saturating_add))
    };
    let most_mpps = |of: fn(&TrialSummary) -> f64| {
        has_frames.then(|| summary.trials.iter().map(of).fold(0.0, f64::max) / 1e6)
    };
    let mut trials = Map::new();
    for trial in &summary.trials {
        let latency = trial.latency_ns.as_ref();
        let mut figures = json!({
            "intended_pps": trial.intended_pps,
            "offered_pps": trial.offered_pps,
            "received_pps": trial.received_pps,
            "sent_packets": trial.sent_packets,
            "received_packets": trial.received_packets,
            "lost_packets": trial.lost_packets,
            "latency_p50_ns": latency.map(|latency| latency.p50),
            "latency_p99_ns": latency.map(|latency| latency.p99),
            "verdict": trial.verdict.kind,
            "silent_flows": trial.silent_flows,
            "worst_flows": trial.worst_flows,
        });
        if let (Some(fields), Some(place)) = (figures.as_object_mut(), &trial.search) {
            fields.insert("search".into(), json!(place));
        }
        trials.insert(format!("{}/{}/{}", trial.profile, trial.pair, trial.repeat), figures);
    }
    let mut whole = json!({
        "status": summary.status,
        "finished_trials": summary.trials.len() + summary.streams.len() + summary.http.len(),
        "failed_trials": summary.failures.len(),
        "sent_packets": total(|trial| trial.sent_packets),
        "received_packets": total(|trial| trial.received_packets),
        "lost_packets": total(|trial| trial.lost_packets),
        "max_tx_mpps": most_mpps(|trial| trial.offered_pps),
        "max_rx_mpps": most_mpps(|trial| trial.received_pps),
        "trials": trials,
    });
    let engines = engines(summary);
    if let Some(fields) = whole.as_object_mut().filter(|_| !engines.is_empty()) {
        fields.insert("engines".into(), Value::Object(engines));
    }
    if let Some(fields) = whole.as_object_mut().filter(|_| !summary.searches.is_empty()) {
        fields.insert("searches".into(), searches(summary));
        if summary.searches.iter().any(|search| !search.then.is_empty()) {
            fields.insert("benchmarks".into(), benchmarks(summary));
        }
    }
    whole
}

/// Trials of all engines, under profile, engine, cores and repeat.
fn engines(summary: &Summary) -> Map<String, Value> {
    let entry = |row: &EngineRow<'_>| {
        let figures = json!({
            "intended_pps": row.intended_pps,
            "offered_pps": row.offered_pps,
            "received_pps": row.received_pps,
            "sent_packets": row.sent,
            "received_packets": row.received,
            "lost_packets": row.lost,
            "agents_cpu_s_per_million": row.per_million(row.figures.agents_cpu_s),
            "softirq_cpu_s_per_million": row.per_million(row.figures.softirq_cpu_s),
            "verdict": row.limit.to_string(),
            "losses": row.figures.losses,
        });
        let EngineFigures { engine, profile, cores, .. } = row.figures;
        (format!("{profile}/{engine}/{cores}/{}", row.repeat), figures)
    };
    rows(summary).iter().map(entry).collect()
}

/// What was found, under profile, path, number of the search and goal. Irregular values are marked.
fn searches(summary: &Summary) -> Value {
    let result = |one: GoalResult<'_>| {
        let GoalResult { search, goal } = one;
        let name = format!("{}/{}/{}/{}", search.profile, search.subject(), search.number, goal.goal.name);
        let value = json!({
            "conditional_throughput_pps": one.value_pps(),
            "relevant_lower_bound_pps": goal.conclusion.relevant_lower_bound_pps,
            "relevant_upper_bound_pps": goal.conclusion.relevant_upper_bound_pps,
            "regular": one.is_regular(),
            "irregular": goal.conclusion.irregular,
            "limited_by": goal.conclusion.limited_by,
            "loss_ratio": goal.goal.loss_ratio,
            "trials": search.trials,
            "elapsed_s": search.elapsed_s,
        });
        (name, value)
    };
    Value::Object(summary.searches.iter().flat_map(found).map(result).collect())
}

/// Results of benchmarks behind searches, under profile, path, number of the search and place of the benchmark.
fn benchmarks(summary: &Summary) -> Value {
    let of_search = |search: &'_ SearchSummary| {
        let place = format!("{}/{}/{}", search.profile, search.subject(), search.number);
        let result = move |(index, follow): (usize, &FollowUpSummary)| {
            (format!("{place}/{index}-{}", follow.name), json!(follow))
        };
        (1..).zip(&search.then).map(result).collect::<Vec<_>>()
    };
    Value::Object(summary.searches.iter().flat_map(of_search).collect())
}

/// Report files in the experiment's directory.
fn reports(recorded: &Recorded) -> Vec<PathBuf> {
    let id = &recorded.summary.experiment.id;
    REPORT_FORMS
        .iter()
        .flat_map(|form| [format!("linerate-{id}.{form}"), format!("report.{form}")])
        .map(|name| recorded.directory.join(name))
        .filter(|path| path.is_file())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_results::fixtures::search::limited_by_generator;

    #[test]
    fn what_searches_found_is_uploaded_with_its_marks() {
        let searched = limited_by_generator();
        let summary = summary(&searched.summary);
        let ndr = &summary["searches"]["profile_1_flows_pkt_size_64B_search_rate_s/together/1/ndr"];
        assert_eq!(ndr["conditional_throughput_pps"], 796_822.0);
        assert_eq!((&ndr["regular"], &ndr["irregular"]), (&json!(false), &json!("testerLimited")));
        let trial = &summary["trials"]["profile_1_flows_pkt_size_64B_search_rate_s/tx0-rx0/3"];
        assert_eq!(trial["search"]["ordinal"], 3);
        let row = &of_end(&searched.records[0], "tx", &transmitter(&searched.records[0]))[0];
        assert_eq!(row["search"]["purpose"], "warmUp");
        let without =
            super::summary(&linerate_results::fixtures::summary(linerate_results::summary::Status::Complete));
        assert!(without.get("searches").is_none(), "{without}");
    }
}
