//! Authorities of servers behind `https` URLs, from a file of the user's.

use std::fs::File;
use std::io::Read;

/// Most bytes of a file of authorities.
const MOST_BYTES: u64 = 512 * 1024;
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The certificates in a PEM file, and nothing else of it: a key beside them stays on this host.
///
/// # Errors
/// Why the file cannot be used.
pub(super) fn read(path: &str) -> Result<String, String> {
    let unusable = |why: String| format!("spec.http.ca: {path}: {why}; name a PEM file of certificates");
    let failed = |error: std::io::Error| unusable(error.to_string());
    // Of a pipe or a device the end may never come.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(unusable("it is no regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(unusable(format!("it has more than {MOST_BYTES} bytes")));
    }
    let certificates = certificates(&String::from_utf8_lossy(&bytes));
    if certificates.is_empty() {
        return Err(unusable("there is no certificate in it (BEGIN CERTIFICATE)".to_owned()));
    }
    Ok(certificates)
}

/// The sections of a PEM text that are certificates, and whole.
fn certificates(text: &str) -> String {
    let (mut kept, mut section) = (String::new(), None::<String>);
    for line in text.lines().map(str::trim) {
        if line.starts_with("-----BEGIN ") {
            section = (line == BEGIN).then(String::new);
        }
        let Some(lines) = &mut section else { continue };
        lines.push_str(line);
        lines.push('\n');
        if line == END {
            kept.push_str(lines);
            section = None;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tempfile::{NamedTempFile, tempdir};

    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nBBBB\n-----END PRIVATE KEY-----\n";

    fn file(text: &[u8]) -> Result<String, String> {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        read(file.path().to_str().unwrap())
    }

    #[test]
    fn certificates_alone_leave_the_host() {
        let cut = CERTIFICATE.replace("-----END CERTIFICATE-----\n", "");
        for (text, kept) in [
            (CERTIFICATE.to_owned(), CERTIFICATE.to_owned()),
            (format!("{KEY}Name: a\n{CERTIFICATE}"), CERTIFICATE.to_owned()),
            (format!("{CERTIFICATE}{KEY}{CERTIFICATE}"), CERTIFICATE.repeat(2)),
            (CERTIFICATE.replace('\n', "\r\n"), CERTIFICATE.to_owned()),
            // A key behind a certificate that has no end.
            (format!("{cut}{KEY}{CERTIFICATE}"), CERTIFICATE.to_owned()),
        ] {
            assert_eq!(file(text.as_bytes()), Ok(kept), "{text}");
        }
        assert_eq!(file(&[&b"\xe9\n"[..], CERTIFICATE.as_bytes()].concat()), Ok(CERTIFICATE.to_owned()));
    }

    #[test]
    fn other_files_are_refused() {
        let directory = tempdir().unwrap();
        for (problem, part) in [
            (file(b"").unwrap_err(), "no certificate"),
            (file(KEY.as_bytes()).unwrap_err(), "no certificate"),
            (file(&vec![b'\n'; MOST_BYTES as usize + 1]).unwrap_err(), "more than 524288 bytes"),
            (read("/dev/zero").unwrap_err(), "no regular file"),
            (read(directory.path().to_str().unwrap()).unwrap_err(), "no regular file"),
            (read("/nowhere/ca.pem").unwrap_err(), "No such file"),
        ] {
            assert!(problem.starts_with("spec.http.ca: ") && problem.contains(part), "{problem}");
        }
    }
}
