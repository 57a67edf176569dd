//! What an end counted.

use serde_json::{Map, Value, json};

use crate::object::{Malformed, Object, number};

/// Most streams of results.
const MOST_STREAMS: usize = 4096;
/// Longest output of a server that is kept.
const MOST_OUTPUT_CHARACTERS: usize = 1 << 20;

/// An end's results.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Results {
    /// CPU time of the program in per cent of one CPU: in all, of its own code, of the kernel for it.
    pub cpu: [f64; 3],
    /// 1 when the sender counts retransmits, 0 when it does not, -1 at a receiver.
    pub sender_has_retransmits: i64,
    /// Congestion control of the end's sockets.
    pub congestion: Option<String>,
    /// The server's output, when the client asked for it.
    pub output: Option<String>,
    /// Each stream.
    pub streams: Vec<StreamResults>,
}

/// One stream at one end.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StreamResults {
    /// [Number](crate::stream_id) of the stream.
    pub id: i64,
    /// Bytes of payload that the end sent or received, without those that the test omits.
    pub bytes: u64,
    /// Segments sent again; `None`: not counted.
    pub retransmits: Option<u64>,
    /// Jitter of datagrams in seconds (RFC 1889).
    pub jitter_s: f64,
    /// Datagrams that a receiver takes for lost, the omitted ones among them. Counters of 32 bits may have
    /// overflowed.
    pub errors: i64,
    /// Datagrams: sent, or the highest number received; the omitted ones among them.
    pub packets: i64,
    /// Of errors and packets, those that the test omits; `None`: the end does not tell (before iperf 3.13).
    pub omitted: Option<(i64, i64)>,
    /// Begin and end of the test in seconds; `None`: the end does not tell.
    pub times_s: Option<(f64, f64)>,
}

impl Results {
    /// Reads the results.
    ///
    /// # Errors
    /// The first field that is missing, of another type, or outside of its range.
    pub fn parse(json: &[u8]) -> Result<Self, Malformed> {
        let mut object = Object::parse(json)?;
        let needed = |object: &Object, field| object.float(field)?.ok_or(Malformed::Missing(field));
        let cpu = [
            needed(&object, "cpu_util_total")?,
            needed(&object, "cpu_util_user")?,
            needed(&object, "cpu_util_system")?,
        ];
        let streams = object.objects("streams", MOST_STREAMS)?;
        Ok(Self {
            cpu,
            sender_has_retransmits: object
                .whole("sender_has_retransmits")?
                .ok_or(Malformed::Missing("sender_has_retransmits"))?,
            congestion: object.name("congestion_used")?,
            output: object.text("server_output_text", MOST_OUTPUT_CHARACTERS)?,
            streams: streams.iter().map(StreamResults::of).collect::<Result<_, _>>()?,
        })
    }

    /// The results as JSON.
    pub fn to_json(&self) -> String {
        let [total, user, system] = self.cpu.map(number);
        let mut map = Map::new();
        map.insert("cpu_util_total".to_owned(), total);
        map.insert("cpu_util_user".to_owned(), user);
        map.insert("cpu_util_system".to_owned(), system);
        map.insert("sender_has_retransmits".to_owned(), self.sender_has_retransmits.into());
        for (name, text) in [("congestion_used", &self.congestion), ("server_output_text", &self.output)] {
            map.extend(text.clone().map(|text| (name.to_owned(), Value::from(text))));
        }
        let streams = self.streams.iter().map(StreamResults::to_value).collect();
        map.insert("streams".to_owned(), Value::Array(streams));
        Value::Object(map).to_string()
    }
}

impl StreamResults {
    fn of(object: &Object) -> Result<Self, Malformed> {
        let needed = |field| object.whole(field)?.ok_or(Malformed::Missing(field));
        let omitted = match (object.whole("omitted_errors")?, object.whole("omitted_packets")?) {
            (Some(errors), Some(packets)) => Some((errors, packets)),
            (None, None) => None,
            (None, Some(_)) => return Err(Malformed::Missing("omitted_errors")),
            (Some(_), None) => return Err(Malformed::Missing("omitted_packets")),
        };
        let bytes = u64::try_from(needed("bytes")?);
        Ok(Self {
            id: needed("id")?,
            bytes: bytes
                .map_err(|_| Malformed::Wrong { field: "bytes", wanted: "a number that is not negative" })?,
            retransmits: u64::try_from(needed("retransmits")?).ok(),
            jitter_s: object.float("jitter")?.ok_or(Malformed::Missing("jitter"))?,
            errors: needed("errors")?,
            packets: needed("packets")?,
            omitted,
            times_s: object.float("start_time")?.zip(object.float("end_time")?),
        })
    }

    fn to_value(&self) -> Value {
        let retransmits = self.retransmits.and_then(|number| i64::try_from(number).ok()).unwrap_or(-1);
        let mut value = json!({
            "id": self.id,
            "bytes": self.bytes,
            "retransmits": retransmits,
            "jitter": number(self.jitter_s),
            "errors": self.errors,
            "packets": self.packets,
        });
        if let Value::Object(map) = &mut value {
            if let Some((errors, packets)) = self.omitted {
                map.insert("omitted_errors".to_owned(), errors.into());
                map.insert("omitted_packets".to_owned(), packets.into());
            }
            if let Some((start, end)) = self.times_s {
                map.insert("start_time".to_owned(), number(start));
                map.insert("end_time".to_owned(), number(end));
            }
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        Results {
            cpu: [12.5, 2.5, 10.0],
            sender_has_retransmits: 1,
            congestion: Some("cubic".into()),
            output: Some("a line\n".into()),
            streams: vec![
                StreamResults { id: 1, bytes: 1 << 50, retransmits: Some(3), ..StreamResults::default() },
                StreamResults {
                    id: 3,
                    bytes: 7,
                    jitter_s: 1e-6,
                    errors: 4,
                    packets: 9,
                    omitted: Some((1, 2)),
                    times_s: Some((0.0, 10.25)),
                    ..StreamResults::default()
                },
            ],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Results::parse(results().to_json().as_bytes()), Ok(results()));
    }

    #[test]
    fn results_of_iperf_3_12_are_read() {
        let json =
            br#"{"cpu_util_total":3.1,"cpu_util_user":0.2,"cpu_util_system":2.9,"sender_has_retransmits":-1,
            "streams":[{"id":1,"bytes":1.4e+10,"retransmits":-1,"jitter":2e-05,"errors":-3,"packets":10,
            "start_time":0,"end_time":1.5}]}"#;
        let read = Results::parse(json).unwrap();
        let stream = &read.streams[0];
        assert_eq!((stream.bytes, stream.retransmits, stream.errors), (14_000_000_000, None, -3));
        assert_eq!((stream.omitted, stream.times_s), (None, Some((0.0, 1.5))));
    }

    #[test]
    fn minus_one_may_be_written_as_a_large_number() {
        for written in ["18446744073709551615", "1.8446744073709552e+19", "-1"] {
            let json = format!(
                r#"{{"cpu_util_total":3,"cpu_util_user":0,"cpu_util_system":2,"sender_has_retransmits":{written},"streams":[{{"id":1,
                "bytes":1,"retransmits":{written},"jitter":0,"errors":0,"packets":1}}]}}"#
            );
            let read = Results::parse(json.as_bytes()).unwrap();
            assert_eq!((read.sender_has_retransmits, read.streams[0].retransmits), (-1, None));
        }
    }

    #[test]
    fn bad_results_are_named() {
        let head = r#""cpu_util_total":1,"cpu_util_user":1,"cpu_util_system":1,"sender_has_retransmits":0"#;
        let stream = r#""id":1,"bytes":1,"retransmits":0,"jitter":0,"errors":0,"packets":0"#;
        for (json, words) in [
            ("{}".to_owned(), "cpu_util_total: the field is missing"),
            (format!("{{{head}}}"), "streams: the field is missing"),
            (format!(r#"{{{head},"streams":7}}"#), "streams: a list is expected"),
            (format!(r#"{{{head},"streams":[7]}}"#), "streams: a list of objects"),
            (format!(r#"{{{head},"streams":[{{}}]}}"#), "omitted"),
            (
                format!(r#"{{{head},"streams":[{{{stream},"omitted_errors":1}}]}}"#),
                "omitted_packets: the field",
            ),
            (format!(r#"{{{head},"streams":[{{{stream},"bytes":-1}}]}}"#), "bytes: a number that is not neg"),
            (format!(r#"{{{head},"streams":[{}]}}"#, ["{}"; 5000].join(",")), "streams: more than 4096"),
        ] {
            let error = Results::parse(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words) || words == "omitted" && error.contains("missing"), "{error}");
        }
    }
}
