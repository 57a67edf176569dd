//! JSON of results, which may be foreign: values that Linerate cannot have written are refused, with the
//! field and the reason.

use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// Largest plausible fraction: rates, shares and times are smaller. Whole numbers may use all of their 64
/// bits: drivers have counters of any value, and sums of delays between clocks that cannot be compared grow
/// without bound.
const LARGEST_FRACTION: f64 = 1e20;

/// Checks that a value, once written, can be read back.
///
/// # Errors
/// The field that cannot, and the reason: a fraction that is not a number, or larger than any measurement.
pub fn can_be_read<T: Serialize + DeserializeOwned>(value: &T) -> Result<(), JsonError> {
    let bytes =
        serde_json::to_vec(value).map_err(|error| JsonError { torn: false, what: error.to_string() })?;
    parse::<T>(&bytes).map(drop)
}

/// Parses a value.
///
/// # Errors
/// The field, and why Linerate cannot have written it. Nesting beyond 128 levels is refused as well.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    serde_path_to_error::deserialize::<_, Plausible>(&mut serde_json::Deserializer::from_slice(bytes))?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer)?;
    deserializer.end().map_err(|error| JsonError { torn: false, what: error.to_string() })?;
    Ok(value)
}

/// JSON that Linerate cannot have written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// True when the text is truncated.
    pub torn: bool,
    what: String,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl From<JsonError> for std::io::Error {
    fn from(error: JsonError) -> Self {
        let kind =
            if error.torn { std::io::ErrorKind::UnexpectedEof } else { std::io::ErrorKind::InvalidData };
        Self::new(kind, error.what)
    }
}

impl From<serde_path_to_error::Error<serde_json::Error>> for JsonError {
    fn from(error: serde_path_to_error::Error<serde_json::Error>) -> Self {
        // Field names are untrusted input as well.
        let field: String = error.path().to_string().chars().flat_map(escaped).collect();
        let torn = error.inner().is_eof();
        let what =
            if field == "." { error.inner().to_string() } else { format!("{field}: {}", error.inner()) };
        Self { torn, what }
    }
}

fn escaped(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

/// Serializes a value as a text of several lines.
pub(super) fn pretty(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Any value whose numbers are all plausible. The value is discarded.
struct Plausible;

impl<'de> Deserialize<'de> for Plausible {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Plausible)
    }
}

impl<'de> Visitor<'de> for Plausible {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Self, E> {
        // A magnitude that no rate, share or time has.
        if number.abs() > LARGEST_FRACTION {
            Err(E::custom(format!("{number:e} is too large for a rate or a time")))
        } else {
            Ok(self)
        }
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Plausible>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self, A::Error> {
        while fields.next_key::<IgnoredAny>().map_err(A::Error::custom)?.is_some() {
            fields.next_value::<Plausible>()?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::summary;
    use crate::summary::Status;
    use crate::summary::Summary;

    #[test]
    fn what_cannot_be_ours_is_refused_by_field_and_reason() {
        let ours = serde_json::to_value(summary(Status::Complete)).unwrap();
        assert!(parse::<Summary>(ours.to_string().as_bytes()).is_ok());
        let nested = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        for (field, value, word) in [
            ("/warm_up/0/sent_packets", "18446744073709551616", "invalid"),
            ("/warm_up/0/sent_packets", "1e999", "number out of range"),
            ("/warm_up/0/sent_packets", "NaN", "expected value"),
            ("/warm_up/0/sent_packets", "-1", "invalid"),
            ("/warm_up/0/duration_s", "1e300", "too large"),
            ("/warm_up/0/duration_s", "Infinity", "expected value"),
            ("/warm_up/0/pair", "\"../../etc\"", "'/'"),
            ("/warm_up/0/pair", "\"..\"", "leaves"),
            ("/warm_up/0/pair", "\"a/b\"", "'/'"),
            ("/warm_up/0/from", "\"tx0\\u001b[2J\"", "control characters"),
            ("/warm_up/0/to", "\"\\u0000\"", "control characters"),
            ("/experiment/id", "\"../0badf\"", "8 hexadecimal digits"),
            ("/failures/0/trial", "\"/etc/passwd\"", "absolute"),
            ("/failures/0/trial", "\"tx0-rx0/../../x\"", "leaves"),
            ("/failures/0/reason", &nested, "recursion limit"),
        ] {
            let mut foreign = ours.clone();
            *foreign.pointer_mut(field).unwrap() = "PLACE".into();
            let text = foreign.to_string().replace("\"PLACE\"", value);
            let error = parse::<Summary>(text.as_bytes()).unwrap_err().to_string();
            let last = field.rsplit('/').next().unwrap();
            assert!(error.contains(word) && error.contains(last), "{field} = {value:.40}: {error}");
            assert!(!error.chars().any(char::is_control), "{error}");
        }
        assert!(parse::<Summary>(b"{\"schema\": ").unwrap_err().torn);
    }

    #[test]
    fn what_could_not_be_read_again_is_refused_before_it_is_written() {
        let mut summary = summary(Status::Complete);
        summary.warm_up[0].sent_packets = u64::MAX;
        assert_eq!(can_be_read(&summary), Ok(()));
        for (duration_s, word) in [(f64::INFINITY, "null"), (f64::NAN, "null"), (1e300, "too large")] {
            summary.warm_up[0].duration_s = duration_s;
            let error = can_be_read(&summary).unwrap_err().to_string();
            assert!(error.contains("duration_s") && error.contains(word), "{error}");
        }
    }
}
