//! Recorded traffic: pcap and pcapng files.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError};

use super::output::Failure;
use crate::core::recording::{Recorded, Recording};

/// Frames read at most: what does not fit is an error, not a silent cut.
const MOST_FRAMES: usize = 4_000_000;
/// Bytes of frames read at most: 1 GiB.
const MOST_BYTES: u64 = 1 << 30;
/// First bytes of a pcapng file: its section header block.
const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// Time stamps of pcapng count microseconds unless the interface says otherwise.
const DEFAULT_RESOLUTION: u8 = 6;

/// Reads a capture of Ethernet frames.
pub(super) fn read(path: &Path) -> Result<Recording, Failure> {
    let failed = |reason: String| Failure::failed(format!("{}: {reason}", path.display()));
    let mut file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut magic = [0; 4];
    file.read_exact(&mut magic).map_err(|_| failed("too short for a pcap or pcapng file".into()))?;
    file.seek(SeekFrom::Start(0)).map_err(|error| failed(error.to_string()))?;
    let reader = BufReader::new(file);
    let frames = if magic == PCAPNG_MAGIC { read_pcapng(reader) } else { read_pcap(reader) };
    let frames = frames.map_err(failed)?;
    Recording::new(frames).map_err(|error| failed(error.to_string()))
}

/// Gathers frames within bounds.
#[derive(Default)]
struct Gathered {
    frames: Vec<Recorded>,
    bytes: u64,
}

impl Gathered {
    fn add(&mut self, at: Duration, data: &[u8], original_bytes: u32) -> Result<(), String> {
        let number = self.frames.len() + 1;
        if (data.len() as u64) < u64::from(original_bytes) {
            return Err(format!(
                "frame {number} was cut to {} of {original_bytes} bytes when it was recorded; record with the full length (tcpdump -s 0)",
                data.len()
            ));
        }
        self.bytes += data.len() as u64;
        if number > MOST_FRAMES || self.bytes > MOST_BYTES {
            return Err(format!(
                "more than {MOST_FRAMES} frames or {} MiB; cut it with editcap",
                MOST_BYTES >> 20
            ));
        }
        self.frames.push(Recorded { at, bytes: data.into() });
        Ok(())
    }
}

fn explain(error: &PcapError) -> String {
    format!("not a readable pcap or pcapng file: {error}")
}

fn ethernet(link: DataLink) -> Result<(), String> {
    if link == DataLink::ETHERNET { Ok(()) } else { Err(format!("link type {link:?} is not Ethernet")) }
}

fn read_pcap(reader: impl Read) -> Result<Vec<Recorded>, String> {
    let mut reader = PcapReader::new(reader).map_err(|error| explain(&error))?;
    ethernet(reader.header().datalink)?;
    let mut gathered = Gathered::default();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.map_err(|error| explain(&error))?;
        gathered.add(packet.timestamp, &packet.data, packet.orig_len)?;
    }
    Ok(gathered.frames)
}

fn read_pcapng(reader: impl Read) -> Result<Vec<Recorded>, String> {
    let mut reader = PcapNgReader::new(reader).map_err(|error| explain(&error))?;
    let mut gathered = Gathered::default();
    // Resolution of each interface's time stamps.
    let mut resolutions: Vec<u8> = Vec::new();
    while let Some(block) = reader.next_block() {
        match block.map_err(|error| explain(&error))? {
            Block::SectionHeader(_) => resolutions.clear(),
            Block::InterfaceDescription(interface) => {
                ethernet(interface.linktype)?;
                let resolution = interface.options.iter().find_map(|option| match option {
                    InterfaceDescriptionOption::IfTsResol(resolution) => Some(*resolution),
                    _ => None,
                });
                resolutions.push(resolution.unwrap_or(DEFAULT_RESOLUTION));
            }
            Block::EnhancedPacket(packet) => {
                let resolution = resolutions.get(packet.interface_id as usize).copied();
                // The reader takes every unit for a nanosecond.
                let units = packet.timestamp.as_nanos() as u64;
                let at = time_stamp(units, resolution.unwrap_or(DEFAULT_RESOLUTION));
                gathered.add(at, &packet.data, packet.original_len)?;
            }
            Block::SimplePacket(_) | Block::Packet(_) => {
                return Err(
                    "frames without a time stamp or of an obsolete form; convert it with editcap".into()
                );
            }
            _ => {}
        }
    }
    Ok(gathered.frames)
}

/// Units of 10⁻ʳ s, or of 2⁻ʳ s when the highest bit of the resolution is set.
fn time_stamp(units: u64, resolution: u8) -> Duration {
    let exponent = u32::from(resolution & 0x7f);
    let per_second =
        if resolution & 0x80 == 0 { 10u128.checked_pow(exponent) } else { 2u128.checked_pow(exponent) };
    let nanos = per_second.map_or(0, |per_second| u128::from(units) * 1_000_000_000 / per_second);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
