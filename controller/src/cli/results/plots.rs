//! Plots of series as a line of text.

use super::super::output::width;
use super::super::table;
use linerate_report::export::series::{
    READ_KEY, SeriesColumn, TIME_KEY, is_queue_key, receiver, transmitter,
};
use linerate_results::store::record::TrialRecord;

/// Longest plot in characters; for longer series, each character shows the mean of its part.
const WIDTH: usize = 48;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Series that are shown by default. In a round trip, the transmitter receives too.
const USUAL: [(&str, &str); 5] =
    [("tx", "pkts_tx"), ("tx", "mbits_tx"), ("tx", "rx_pps"), ("rx", "rx_pps"), ("rx", "rx_missed")];

/// Series to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    Usual,
    All,
    Keys(Vec<String>),
}

impl Wanted {
    pub(super) fn of(keys: &[String]) -> Self {
        match keys {
            [] => Wanted::Usual,
            keys if keys.iter().any(|key| key == "all") => Wanted::All,
            keys => Wanted::Keys(keys.to_vec()),
        }
    }

    fn has(&self, end: &str, key: &str) -> bool {
        match self {
            Wanted::Usual => USUAL.contains(&(end, key)),
            Wanted::All => ![TIME_KEY, READ_KEY].contains(&key),
            Wanted::Keys(keys) => keys.iter().any(|wanted| wanted == key),
        }
    }
}

/// Every wanted series of a trial: smallest and largest value, mean of a rate over the time of sending, and
/// plot.
pub(super) fn series(record: &TrialRecord, wanted: &Wanted) -> String {
    let mut rows = Vec::new();
    for (end, columns) in [("tx", transmitter(record)), ("rx", receiver(record))] {
        for column in columns.iter().filter(|column| wanted.has(end, &column.name)) {
            let SeriesColumn { name, values, .. } = column;
            let (Some(least), Some(most)) = (values.iter().min(), values.iter().max()) else { continue };
            rows.push([
                end.to_owned(),
                name.to_string(),
                values.len().to_string(),
                least.to_string(),
                column.mean().map_or("-".to_owned(), |mean| format!("{mean:.0}")),
                most.to_string(),
                plot(values),
            ]);
        }
    }
    table::series(rows, width())
}

/// Plot of a series between its smallest and largest value; a flat line when all values are equal.
fn plot(values: &[i64]) -> String {
    let width = values.len().min(WIDTH);
    let points: Vec<f64> = (0..width)
        .map(|column| {
            let part = &values[column * values.len() / width..(column + 1) * values.len() / width];
            part.iter().map(|value| *value as f64).sum::<f64>() / part.len() as f64
        })
        .collect();
    let least = points.iter().copied().fold(f64::INFINITY, f64::min);
    let range = points.iter().copied().fold(f64::NEG_INFINITY, f64::max) - least;
    let level = |point: f64| if range > 0.0 { ((point - least) / range * 7.0).round() as usize } else { 0 };
    points.into_iter().map(|point| LEVELS[level(point).min(7)]).collect()
}

/// True when an end has a series of this name.
pub(super) fn is_known(key: &str) -> bool {
    let empty = TrialRecord::default();
    let named = |columns: &[SeriesColumn]| columns.iter().any(|column| column.name == key);
    key == "all" || is_queue_key(key) || named(&transmitter(&empty)) || named(&receiver(&empty))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_go_from_the_smallest_to_the_largest() {
        assert_eq!(plot(&[0, 7, 3]), "▁█▄");
        assert_eq!(plot(&[5, 5]), "▁▁");
        assert_eq!(plot(&[]), "");
        let long: Vec<i64> = (0..1000).collect();
        let text = plot(&long);
        assert!(text.chars().count() == WIDTH && text.starts_with('▁') && text.ends_with('█'), "{text}");
    }

    #[test]
    fn series_are_chosen_by_name() {
        assert!(is_known("all") && is_known("rx_pps") && is_known("port_obytes") && !is_known("speed"));
        assert_eq!(Wanted::of(&[]), Wanted::Usual);
        assert!(Wanted::of(&["all".into()]).has("rx", "rx_pps") && !Wanted::All.has("rx", TIME_KEY));
    }
}
