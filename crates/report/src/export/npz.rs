//! Samples for NumPy: one file per end, one 1-D array of 64-bit integers per key.

use std::io::{self, Cursor, Write};

use npyz::WriterBuilder;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::series::SeriesColumn;

/// The columns as an npz file.
///
/// # Errors
/// When the archive cannot be written, which does not happen in memory.
pub(super) fn npz(columns: &[SeriesColumn]) -> io::Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    // Without a date, so that repeated exports are identical.
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for SeriesColumn { name, values, .. } in columns {
        archive.start_file(format!("{name}.npy"), options)?;
        archive.write_all(&npy(values)?)?;
    }
    Ok(archive.finish()?.into_inner())
}

fn npy(values: &[i64]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(&[values.len() as u64])
        .writer(&mut bytes)
        .begin_nd()?;
    writer.extend(values.iter().copied())?;
    writer.finish()?;
    Ok(bytes)
}
