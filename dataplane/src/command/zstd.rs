//! Files compressed by zstd: any number of concatenated frames, skippable frames among them (RFC 8878, 3.1).

use std::io::{self, BufRead, ErrorKind, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// True when a file begins like one compressed by zstd: with a frame, or with a skippable frame.
pub(super) fn is_zstd(begins: &[u8]) -> bool {
    matches!(begins, [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// Unpacks a file, frame by frame. A file that ends within a frame is an error, and so is other data after a
/// frame.
pub(super) struct Unpacked<R> {
    file: Counted<R>,
    decoder: FrameDecoder,
    /// Number of the current frame, from 1; skippable frames count.
    frame: u64,
    within: bool,
}

impl<R: BufRead> Unpacked<R> {
    pub(super) fn new(file: R) -> Self {
        let file = Counted { file, bytes: 0, ended: false };
        Self { file, decoder: FrameDecoder::new(), frame: 0, within: false }
    }

    /// Advances to the next frame that is not skippable; false at the end of the file.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.file.file.fill_buf()?.is_empty() {
            self.frame += 1;
            match self.decoder.reset(&mut self.file) {
                Ok(()) => {
                    self.within = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let skipped = io::copy(&mut (&mut self.file).take(length.into()), &mut io::sink())?;
                    if skipped < u64::from(length) {
                        return Err(self.truncated());
                    }
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::BadMagicNumber(_))) => {
                    return Err(io::Error::new(
                        ErrorKind::InvalidData,
                        format!(
                            "what follows its zstd frame {} at byte {} is no zstd frame; copy the file again, or unpack it with `zstd -d`",
                            self.frame - 1,
                            self.file.bytes - 4
                        ),
                    ));
                }
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Ok(false)
    }

    /// Verifies the checksum at the end of a frame, if there is one.
    fn end_frame(&mut self) -> io::Result<()> {
        self.within = false;
        let (stated, found) = (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum());
        if stated.is_some() && stated != found {
            let problem = format!(
                "its zstd frame {} is damaged: its checksum is wrong; copy the file again",
                self.frame
            );
            return Err(io::Error::new(ErrorKind::InvalidData, problem));
        }
        Ok(())
    }

    fn truncated(&self) -> io::Error {
        // Not `UnexpectedEof`: the unpacked part of a truncated file must not pass for the whole.
        let problem = format!(
            "truncated: it ends at byte {}, within its zstd frame {}; copy or record it again",
            self.file.bytes, self.frame
        );
        io::Error::new(ErrorKind::InvalidData, problem)
    }

    fn failed(&self, error: &FrameDecoderError) -> io::Error {
        if self.file.ended {
            return self.truncated();
        }
        let problem =
            format!("its zstd frame {} cannot be read: {error}; unpack it with `zstd -d`", self.frame);
        io::Error::new(ErrorKind::InvalidData, problem)
    }
}

impl<R: BufRead> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.within && !self.next_frame()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let decoded =
                    self.decoder.decode_blocks(&mut self.file, BlockDecodingStrategy::UptoBlocks(1));
                decoded.map_err(|error| self.failed(&error))?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            self.end_frame()?;
        }
    }
}

/// A reader that counts the bytes read, and records reads beyond the end of the file.
struct Counted<R> {
    file: R,
    bytes: u64,
    ended: bool,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.bytes += count as u64;
        self.ended |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    fn skippable(kind: u8, bytes: &[u8]) -> Vec<u8> {
        [&[kind, 0x2a, 0x4d, 0x18], &(bytes.len() as u32).to_le_bytes()[..], bytes].concat()
    }

    fn unpacked(file: &[u8]) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        Unpacked::new(file).read_to_end(&mut bytes).map_err(|error| {
            assert_ne!(error.kind(), ErrorKind::UnexpectedEof);
            error.to_string()
        })?;
        Ok(bytes)
    }

    #[test]
    fn all_frames_are_read_and_those_to_be_skipped_are_skipped() {
        let (a, b) = ((0..=255).cycle().take(300_000).collect::<Vec<u8>>(), b"the second".to_vec());
        let both = [a.clone(), b.clone()].concat();
        let files = [
            (packed(&a), &a),
            ([packed(&a), packed(&b)].concat(), &both),
            (
                [packed(&a), packed(&[]), skippable(0x5f, &[7; 9]), packed(&b), skippable(0x50, &[])]
                    .concat(),
                &both,
            ),
            ([skippable(0x53, b"index"), packed(&a), packed(&b)].concat(), &both),
        ];
        for (number, (file, whole)) in files.iter().enumerate() {
            assert!(is_zstd(file), "{number}");
            assert!(unpacked(file).as_ref() == Ok(*whole), "{number}");
        }
        assert!(!is_zstd(&[0x60, 0x2a, 0x4d, 0x18]) && !is_zstd(&[0x28, 0xb5]));
    }

    #[test]
    fn a_truncated_or_damaged_file_is_refused_by_name() {
        let (a, b) = (packed(&[1; 1000]), packed(b"the second"));
        let file = [a.clone(), skippable(0x50, &[7; 9]), b].concat();
        let skips_at = a.len();
        let reads_at = a.len() + 17;
        for length in 1..file.len() {
            let outcome = unpacked(&file[..length]);
            if length == skips_at || length == reads_at {
                assert_eq!(outcome, Ok(vec![1; 1000]), "whole frames only");
                continue;
            }
            let frame = 1 + u8::from(length > skips_at) + u8::from(length > reads_at);
            let message = format!("truncated: it ends at byte {length}, within its zstd frame {frame};");
            assert!(outcome.as_ref().is_err_and(|error| error.contains(&message)), "{length}: {outcome:?}");
        }
        let followed = unpacked(&[&a[..], b"something else"].concat()).unwrap_err();
        assert!(
            followed.contains(&format!("zstd frame 1 at byte {} is no zstd frame", a.len())),
            "{followed}"
        );
        let mut damaged = a.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(unpacked(&damaged).unwrap_err().contains("frame 1 is damaged: its checksum"));
    }
}
