//! Fields of JSON objects from strangers, with their types and ranges checked.

use serde_json::{Map, Value};

/// Longest text that is kept.
const MOST_TEXT_BYTES: usize = 256;

/// Error: a JSON object is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No JSON.
    #[error("no JSON: {0}")]
    Syntax(String),
    /// JSON, but no object.
    #[error("the JSON is no object")]
    NoObject,
    /// A field that must be there.
    #[error("{0}: the field is missing")]
    Missing(&'static str),
    /// A field of another type, or outside of its range.
    #[error("{field}: {wanted} is expected")]
    Wrong {
        /// Name of the field.
        field: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// Too many elements.
    #[error("{field}: more than {most}")]
    TooMany {
        /// Name of the field.
        field: &'static str,
        /// Most that are accepted.
        most: usize,
    },
}

/// A JSON object.
#[derive(Debug)]
pub(crate) struct Object(pub(crate) Map<String, Value>);

impl Object {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, Malformed> {
        match serde_json::from_slice(json) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err(Malformed::NoObject),
            Err(error) => Err(Malformed::Syntax(error.to_string())),
        }
    }

    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    /// A number of any kind.
    pub(crate) fn float(&self, field: &'static str) -> Result<Option<f64>, Malformed> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let number = value.as_f64().filter(|number| number.is_finite());
        number.map(Some).ok_or(Malformed::Wrong { field, wanted: "a number" })
    }

    /// A whole number. Large ones may have an exponent. Versions of iperf3 write -1 as 2⁶⁴ - 1.
    pub(crate) fn whole(&self, field: &'static str) -> Result<Option<i64>, Malformed> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let from_float = || {
            let number = value.as_f64()?;
            if number == 18_446_744_073_709_551_616.0 {
                return Some(-1);
            }
            (number.fract() == 0.0 && number.abs() < 9.0e18).then_some(number as i64)
        };
        let negative = || value.as_u64().map(u64::cast_signed);
        let number = value.as_i64().or_else(negative).or_else(from_float);
        number.map(Some).ok_or(Malformed::Wrong { field, wanted: "a whole number" })
    }

    /// A whole number that is not negative; absent when it is 0.
    pub(crate) fn count(&self, field: &'static str) -> Result<Option<u64>, Malformed> {
        match self.whole(field)?.map(u64::try_from) {
            None | Some(Ok(0)) => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(Malformed::Wrong { field, wanted: "a number that is not negative" }),
        }
    }

    /// The same up to a limit.
    pub(crate) fn small<T: TryFrom<u64>>(
        &self,
        field: &'static str,
        wanted: &'static str,
    ) -> Result<Option<T>, Malformed> {
        let number = self.count(field)?.map(T::try_from).transpose();
        number.map_err(|_| Malformed::Wrong { field, wanted })
    }

    /// True or false, or a number that is 0 or not.
    pub(crate) fn flag(&self, field: &'static str) -> Result<bool, Malformed> {
        match self.get(field) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::Number(number)) => Ok(number.as_f64() != Some(0.0)),
            Some(_) => Err(Malformed::Wrong { field, wanted: "true or false" }),
        }
    }

    /// A text; the beginning of a long one.
    pub(crate) fn text(&self, field: &'static str, most: usize) -> Result<Option<String>, Malformed> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.chars().take(most).collect())),
            Some(_) => Err(Malformed::Wrong { field, wanted: "a text" }),
        }
    }

    /// A short text.
    pub(crate) fn name(&self, field: &'static str) -> Result<Option<String>, Malformed> {
        self.text(field, MOST_TEXT_BYTES)
    }

    /// The elements of an array of objects.
    pub(crate) fn objects(&mut self, field: &'static str, most: usize) -> Result<Vec<Object>, Malformed> {
        let values = match self.0.remove(field) {
            None => return Err(Malformed::Missing(field)),
            Some(Value::Array(values)) => values,
            Some(_) => return Err(Malformed::Wrong { field, wanted: "a list" }),
        };
        if values.len() > most {
            return Err(Malformed::TooMany { field, most });
        }
        let object = |value| match value {
            Value::Object(map) => Ok(Object(map)),
            _ => Err(Malformed::Wrong { field, wanted: "a list of objects" }),
        };
        values.into_iter().map(object).collect()
    }
}

/// A number as JSON; 0 when it is none.
pub(crate) fn number(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or(Value::from(0), Value::Number)
}
