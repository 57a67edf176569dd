//! Frame sizes of a profile: one, or a sequence that repeats.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::frame::{FrameSize, WIRE_OVERHEAD_BYTES};

/// Most frames of a sequence.
pub const LONGEST_SEQUENCE: usize = 4096;
/// Most characters of a label: the profile's name, of which it is a part, must remain a valid file name.
const LONGEST_LABEL: usize = 64;
/// The mix `imix`: seven small, four medium, one large frame; IP packets of 40, 576 and 1500 bytes as
/// Ethernet frames.
pub const IMIX: &str = "64:7,594:4,1518:1";
const FORMS: &str = "a size (64), a list (64,512,1518), sizes with weights (64:7,594:4,1518:1), 'imix', or a genome of RFC 6985 (genome:aaafg)";

/// Sizes of successive frames. One size, or a sequence that each sender repeats.
///
/// Written `64`; `64,512,1518` (in turn); `64:7,594:4,1518:1` (weights, evenly interleaved); `imix`; or
/// `genome:aaafg`, the letters of RFC 6985.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FrameSizes {
    sequence: Vec<FrameSize>,
    text: String,
}

impl FrameSizes {
    /// The sizes of successive frames; at least one.
    pub fn sequence(&self) -> &[FrameSize] {
        &self.sequence
    }

    /// The size, when all frames have the same.
    pub fn single(&self) -> Option<FrameSize> {
        let first = *self.sequence.first()?;
        self.sequence.iter().all(|size| *size == first).then_some(first)
    }

    /// The smallest size.
    pub fn smallest(&self) -> FrameSize {
        self.sequence.iter().copied().min().unwrap_or(FrameSize::MIN_FRAME)
    }

    /// The largest size.
    pub fn largest(&self) -> FrameSize {
        self.sequence.iter().copied().max().unwrap_or(FrameSize::MIN_FRAME)
    }

    /// Mean size in bytes, frame check sequence included.
    pub fn mean_bytes(&self) -> f64 {
        let total: u64 = self.sequence.iter().map(|size| u64::from(size.bytes())).sum();
        total as f64 / self.sequence.len().max(1) as f64
    }

    /// Mean bits of a frame on the wire, with preamble, start delimiter and inter-frame gap.
    pub fn mean_wire_bits(&self) -> f64 {
        (self.mean_bytes() + f64::from(WIRE_OVERHEAD_BYTES)) * 8.0
    }

    /// Frames per second that fill a link of `link_bps` bit/s.
    pub fn line_rate_pps(&self, link_bps: u64) -> f64 {
        link_bps as f64 / self.mean_wire_bits()
    }

    /// The sizes in a form for file names: `64`, `imix`, `64-512-1518`. A longer form is shortened to the
    /// range and a fingerprint of the sizes: `64-to-9000-1f3c09aa`.
    pub fn label(&self) -> String {
        let label = self.text.replace("genome:", "").replace([',', ':'], "-");
        if label.len() <= LONGEST_LABEL {
            return label;
        }
        let number = fingerprint(self.text.as_bytes());
        format!("{}-to-{}-{number:08x}", self.smallest(), self.largest())
    }

    fn in_turn(sizes: Vec<FrameSize>) -> Result<Self, FrameSizesError> {
        let text = sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        Self::of(sizes, text)
    }

    fn of(sequence: Vec<FrameSize>, text: String) -> Result<Self, FrameSizesError> {
        if sequence.is_empty() || sequence.len() > LONGEST_SEQUENCE {
            return Err(FrameSizesError::Length(sequence.len()));
        }
        Ok(Self { sequence, text })
    }
}

impl Default for FrameSizes {
    fn default() -> Self {
        FrameSize::MIN_FRAME.into()
    }
}

impl From<FrameSize> for FrameSizes {
    fn from(size: FrameSize) -> Self {
        Self { sequence: vec![size], text: size.to_string() }
    }
}

impl FromStr for FrameSizes {
    type Err = FrameSizesError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text == "imix" {
            return Self::of(weighted(IMIX)?, text.to_owned());
        }
        if let Some(letters) = text.strip_prefix("genome:") {
            let sizes = letters.chars().map(gene).collect::<Result<Vec<_>, _>>()?;
            return Self::of(sizes, text.to_owned());
        }
        if text.contains(':') {
            return Self::of(weighted(text)?, text.to_owned());
        }
        let sizes = text.split(',').map(|part| size(part, text)).collect::<Result<Vec<_>, _>>()?;
        Self::in_turn(sizes)
    }
}

fn size(part: &str, whole: &str) -> Result<FrameSize, FrameSizesError> {
    let part = part.trim();
    part.parse().map_err(|_| match part.parse::<u64>() {
        Ok(_) => FrameSizesError::Size(part.to_owned()),
        Err(_) => FrameSizesError::Form(whole.to_owned()),
    })
}

/// Size for a letter of the IMIX genome (RFC 6985, section 4). `z`, the MTU of the path, is not supported.
fn gene(letter: char) -> Result<FrameSize, FrameSizesError> {
    let bytes = match letter {
        'a' => 64,
        'b' => 128,
        'c' => 256,
        'd' => 512,
        'e' => 1024,
        'f' => 1280,
        'g' => 1518,
        'h' => 2112,
        'i' => 9000,
        other => return Err(FrameSizesError::Gene(other)),
    };
    FrameSize::new(bytes).map_err(|_| FrameSizesError::Gene(letter))
}

/// Distributes each size over the sequence as evenly as its weight allows.
fn weighted(text: &str) -> Result<Vec<FrameSize>, FrameSizesError> {
    let mut parts = Vec::new();
    for part in text.split(',') {
        let (bytes, weight) = part.split_once(':').ok_or_else(|| FrameSizesError::Form(text.to_owned()))?;
        let weight: u32 =
            weight.trim().parse().map_err(|_| FrameSizesError::Weight(weight.trim().to_owned()))?;
        if weight == 0 || weight as usize > LONGEST_SEQUENCE {
            return Err(FrameSizesError::Weight(weight.to_string()));
        }
        parts.push((size(bytes, text)?, i64::from(weight), 0i64));
    }
    let total: i64 = parts.iter().map(|(_, weight, _)| weight).sum();
    if total as usize > LONGEST_SEQUENCE {
        return Err(FrameSizesError::Length(total as usize));
    }
    let mut sequence = Vec::with_capacity(total as usize);
    for _ in 0..total {
        // Smooth weighted round robin: each frame adds its weight to every size's credit; the size with most
        // credit is sent and loses the total weight.
        parts.iter_mut().for_each(|(_, weight, credit)| *credit += *weight);
        let Some(richest) = parts.iter_mut().rev().max_by_key(|(_, _, credit)| *credit) else { break };
        richest.2 -= total;
        sequence.push(richest.0);
    }
    Ok(sequence)
}

impl fmt::Display for FrameSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for FrameSizes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.sequence[..] {
            [size] => size.serialize(serializer),
            _ => self.text.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for FrameSizes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = FrameSizes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(FORMS)
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<FrameSizes, E> {
                let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                FrameSize::new(bytes).map(FrameSizes::from).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<FrameSizes, E> {
                self.visit_u64(u64::try_from(bytes).unwrap_or(0))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<FrameSizes, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<FrameSizes, A::Error> {
                let mut sizes = Vec::new();
                while let Some(size) = list.next_element::<FrameSize>()? {
                    if sizes.len() == LONGEST_SEQUENCE {
                        return Err(de::Error::custom(FrameSizesError::Length(sizes.len() + 1)));
                    }
                    sizes.push(size);
                }
                FrameSizes::in_turn(sizes).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl JsonSchema for FrameSizes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FrameSizes".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let size = generator.subschema_for::<FrameSize>();
        json_schema!({
            "description": "Sizes of successive frames in bytes, frame check sequence included: one size, a list sent in turn, or text: 64:7,594:4,1518:1 (weights), imix, genome:aaafg (RFC 6985)",
            "anyOf": [size, { "type": "array", "items": size, "minItems": 1, "maxItems": LONGEST_SEQUENCE }, { "type": "string" }]
        })
    }
}

/// Error: sizes that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameSizesError {
    /// Not one of the accepted forms.
    #[error("'{0}' is not {FORMS}")]
    Form(String),
    /// A size out of range.
    #[error(
        "frame size {0} is outside {min}…{max} bytes, frame check sequence included",
        min = FrameSize::MIN,
        max = FrameSize::MAX
    )]
    Size(String),
    /// An invalid weight.
    #[error("weight '{0}' is not a whole number from 1 to {LONGEST_SEQUENCE}")]
    Weight(String),
    /// An unknown letter.
    #[error(
        "'{0}' is no size of the genome: letters are a 64, b 128, c 256, d 512, e 1024, f 1280, g 1518, h 2112, i 9000"
    )]
    Gene(char),
    /// No frames, or too many.
    #[error("a sequence of {0} frame sizes is outside 1…{LONGEST_SEQUENCE}")]
    Length(usize),
}

/// Fingerprint of a text (FNV-1a).
pub(crate) fn fingerprint(text: &[u8]) -> u32 {
    text.iter().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u32> {
        text.parse::<FrameSizes>().unwrap().sequence().iter().map(|size| size.bytes()).collect()
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(bytes("64"), [64]);
        assert_eq!(bytes("64, 512,1518"), [64, 512, 1518]);
        assert_eq!(bytes("genome:abcdefghi"), [64, 128, 256, 512, 1024, 1280, 1518, 2112, 9000]);
        let imix = bytes("imix");
        let count = |size| imix.iter().filter(|bytes| **bytes == size).count();
        assert_eq!((imix.len(), count(64), count(594), count(1518)), (12, 7, 4, 1));
        assert_ne!(imix[..7], [64; 7], "interleaved");
        assert_eq!(bytes("64:1,128:1"), [64, 128]);
    }

    #[test]
    fn documents_may_hold_numbers_lists_and_text() {
        for (json, label) in
            [("64", "64"), ("[64, 512]", "64-512"), ("\"imix\"", "imix"), ("\"64:2,9000:1\"", "64-2-9000-1")]
        {
            let sizes: FrameSizes = serde_json::from_str(json).unwrap();
            assert_eq!(sizes.label(), label);
            let written = serde_json::to_string(&sizes).unwrap();
            assert_eq!(serde_json::from_str::<FrameSizes>(&written).unwrap(), sizes);
        }
    }

    #[test]
    fn labels_of_long_sequences_are_short_and_their_own() {
        let largest = if cfg!(miri) { 90 } else { 263 };
        let sizes = (64..=largest).map(|size| size.to_string()).collect::<Vec<_>>().join(",");
        let label = sizes.parse::<FrameSizes>().unwrap().label();
        assert!(label.starts_with(&format!("64-to-{largest}-")) && label.len() <= LONGEST_LABEL, "{label}");
        let weighted =
            |last| format!("{}{last}:1", "64:1,9000:1,".repeat(6)).parse::<FrameSizes>().unwrap().label();
        assert_ne!(weighted(100), weighted(101));
    }

    #[test]
    fn means_count_the_wire() {
        let imix: FrameSizes = "imix".parse().unwrap();
        assert!((imix.mean_bytes() - (7.0 * 64.0 + 4.0 * 594.0 + 1518.0) / 12.0).abs() < 1e-9);
        let single: FrameSizes = "64".parse().unwrap();
        assert_eq!(single.line_rate_pps(10_000_000_000) as u64, 14_880_952);
    }

    #[test]
    fn wrong_sizes_are_named() {
        for (text, part) in [
            ("63", "frame size 63"),
            ("64,9001", "frame size 9001"),
            ("", "''"),
            ("64:0", "weight '0'"),
            ("64:x", "weight 'x'"),
            ("64:4000,65:4000", "8000 frame sizes"),
            ("genome:", "0 frame sizes"),
            ("genome:aZ", "'Z'"),
            ("big", "'big'"),
        ] {
            let message = text.parse::<FrameSizes>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
