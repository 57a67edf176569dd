//! Text form of files whose bytes depend on the writing libraries: NumPy's archives, workbooks, Parquet
//! tables, backups.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::printer::print_schema;
use zip::ZipArchive;

/// The content of an exported file as text.
pub(crate) fn text(path: &Path) -> String {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("npz") => members(path).into_iter().map(|(name, bytes)| array(&name, &bytes)).collect(),
        Some("xlsx") => {
            // One element a line, which makes differences visible.
            let lines = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace("><", ">\n<");
            members(path).into_iter().map(|(name, bytes)| format!("--- {name}\n{}\n", lines(bytes))).collect()
        }
        Some("parquet") => table(path),
        Some("gz") => listing(path),
        _ => std::fs::read_to_string(path).unwrap(),
    }
}

/// The members of a zip archive, in order, without members of workbooks that only the library determines.
fn members(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut archive = ZipArchive::new(File::open(path).unwrap()).unwrap();
    let mut members = Vec::new();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).unwrap();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).unwrap();
        members.push((member.name().unwrap().into_owned(), bytes));
    }
    members.retain(|(name, _)| !name.starts_with("xl/theme/"));
    members
}

/// A NumPy array: its description and its values.
fn array(name: &str, bytes: &[u8]) -> String {
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00", "{name}: format 1.0, which every numpy reads");
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let (header, data) = bytes[10..].split_at(length);
    let header = std::str::from_utf8(header).unwrap().trim();
    assert!(header.contains("'<i8'"), "{name}: {header}");
    let values: Vec<String> =
        data.chunks_exact(8).map(|chunk| i64::from_le_bytes(chunk.try_into().unwrap()).to_string()).collect();
    format!("{name} {header} {}\n", values.join(" "))
}

/// The schema of a Parquet table and its rows.
fn table(path: &Path) -> String {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let mut schema = Vec::new();
    print_schema(&mut schema, reader.metadata().file_metadata().schema());
    let rows = reader.get_row_iter(None).unwrap().map(|row| format!("{}\n", row.unwrap()));
    String::from_utf8(schema).unwrap() + &rows.collect::<String>()
}

/// The files in a compressed archive, with their lengths.
fn listing(path: &Path) -> String {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(File::open(path).unwrap()));
    let line = |entry: tar::Entry<'_, _>| format!("{} {}\n", entry.path().unwrap().display(), entry.size());
    archive.entries().unwrap().map(|entry| line(entry.unwrap())).collect()
}
