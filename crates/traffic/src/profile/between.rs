//! Values of fields in frames between two known ports.

use super::field::mac_bits;
use super::{Field, Profile};
use crate::mac::MacAddr;

impl Profile {
    /// The value of a field in the headers of flow `flow`, between ports with these addresses, the sender's
    /// first; `None` when the frames lack the field.
    pub fn value_between(
        &self,
        field: Field,
        flow: u32,
        (source, destination): (MacAddr, MacAddr),
    ) -> Option<u128> {
        if let Some(value) = self.value(field, flow) {
            return Some(value);
        }
        let start = match field {
            Field::SourceMac => mac_bits(source),
            Field::DestinationMac => mac_bits(destination),
            _ => return None,
        };
        let sweep = self.sweeps().iter().find(|sweep| sweep.field == field);
        Some(start.wrapping_add(sweep.map_or(0, |sweep| sweep.offset(flow))))
    }
}
