//! All flows of a trial as comma-separated lines under a header: a line per flow.

use std::fmt::Write;

use crate::report::{FlowReport, TransmitReport};
use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::{Field, Profile};

/// Columns of counters and times, after the columns that identify the flow.
const FIGURES: &str =
    "sent,received,lost,duplicates,reordered,extent_max,delay_min_ns,delay_mean_ns,delay_max_ns";
/// Least bytes that a flow's figures usually take.
const USUAL_FIGURES_BYTES: u64 = 30;

/// Sources of the columns beyond the receiver's figures.
#[derive(Debug, Clone, Copy)]
pub struct FlowLines<'a> {
    /// The profile and its port addresses (the sender's first). Without them, a line identifies its flow by
    /// the index only.
    pub traffic: Option<(&'a Profile, (MacAddr, MacAddr))>,
    /// The sender's report. With it, each flow's `sent` is known, and `lost` counts all packets sent that did
    /// not arrive; without it, `lost` counts the packets missing before the last one received.
    pub sent: Option<&'a TransmitReport>,
    /// False when the clocks of both ends are not comparable: the lines then have no delays.
    pub delays_valid: bool,
}

impl FlowLines<'_> {
    /// The header, with its newline.
    pub fn header(&self) -> String {
        let fields = self.fields().map(|field| format!("{field},")).collect::<String>();
        format!("flow,{fields}{FIGURES}\n")
    }

    /// Appends a flow's line, with its newline. Unknown values are left empty.
    pub fn append(&self, flow: &FlowReport, text: &mut String) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{},", flow.flow);
        if let Some((profile, macs)) = self.traffic {
            let version = profile.shape().version;
            for field in self.fields() {
                if let Some(value) = profile.value_between(field, flow.flow, macs) {
                    text.push_str(&field.show(value, version));
                }
                text.push(',');
            }
        }
        let flow = flow.of_sent(self.sent_of(flow.flow));
        let or_empty = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
        let FlowReport { sent, received, lost, duplicates, reordered, largest_extent, .. } = flow;
        let sent = or_empty(sent);
        let _ = write!(text, "{sent},{received},{lost},{duplicates},{reordered},{largest_extent},");
        let delay = flow.delay_ns.filter(|_| self.delays_valid);
        let [min, mean, max] =
            [delay.map(|delay| delay.min), delay.map(|delay| delay.mean), delay.map(|delay| delay.max)];
        let _ = writeln!(text, "{},{},{}", or_empty(min), or_empty(mean), or_empty(max));
    }

    /// Low estimate of the bytes that the lines of a profile's flows take; 0 without a profile.
    pub fn least_bytes(&self) -> u64 {
        let Some((profile, _)) = self.traffic else { return 0 };
        let mut line = String::new();
        let last = FlowReport { flow: profile.flows() - 1, ..FlowReport::default() };
        self.append(&last, &mut line);
        (line.len() as u64 + USUAL_FIGURES_BYTES) * u64::from(profile.flows())
    }

    fn fields(&self) -> impl Iterator<Item = Field> {
        let sweeps = self.traffic.map_or(&[][..], |(profile, _)| profile.sweeps());
        sweeps.iter().map(|sweep| sweep.field)
    }

    fn sent_of(&self, flow: u32) -> Option<u64> {
        self.sent?.sent_of_flow(flow, self.traffic?.0.flows())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::FlowDelay;
    use linerate_traffic::profile::RawProfile;

    #[test]
    fn lines_have_what_varies_and_what_was_sent() {
        let raw: RawProfile = serde_json::from_str(
            r#"{"flows": 5, "vary": {"sourceMac": {}, "destinationPort": {"step": 2}}}"#,
        )
        .unwrap();
        let profile = Profile::try_from(raw).unwrap();
        let macs = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        // The first lcore sends flows 0, 2 and 4, the second 1 and 3.
        let sent = TransmitReport { packets_per_lcore: vec![7, 3], ..TransmitReport::default() };
        let delay_ns = Some(FlowDelay { min: 1, mean: 2, max: 3 });
        let flow = |flow, received| FlowReport { flow, received, delay_ns, lost: 9, ..FlowReport::default() };
        let mut lines = FlowLines { traffic: Some((&profile, macs)), sent: Some(&sent), delays_valid: true };
        let said = |lines: &FlowLines<'_>, flow| {
            let mut text = String::new();
            lines.append(&flow, &mut text);
            text
        };
        assert_eq!(
            lines.header(),
            "flow,sourceMac,destinationPort,sent,received,lost,duplicates,reordered,extent_max,delay_min_ns,delay_mean_ns,delay_max_ns\n"
        );
        assert_eq!(said(&lines, flow(0, 2)), "0,02:00:00:00:00:01,1024,3,2,1,0,0,0,1,2,3\n");
        assert_eq!(said(&lines, flow(3, 1)), "3,02:00:00:00:00:04,1030,1,1,0,0,0,0,1,2,3\n");
        assert_eq!((0..5).map(|flow| sent.sent_of_flow(flow, 5).unwrap()).sum::<u64>(), 10);
        lines.delays_valid = false;
        assert_eq!(said(&lines, flow(4, 2)), "4,02:00:00:00:00:05,1032,2,2,0,0,0,0,,,\n");
        assert!(lines.least_bytes() > 5 * 50);

        let bare = FlowLines { traffic: None, sent: None, delays_valid: true };
        assert!(bare.header().starts_with("flow,sent,received"));
        assert_eq!(said(&bare, flow(8, 2)), "8,,2,9,0,0,0,1,2,3\n");
        assert_eq!(bare.least_bytes(), 0);
    }
}
