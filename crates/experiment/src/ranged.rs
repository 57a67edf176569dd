//! Numbers and times with their allowed range in the type, so that the document's parser can report it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use linerate_traffic::span::Span;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Ranged<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Ranged<MIN, MAX> {
    /// A compile-time constant; one out of range does not compile.
    pub const fn of<const N: u64>() -> Self {
        const { assert!(MIN <= N && N <= MAX) }
        Self(N)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The number as `u32`; `MAX` fits into it.
    pub fn get_u32(self) -> u32 {
        const { assert!(MAX <= u32::MAX as u64) }
        self.0 as u32
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Ranged<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InRange<const MIN: u64, const MAX: u64>;

        impl<const MIN: u64, const MAX: u64> InRange<MIN, MAX> {
            fn refuse<T, E: de::Error>(value: impl fmt::Display) -> Result<T, E> {
                Err(E::custom(format_args!("'{value}' is not a whole number from {MIN} to {MAX}")))
            }
        }

        impl<const MIN: u64, const MAX: u64> Visitor<'_> for InRange<MIN, MAX> {
            type Value = Ranged<MIN, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from {MIN} to {MAX}")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
                if (MIN..=MAX).contains(&value) { Ok(Ranged(value)) } else { Self::refuse(value) }
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
                u64::try_from(value).or_else(|_| Self::refuse(value)).and_then(|value| self.visit_u64(value))
            }

            // JSON Schema counts 1e3 as a whole number.
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
                if value.fract() == 0.0 && (MIN as f64..=MAX as f64).contains(&value) {
                    self.visit_u64(value as u64)
                } else {
                    Self::refuse(value)
                }
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
                Self::refuse(value)
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
                if value.trim().parse::<f64>().is_ok() {
                    return Err(E::custom(format_args!(
                        "'{value}' is a text, for it is in quotes; write a whole number from {MIN} to {MAX} without them"
                    )));
                }
                Self::refuse(value)
            }
        }

        deserializer.deserialize_any(InRange)
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Ranged<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Number{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// A time of `MIN_MS` to `MAX_MS` milliseconds, written `10s`, `2m` or `500ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanIn<const MIN_MS: u64, const MAX_MS: u64>(Duration);

impl<const MIN_MS: u64, const MAX_MS: u64> SpanIn<MIN_MS, MAX_MS> {
    /// A compile-time constant; one out of range does not compile.
    pub const fn of_millis<const N: u64>() -> Self {
        const { assert!(MIN_MS <= N && N <= MAX_MS) }
        Self(Duration::from_millis(N))
    }

    /// The time.
    pub fn get(self) -> Duration {
        self.0
    }

    /// Whole milliseconds.
    pub fn millis(self) -> u64 {
        self.0.as_millis() as u64
    }

    /// Whole milliseconds as `u32`; `MAX_MS` fits into it.
    pub fn millis_u32(self) -> u32 {
        const { assert!(MAX_MS <= u32::MAX as u64) }
        self.millis() as u32
    }

    /// Checks the range.
    ///
    /// # Errors
    /// A sentence that names the value and the range.
    pub fn new(span: Span) -> Result<Self, String> {
        let (least, most) = (Span::from_millis(MIN_MS), Span::from_millis(MAX_MS));
        if (least..=most).contains(&span) {
            Ok(Self(span.0))
        } else {
            Err(format!("'{span}' is outside {least} to {most}"))
        }
    }
}

impl<const MIN_MS: u64, const MAX_MS: u64> Serialize for SpanIn<MIN_MS, MAX_MS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Span(self.0))
    }
}

impl<'de, const MIN_MS: u64, const MAX_MS: u64> Deserialize<'de> for SpanIn<MIN_MS, MAX_MS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Span::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl<const MIN_MS: u64, const MAX_MS: u64> JsonSchema for SpanIn<MIN_MS, MAX_MS> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Span{MIN_MS}To{MAX_MS}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let (least, most) = (Span::from_millis(MIN_MS), Span::from_millis(MAX_MS));
        json_schema!({
            "type": "string",
            "description": format!("A length of time such as 10s, 2m or 500ms: {least} to {most}."),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_name_value_and_range() {
        let read = |text: &str| serde_saphyr::from_str::<Ranged<1, 64>>(text);
        assert_eq!(read("64").unwrap().get(), 64);
        for bad in ["0", "65", "-1", "1.5", "two", "true", "99999999999999999999999"] {
            let message = read(bad).unwrap_err().to_string();
            assert!(message.contains("is not a whole number from 1 to 64"), "{bad}: {message}");
        }
    }

    #[test]
    fn whole_numbers_may_be_written_as_powers_and_not_in_quotes() {
        let read = |text: &str| serde_saphyr::from_str::<Ranged<1, 4_194_304>>(text);
        for text in ["1000", "1e3", "1000.0", "1.0E+3"] {
            assert_eq!(read(text).unwrap().get(), 1000, "{text}");
        }
        for text in ["\"1000\"", "'1000'", "'1e3'"] {
            let message = read(text).unwrap_err().to_string();
            assert!(
                message.contains("is a text, for it is in quotes; write a whole number from 1"),
                "{message}"
            );
        }
        for text in ["1e7", "1000.5", "-1e3", ".nan", ".inf"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_out_of_range_name_value_and_range() {
        let read = |text: &str| serde_saphyr::from_str::<SpanIn<10, 3_600_000>>(text);
        assert_eq!(read("1m").unwrap().millis_u32(), 60_000);
        for (bad, part) in
            [("9ms", "'9ms' is outside 10ms to 1h"), ("2h", "10ms to 1h"), ("10", "not a duration")]
        {
            let message = read(bad).unwrap_err().to_string();
            assert!(message.contains(part), "{bad}: {message}");
        }
    }
}
