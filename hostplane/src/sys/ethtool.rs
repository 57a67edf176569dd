//! The way to an interface's driver (`SIOCETHTOOL`): its statistics (`ethtool -S`) and settings. Reading needs no
//! privilege, writing does (`CAP_NET_ADMIN`).

use std::ffi::c_char;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::{self, NonNull};

use linerate_observe::queues::DriverStatistics;
use linerate_tune::ethtool::Ethtool;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const GET_DRIVER_INFO: u32 = 0x3;
const GET_STRINGS: u32 = 0x1b;
const GET_STATISTICS: u32 = 0x1d;
const GET_SET_INFO: u32 = 0x37;
/// The set of strings that are names of statistics.
const STATISTICS: u32 = 1;
/// Bytes of a name, with a zero at its end if it is shorter.
const NAME_BYTES: usize = 32;
/// Place and length of the bus address in `struct ethtool_drvinfo`, behind the command and three names.
const BUS_ADDRESS: std::ops::Range<usize> = 100..132;
/// Bytes that an answer may have: some 32,000 names.
const ROOM_BYTES: usize = 1 << 20;
/// At least a page on every machine.
const GUARD_BYTES: usize = 64 << 10;

/// Memory for an answer, with a guard behind it.
///
/// The kernel writes as many values as the driver has at that moment, whatever room the caller declared: the
/// guard turns what does not fit into the error `EFAULT`.
#[derive(Debug)]
struct Room(NonNull<u8>);

impl Room {
    fn new() -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no memory of others.
        let base =
            unsafe { libc::mmap(ptr::null_mut(), ROOM_BYTES + GUARD_BYTES, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let room = Self(NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?);
        // SAFETY: the range is the first part of the mapping just made, which `room` owns.
        let result = unsafe { libc::mprotect(base, ROOM_BYTES, libc::PROT_READ | libc::PROT_WRITE) };
        if result == 0 { Ok(room) } else { Err(io::Error::last_os_error()) }
    }

    /// The memory before the guard.
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: `new` made this range readable and writable and zero; it lives as long as `self`, which is
        // borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr(), ROOM_BYTES) }
    }

    fn put(&mut self, at: usize, value: u32) {
        if let Some(place) = self.bytes().get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
    }

    fn number(&mut self, at: usize) -> usize {
        let four = self.bytes().get(at..).and_then(|bytes| bytes.first_chunk());
        four.map_or(0, |bytes| u32::from_ne_bytes(*bytes) as usize)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: the range is the whole mapping of `new`, is unmapped once, and no reference to it is left.
        unsafe { libc::munmap(self.0.as_ptr().cast(), ROOM_BYTES + GUARD_BYTES) };
    }
}

/// The text of a field that ends with a zero if it is shorter.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

/// The driver of an interface.
#[derive(Debug)]
pub(crate) struct Driver {
    socket: OwnedFd,
    interface: [c_char; libc::IFNAMSIZ],
    room: Room,
}

impl Driver {
    /// The driver of an interface.
    pub(crate) fn open(interface: &str) -> io::Result<Self> {
        let mut name = [0; libc::IFNAMSIZ];
        if interface.len() >= name.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (place, byte) in name.iter_mut().zip(interface.bytes()) {
            *place = byte.cast_signed() as c_char;
        }
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket, interface: name, room: Room::new()? })
    }

    /// Makes the request that stands in the room; the answer replaces it.
    fn ask(&mut self) -> io::Result<()> {
        let mut request = libc::ifreq {
            ifr_name: self.interface,
            ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: self.room.0.as_ptr().cast() },
        };
        // SAFETY: the kernel reads the interface's name from `request`, and reads and writes the memory that it
        // points to, which is the room: `&mut self` keeps others away, and what does not fit meets the guard.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Address of the interface's device on its bus, such as `0000:3b:00.0`; `None` for an interface without a
    /// device. It is that of this network namespace's interface, whatever namespace `/sys` belongs to.
    pub(crate) fn bus_address(&mut self) -> Option<String> {
        self.room.bytes().get_mut(..BUS_ADDRESS.end)?.fill(0);
        self.room.put(0, GET_DRIVER_INFO);
        self.ask().ok()?;
        let address = text(self.room.bytes().get(BUS_ADDRESS)?);
        (!address.is_empty()).then_some(address)
    }

    /// Number of the driver's statistics (`struct ethtool_sset_info`).
    fn count(&mut self) -> io::Result<u32> {
        self.room.put(0, GET_SET_INFO);
        self.room.put(4, 0);
        let mask = 1u64 << STATISTICS;
        if let Some(place) = self.room.bytes().get_mut(8..16) {
            place.copy_from_slice(&mask.to_ne_bytes());
        }
        self.ask()?;
        // A driver without statistics clears the bit.
        let has =
            self.room.bytes().get(8..).and_then(|bytes| bytes.first_chunk().copied()).map(u64::from_ne_bytes);
        if has.is_none_or(|has| has & mask == 0) {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        }
        Ok(self.room.number(16) as u32)
    }
}

impl DriverStatistics for Driver {
    fn names(&mut self) -> io::Result<Vec<String>> {
        let count = self.count()?;
        self.room.put(0, GET_STRINGS);
        self.room.put(4, STATISTICS);
        self.room.put(8, count);
        self.ask()?;
        let count = self.room.number(8);
        let names = self.room.bytes().get(12..).unwrap_or_default().chunks_exact(NAME_BYTES).take(count);
        Ok(names.map(text).collect())
    }

    fn values(&mut self, values: &mut Vec<u64>) -> io::Result<()> {
        let count = self.count()?;
        self.room.put(0, GET_STATISTICS);
        self.room.put(4, count);
        self.ask()?;
        let count = self.room.number(4);
        values.clear();
        let numbers = self.room.bytes().get(8..).unwrap_or_default().as_chunks().0.iter();
        values.extend(numbers.take(count).map(|bytes| u64::from_ne_bytes(*bytes)));
        Ok(())
    }
}

impl Ethtool for Driver {
    fn ask(&mut self, request: &mut [u8]) -> io::Result<()> {
        let room = self.room.bytes().get_mut(..request.len()).ok_or(io::ErrorKind::InvalidInput)?;
        room.copy_from_slice(request);
        Driver::ask(self)?;
        request.copy_from_slice(self.room.bytes().get(..request.len()).unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_without_statistics_or_without_existence_is_an_error() {
        let mut values = vec![7];
        assert!(Driver::open("nothere0").unwrap().values(&mut values).is_err());
        assert!(Driver::open("a-name-that-is-too-long").is_err());
        assert_eq!(Driver::open("nothere0").unwrap().bus_address(), None);
        assert_eq!(Driver::open("lo").unwrap().bus_address(), None);
        // Loopback has no statistics of its own, or few.
        if let Ok(names) = Driver::open("lo").unwrap().names() {
            Driver::open("lo").unwrap().values(&mut values).unwrap();
            assert_eq!(names.len(), values.len());
        }
    }

    #[test]
    fn the_bus_address_is_that_of_the_interfaces_device() {
        for interface in std::fs::read_dir("/sys/class/net").unwrap() {
            let path = interface.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let Some(address) = Driver::open(&name).unwrap().bus_address() else { continue };
            let device = std::path::Path::new("/sys/bus/pci/devices").join(&address);
            if let Ok(device) = device.canonicalize() {
                let interface = path.canonicalize().unwrap();
                assert!(interface.starts_with(&device), "{name}: {interface:?} below {device:?}");
            }
        }
    }

    #[test]
    fn names_and_values_are_as_many() {
        for interface in std::fs::read_dir("/sys/class/net").unwrap() {
            let name = interface.unwrap().file_name().into_string().unwrap();
            let mut driver = Driver::open(&name).unwrap();
            let mut values = Vec::new();
            if let Ok(names) = driver.names() {
                driver.values(&mut values).unwrap();
                assert_eq!(names.len(), values.len(), "{name}");
                assert!(names.iter().all(|name| !name.is_empty()), "{name}: {names:?}");
            }
        }
    }
}
