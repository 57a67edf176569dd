//! The registry as text, in both formats that scrapers read.

use std::collections::HashMap;
use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// Text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus's text format 0.0.4, which all scrapers read.
    Text,
}

impl Form {
    /// Format that the scraper's `Accept` header prefers; the older one by default.
    pub(super) fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Form::OpenMetrics } else { Form::Text }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Form::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Form::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The present values of the registry's metrics.
///
/// # Errors
/// When a metric cannot be encoded, which is not expected.
pub fn render(registry: &Registry, form: Form) -> Result<String, fmt::Error> {
    let mut text = String::new();
    encode(&mut text, registry)?;
    Ok(match form {
        Form::OpenMetrics => text,
        Form::Text => older(&text),
    })
}

/// Converts OpenMetrics to the older format. OpenMetrics names a family without the suffix of its samples,
/// and has units, an end mark and an info type. The older format has none of these and names a family like
/// its samples.
fn older(open: &str) -> String {
    let comments = open.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let types: HashMap<&str, &str> = comments.collect();
    let mut text = String::with_capacity(open.len());
    for line in open.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("UNIT" | "EOF"), ..) => {}
            (Some("#"), Some(keyword), Some(name), Some(rest)) => {
                let (suffix, of_type) = match types.get(name) {
                    Some(&"counter") => ("_total", "counter"),
                    Some(&"info") => ("_info", "gauge"),
                    _ => ("", rest),
                };
                let rest = if keyword == "TYPE" { of_type } else { rest };
                text.push_str(&format!("# {keyword} {name}{suffix} {rest}\n"));
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::Unit;

    use super::*;

    #[test]
    fn both_forms_have_the_same_samples() {
        let mut registry = Registry::with_prefix("linerate");
        registry.register("build", "What runs", Info::new([("version", "1 \"x\"")]));
        let counter = Counter::<u64>::default();
        counter.inc_by(7);
        registry.register_with_unit("tx", "Bytes sent", Unit::Bytes, counter);
        registry.register("planned", "Trials planned", Gauge::<i64>::default());
        let open = render(&registry, Form::OpenMetrics).unwrap();
        assert!(open.contains("# TYPE linerate_tx_bytes counter\n") && open.ends_with("# EOF\n"), "{open}");
        let older = render(&registry, Form::Text).unwrap();
        assert_eq!(
            older,
            "# HELP linerate_build_info What runs.\n\
             # TYPE linerate_build_info gauge\n\
             linerate_build_info{version=\"1 \\\"x\\\"\"} 1\n\
             # HELP linerate_tx_bytes_total Bytes sent.\n\
             # TYPE linerate_tx_bytes_total counter\n\
             linerate_tx_bytes_total 7\n\
             # HELP linerate_planned Trials planned.\n\
             # TYPE linerate_planned gauge\n\
             linerate_planned 0\n"
        );
    }

    #[test]
    fn the_scraper_chooses_the_form() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Form::accepted(prometheus), Form::OpenMetrics);
        assert_eq!(Form::accepted("*/*"), Form::Text);
        assert_eq!(Form::accepted(""), Form::Text);
    }
}
