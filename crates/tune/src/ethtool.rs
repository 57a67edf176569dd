//! Settings that drivers keep (`SIOCETHTOOL`): channels, rings, coalescing, the RSS table.
//!
//! Layouts are those of the kernel's `include/uapi/linux/ethtool.h`: 32-bit words in the machine's byte order,
//! the command first.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;

use crate::Error;

/// The way to an interface's driver.
pub trait Ethtool {
    /// Makes the request whose bytes these are; the answer replaces them.
    ///
    /// # Errors
    /// The kernel's reason: `EOPNOTSUPP` when the driver has no such setting.
    fn ask(&mut self, request: &mut [u8]) -> io::Result<()>;
}

impl<E: Ethtool + ?Sized> Ethtool for &mut E {
    fn ask(&mut self, request: &mut [u8]) -> io::Result<()> {
        (**self).ask(request)
    }
}

const GET_DRIVER: u32 = 0x3;
const GET_COALESCE: u32 = 0xe;
const SET_COALESCE: u32 = 0xf;
const GET_RINGS: u32 = 0x10;
const SET_RINGS: u32 = 0x11;
const GET_RX_RINGS: u32 = 0x2d;
const GET_RSS_TABLE: u32 = 0x38;
const SET_RSS_TABLE: u32 = 0x39;
const GET_CHANNELS: u32 = 0x3c;
const SET_CHANNELS: u32 = 0x3d;

/// `struct ethtool_drvinfo`, in bytes.
const DRIVER_BYTES: usize = 196;
/// `struct ethtool_rxnfc`, in bytes; its number stands at byte 8.
const RX_RINGS_BYTES: usize = 192;
/// Most entries of an RSS table that are read. Devices have 16 to 4,096.
const MOST_ENTRIES: u32 = 1 << 16;

/// A kind of setting that consists of named numbers: commands, length in words, the places of the names, and of
/// their limits.
#[derive(Debug)]
pub struct Group {
    /// What `ethtool` calls it.
    name: &'static str,
    get: u32,
    set: u32,
    words: usize,
    fields: &'static [(&'static str, usize)],
    limits: &'static [(&'static str, usize)],
}

/// Channels (`ethtool -l`): queues by kind.
pub const CHANNELS: Group = Group {
    name: "channels (ethtool -L)",
    get: GET_CHANNELS,
    set: SET_CHANNELS,
    words: 9,
    fields: &[("rx", 5), ("tx", 6), ("combined", 8)],
    limits: &[("rx", 1), ("tx", 2), ("combined", 4)],
};

/// Descriptors of a ring (`ethtool -g`).
pub const RINGS: Group = Group {
    name: "rings (ethtool -G)",
    get: GET_RINGS,
    set: SET_RINGS,
    words: 9,
    fields: &[("rx", 5), ("tx", 8)],
    limits: &[("rx", 1), ("tx", 4)],
};

/// Interrupt coalescing (`ethtool -c`), by ethtool's names.
pub const COALESCE: Group = Group {
    name: "coalescing (ethtool -C)",
    get: GET_COALESCE,
    set: SET_COALESCE,
    words: 23,
    fields: &[
        ("rx-usecs", 1),
        ("rx-frames", 2),
        ("tx-usecs", 5),
        ("tx-frames", 6),
        ("adaptive-rx", 10),
        ("adaptive-tx", 11),
    ],
    limits: &[],
};

/// Named numbers.
pub type Fields = BTreeMap<String, u32>;

impl Group {
    /// Names of its fields.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.fields.iter().map(|(name, _)| *name)
    }

    fn words(&self, driver: &mut impl Ethtool) -> Result<Vec<u32>, Error> {
        let mut words = vec![0; self.words];
        if let Some(command) = words.first_mut() {
            *command = self.get;
        }
        exchange(driver, &mut words).map_err(|reason| Error::Driver { request: self.name, reason })?;
        Ok(words)
    }

    /// The settings in force.
    ///
    /// # Errors
    /// The driver's reason.
    pub fn read(&self, driver: &mut impl Ethtool) -> Result<Fields, Error> {
        Ok(named(&self.words(driver)?, self.fields))
    }

    /// The highest values that the driver admits; empty where it tells none.
    ///
    /// # Errors
    /// The driver's reason.
    pub fn limits(&self, driver: &mut impl Ethtool) -> Result<Fields, Error> {
        Ok(named(&self.words(driver)?, self.limits))
    }

    /// Sets some of the fields, and leaves the others as they are.
    ///
    /// # Errors
    /// The driver's reason.
    pub fn write(&self, driver: &mut impl Ethtool, values: &Fields) -> Result<(), Error> {
        let mut words = self.words(driver)?;
        for (name, value) in values {
            let place = self.fields.iter().find(|(field, _)| field == name);
            if let Some(word) = place.and_then(|(_, place)| words.get_mut(*place)) {
                *word = *value;
            }
        }
        if let Some(command) = words.first_mut() {
            *command = self.set;
        }
        exchange(driver, &mut words).map_err(|reason| Error::Driver { request: self.name, reason })
    }
}

fn named(words: &[u32], fields: &[(&'static str, usize)]) -> Fields {
    fields.iter().filter_map(|(name, at)| Some(((*name).to_owned(), *words.get(*at)?))).collect()
}

fn exchange(driver: &mut impl Ethtool, words: &mut [u32]) -> io::Result<()> {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    driver.ask(&mut bytes)?;
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_ne_bytes(*bytes);
    }
    Ok(())
}

/// Driver and device (`ethtool -i`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DriverInfo {
    /// Name of the driver.
    pub name: String,
    /// Its version, mostly the kernel's; null when it tells none.
    pub version: Option<String>,
    /// Version of the device's firmware; null when it tells none.
    pub firmware: Option<String>,
    /// Address of the device on its bus, such as `0000:3b:00.0`; null for an interface without a device.
    pub bus_address: Option<String>,
}

impl DriverInfo {
    /// Asks the driver.
    ///
    /// # Errors
    /// The driver's reason.
    pub fn read(driver: &mut impl Ethtool) -> Result<Self, Error> {
        let mut bytes = [0; DRIVER_BYTES];
        put(&mut bytes, 0, GET_DRIVER);
        driver.ask(&mut bytes).map_err(|reason| Error::Driver { request: "ethtool -i", reason })?;
        let text = |at: usize| {
            let field = bytes.get(at..at + 32).unwrap_or_default();
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            let text = String::from_utf8_lossy(field.get(..end).unwrap_or_default()).trim().to_owned();
            (!text.is_empty() && text != "N/A").then_some(text)
        };
        Ok(Self {
            name: text(4).unwrap_or_default(),
            version: text(36),
            firmware: text(68),
            bus_address: text(100),
        })
    }
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
}

/// Number of receive rings among which RSS can choose.
///
/// # Errors
/// The driver's reason.
pub fn rx_rings(driver: &mut impl Ethtool) -> Result<u32, Error> {
    let mut bytes = [0; RX_RINGS_BYTES];
    put(&mut bytes, 0, GET_RX_RINGS);
    driver.ask(&mut bytes).map_err(|reason| Error::Driver { request: "the number of RX rings", reason })?;
    let number = bytes.get(8..).and_then(|bytes| bytes.first_chunk()).map(|bytes| u64::from_ne_bytes(*bytes));
    number
        .and_then(|number| number.try_into().ok())
        .ok_or(Error::Driver { request: "the number of RX rings", reason: io::ErrorKind::InvalidData.into() })
}

const RSS: &str = "the RSS table (ethtool -x)";

fn of_rss(reason: io::Error) -> Error {
    Error::Driver { request: RSS, reason }
}

/// The RSS indirection table: the queue of each hash value.
///
/// # Errors
/// The driver's reason.
pub fn rss_table(driver: &mut impl Ethtool) -> Result<Vec<u32>, Error> {
    let mut head = [GET_RSS_TABLE, 0];
    exchange(driver, &mut head).map_err(of_rss)?;
    let [_, entries] = head;
    if entries == 0 || entries > MOST_ENTRIES {
        return Err(of_rss(io::ErrorKind::Unsupported.into()));
    }
    let mut words = vec![0; 2 + entries as usize];
    if let Some(head) = words.first_chunk_mut() {
        *head = [GET_RSS_TABLE, entries];
    }
    exchange(driver, &mut words).map_err(of_rss)?;
    Ok(words.split_off(2))
}

/// Sets the RSS table; an empty one asks the kernel for its own, which uses all RX rings.
///
/// # Errors
/// The driver's reason.
pub fn set_rss_table(driver: &mut impl Ethtool, table: &[u32]) -> Result<(), Error> {
    let mut words = vec![SET_RSS_TABLE, table.len() as u32];
    words.extend(table);
    exchange(driver, &mut words).map_err(of_rss)
}

#[cfg(test)]
pub(crate) mod fake {
    use super::*;

    /// A driver in memory, with the structures of the kernel.
    #[derive(Debug, Default, Clone)]
    pub(crate) struct Fake {
        pub(crate) channels: Option<[u32; 9]>,
        pub(crate) rings: Option<[u32; 9]>,
        pub(crate) table: Option<Vec<u32>>,
        /// As ice keeps it.
        pub(crate) coalesce: Option<[u32; 23]>,
        /// Requests that are refused.
        pub(crate) refuses: Vec<u32>,
    }

    fn copy(bytes: &mut [u8], words: &[u32]) {
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
    }

    impl Fake {
        fn rx(&self) -> u32 {
            self.channels.map_or(1, |words| words[5] + words[8])
        }
    }

    impl Ethtool for Fake {
        fn ask(&mut self, bytes: &mut [u8]) -> io::Result<()> {
            let words: Vec<u32> =
                bytes.as_chunks().0.iter().map(|bytes| u32::from_ne_bytes(*bytes)).collect();
            let unsupported = || io::Error::from_raw_os_error(95);
            if self.refuses.contains(&words[0]) {
                return Err(io::Error::from_raw_os_error(16));
            }
            match words[0] {
                GET_DRIVER => {
                    bytes[4..9].copy_from_slice(b"fake1");
                    bytes[100..112].copy_from_slice(b"0000:01:00.0");
                }
                GET_CHANNELS => copy(bytes, &self.channels.ok_or_else(unsupported)?),
                GET_RINGS => copy(bytes, &self.rings.ok_or_else(unsupported)?),
                SET_CHANNELS | SET_RINGS => {
                    let place = if words[0] == SET_CHANNELS { &mut self.channels } else { &mut self.rings };
                    let place = place.as_mut().ok_or_else(unsupported)?;
                    place[5..].copy_from_slice(&words[5..9]);
                    let rx = self.rx();
                    if let Some(table) = self.table.as_mut().filter(|_| words[0] == SET_CHANNELS) {
                        (0..).zip(table).for_each(|(at, entry)| *entry = at % rx);
                    }
                }
                GET_COALESCE => copy(bytes, &self.coalesce.ok_or_else(unsupported)?),
                SET_COALESCE => {
                    let place = self.coalesce.as_mut().ok_or_else(unsupported)?;
                    if words[10] != 0 && words[1] != place[1] {
                        return Err(io::Error::from_raw_os_error(22));
                    }
                    place[1..].copy_from_slice(&words[1..]);
                }
                GET_RX_RINGS => bytes[8..16].copy_from_slice(&u64::from(self.rx()).to_ne_bytes()),
                GET_RSS_TABLE => {
                    let table = self.table.as_ref().ok_or_else(unsupported)?;
                    let mut answer = vec![words[0], table.len() as u32];
                    answer.extend(table);
                    copy(bytes, &answer);
                }
                SET_RSS_TABLE => {
                    let rx = self.rx();
                    let table = self.table.as_mut().ok_or_else(unsupported)?;
                    match words.get(2..) {
                        Some([]) | None => {
                            (0..).zip(table).for_each(|(at, entry)| *entry = at % rx);
                        }
                        Some(new) => table.copy_from_slice(new),
                    }
                }
                _ => return Err(unsupported()),
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fake::Fake;
    use super::*;

    #[test]
    fn groups_are_read_by_name_and_changed_field_by_field() {
        let mut driver = Fake { rings: Some([0, 4096, 0, 0, 2048, 256, 7, 8, 512]), ..Fake::default() };
        let fields = |pairs: &[(&str, u32)]| -> Fields {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
        };
        assert_eq!(RINGS.read(&mut driver).unwrap(), fields(&[("rx", 256), ("tx", 512)]));
        assert_eq!(RINGS.limits(&mut driver).unwrap(), fields(&[("rx", 4096), ("tx", 2048)]));
        RINGS.write(&mut driver, &fields(&[("tx", 1024)])).unwrap();
        assert_eq!(driver.rings, Some([0, 4096, 0, 0, 2048, 256, 7, 8, 1024]), "the others stay");
        let error = CHANNELS.read(&mut driver).unwrap_err().to_string();
        assert!(error.starts_with("the driver refuses channels (ethtool -L): "), "{error}");
    }

    #[test]
    fn the_rss_table_is_read_written_and_reset() {
        let mut driver =
            Fake { channels: Some([0, 0, 0, 0, 8, 0, 0, 0, 4]), table: Some(vec![0; 8]), ..Fake::default() };
        assert_eq!(rx_rings(&mut driver).unwrap(), 4);
        assert_eq!(rss_table(&mut driver).unwrap(), [0; 8]);
        set_rss_table(&mut driver, &[1, 0, 1, 0, 1, 0, 1, 0]).unwrap();
        assert_eq!(rss_table(&mut driver).unwrap(), [1, 0, 1, 0, 1, 0, 1, 0]);
        set_rss_table(&mut driver, &[]).unwrap();
        assert_eq!(rss_table(&mut driver).unwrap(), [0, 1, 2, 3, 0, 1, 2, 3]);
        assert!(rss_table(&mut Fake::default()).is_err());
        let info = DriverInfo::read(&mut driver).unwrap();
        assert_eq!((info.name.as_str(), info.firmware), ("fake1", None));
        assert_eq!(info.bus_address.as_deref(), Some("0000:01:00.0"));
    }
}
