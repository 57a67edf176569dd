//! What a client asks for.

use serde_json::{Map, Value};

use crate::object::{Malformed, Object};

/// Transport protocol of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A client's parameters. What is absent was not given, or is 0, which means the same to iperf3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Seconds at the beginning that do not count.
    pub omit_s: u64,
    /// Seconds of the test; `None`: until its bytes or blocks have been sent, or until the client ends it.
    pub time_s: Option<u64>,
    /// Bytes of payload of all streams together.
    pub bytes: Option<u64>,
    /// Blocks of all streams together.
    pub blocks: Option<u64>,
    /// Streams of each direction.
    pub parallel: u32,
    /// The server sends.
    pub reverse: bool,
    /// Both ends send.
    pub bidirectional: bool,
    /// Bytes of a block, or of a datagram's payload.
    pub block_bytes: Option<u32>,
    /// Bytes of the sockets' buffers.
    pub window_bytes: Option<u32>,
    /// Largest payload of a segment.
    pub mss: Option<u32>,
    /// Bits per second of each stream; `None`: without limit, also for UDP.
    pub bandwidth: Option<u64>,
    /// Bits per second at which the kernel paces each stream.
    pub fq_rate: Option<u64>,
    /// Type of service of the packets.
    pub tos: Option<u8>,
    /// Congestion control.
    pub congestion: Option<String>,
    /// No delay of small segments.
    pub no_delay: bool,
    /// Numbers of datagrams have 64 bits.
    pub wide_counters: bool,
    /// The client asks for the server's output.
    pub wants_output: bool,
    /// The client's title of the test.
    pub title: Option<String>,
    /// The client's version.
    pub client_version: Option<String>,
    /// True when the client sends a proof of a user; it is not read.
    pub has_user: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            protocol: Protocol::Tcp,
            omit_s: 0,
            time_s: None,
            bytes: None,
            blocks: None,
            parallel: 1,
            reverse: false,
            bidirectional: false,
            block_bytes: None,
            window_bytes: None,
            mss: None,
            bandwidth: None,
            fq_rate: None,
            tos: None,
            congestion: None,
            no_delay: false,
            wide_counters: false,
            wants_output: false,
            title: None,
            client_version: None,
            has_user: false,
        }
    }
}

impl Parameters {
    /// Reads the parameters.
    ///
    /// # Errors
    /// The first field that is missing, of another type, or outside of its range.
    pub fn parse(json: &[u8]) -> Result<Self, Malformed> {
        const SMALL: &str = "a number below 2³²";
        let object = Object::parse(json)?;
        // The last one that a server of iperf3 looks at counts.
        let protocol = match (object.flag("tcp")?, object.flag("udp")?, object.flag("sctp")?) {
            (_, _, true) => Protocol::Sctp,
            (_, true, _) => Protocol::Udp,
            (true, ..) => Protocol::Tcp,
            _ => return Err(Malformed::Missing("tcp")),
        };
        Ok(Self {
            protocol,
            omit_s: object.count("omit")?.unwrap_or(0),
            time_s: object.count("time")?,
            bytes: object.count("num")?,
            blocks: object.count("blockcount")?,
            parallel: object.small("parallel", SMALL)?.unwrap_or(1),
            reverse: object.flag("reverse")?,
            bidirectional: object.flag("bidirectional")?,
            block_bytes: object.small("len", SMALL)?,
            window_bytes: object.small("window", SMALL)?,
            mss: object.small("MSS", SMALL)?,
            bandwidth: object.count("bandwidth")?,
            fq_rate: object.count("fqrate")?,
            tos: object.small("TOS", "a number up to 255")?,
            congestion: object.name("congestion")?,
            no_delay: object.flag("nodelay")?,
            wide_counters: object.flag("udp_counters_64bit")?,
            wants_output: object.flag("get_server_output")?,
            title: object.name("title")?,
            client_version: object.name("client_version")?,
            has_user: object.0.contains_key("authtoken"),
        })
    }

    /// The parameters as JSON.
    pub fn to_json(&self) -> String {
        let mut map = Map::new();
        let name = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        map.insert(name.to_owned(), true.into());
        map.insert("omit".to_owned(), self.omit_s.into());
        map.insert("time".to_owned(), self.time_s.unwrap_or(0).into());
        map.insert("num".to_owned(), self.bytes.unwrap_or(0).into());
        map.insert("blockcount".to_owned(), self.blocks.unwrap_or(0).into());
        map.insert("parallel".to_owned(), self.parallel.into());
        for (name, flag) in
            [("reverse", self.reverse), ("bidirectional", self.bidirectional), ("nodelay", self.no_delay)]
        {
            if flag {
                map.insert(name.to_owned(), true.into());
            }
        }
        // Clients of iperf3 send a number for these.
        for (name, flag) in
            [("udp_counters_64bit", self.wide_counters), ("get_server_output", self.wants_output)]
        {
            if flag {
                map.insert(name.to_owned(), 1.into());
            }
        }
        let numbers = [
            ("len", self.block_bytes.map(u64::from)),
            ("window", self.window_bytes.map(u64::from)),
            ("MSS", self.mss.map(u64::from)),
            ("bandwidth", self.bandwidth),
            ("fqrate", self.fq_rate),
            ("TOS", self.tos.map(u64::from)),
        ];
        for (name, value) in numbers {
            map.extend(value.map(|value| (name.to_owned(), Value::from(value))));
        }
        let texts = [
            ("congestion", &self.congestion),
            ("title", &self.title),
            ("client_version", &self.client_version),
        ];
        for (name, value) in texts {
            map.extend(value.clone().map(|value| (name.to_owned(), Value::from(value))));
        }
        Value::Object(map).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_stock_clients_are_read() {
        // As iperf 3.12 sends them for `iperf3 -c HOST -u -b 100M -R -P 2 -l 1400`.
        let json =
            br#"{"udp":true,"omit":0,"time":10,"num":0,"blockcount":0,"parallel":2,"reverse":true,"len":1400,
            "bandwidth":100000000,"pacing_timer":1000,"client_version":"3.12"}"#;
        let read = Parameters::parse(json).unwrap();
        let expected = Parameters {
            protocol: Protocol::Udp,
            time_s: Some(10),
            parallel: 2,
            reverse: true,
            block_bytes: Some(1400),
            bandwidth: Some(100_000_000),
            client_version: Some("3.12".into()),
            ..Parameters::default()
        };
        assert_eq!(read, expected);
        // cJSON writes large numbers with an exponent, newer versions have further fields.
        let json = br#"{"tcp":true,"num":1.25e+10,"parallel":1,"skip_rx_copy":0,"gso":0,"MSS":1400,"authtoken":"x"}"#;
        let read = Parameters::parse(json).unwrap();
        assert_eq!((read.bytes, read.mss, read.has_user), (Some(12_500_000_000), Some(1400), true));
    }

    #[test]
    fn what_is_written_is_read() {
        let all = Parameters {
            protocol: Protocol::Udp,
            omit_s: 1,
            time_s: Some(2),
            bytes: Some(3),
            blocks: Some(4),
            parallel: 5,
            reverse: true,
            bidirectional: true,
            block_bytes: Some(6),
            window_bytes: Some(7),
            mss: Some(8),
            bandwidth: Some(u64::MAX / 4),
            fq_rate: Some(10),
            tos: Some(255),
            congestion: Some("bbr".into()),
            no_delay: true,
            wide_counters: true,
            wants_output: true,
            title: Some("a \"title\"".into()),
            client_version: Some("x".into()),
            has_user: false,
        };
        for parameters in [all, Parameters::default()] {
            assert_eq!(Parameters::parse(parameters.to_json().as_bytes()), Ok(parameters));
        }
    }

    #[test]
    fn bad_parameters_are_named() {
        for (json, words) in [
            (&b"{"[..], "no JSON"),
            (b"[]", "no object"),
            (b"{}", "tcp: the field is missing"),
            (br#"{"tcp":"yes"}"#, "tcp: true or false is expected"),
            (br#"{"tcp":true,"time":"10"}"#, "time: a whole number is expected"),
            (br#"{"tcp":true,"time":-1}"#, "time: a number that is not negative is expected"),
            (br#"{"tcp":true,"time":1e300}"#, "time: a whole number"),
            (br#"{"tcp":true,"num":[]}"#, "num: a whole number"),
            (br#"{"tcp":true,"parallel":4294967296}"#, "parallel: a number below"),
            (br#"{"tcp":true,"TOS":256}"#, "TOS: a number up to 255"),
            (br#"{"tcp":true,"congestion":7}"#, "congestion: a text is expected"),
            (b"{\"tcp\":true,\"title\":\"\xff\"}", "no JSON"),
        ] {
            let error = Parameters::parse(json).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let deep = format!("{{\"tcp\":{}", "[".repeat(4000));
        assert!(Parameters::parse(deep.as_bytes()).is_err());
    }
}
