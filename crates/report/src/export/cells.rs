//! Tables of comma-separated values. Cells may have words from outside: names that foreign servers give, reasons that hosts state.

use std::borrow::Cow;

/// A table that grows row by row, in memory.
pub(super) struct Table(csv::Writer<Vec<u8>>);

impl Table {
    /// An empty table.
    pub(super) fn new() -> Self {
        Self(csv::Writer::from_writer(Vec::new()))
    }

    /// Adds a row. No text is a formula to a spreadsheet; numbers stay as they are.
    ///
    /// # Errors
    /// When it has another number of cells than the first row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) -> Result<(), csv::Error> {
        for cell in cells {
            self.0.write_field(inert(cell.as_ref()).as_bytes())?;
        }
        self.0.write_record(None::<&[u8]>)
    }

    /// The whole table.
    ///
    /// # Errors
    /// When it cannot be written, which does not happen in memory.
    pub(super) fn finish(self) -> Result<Vec<u8>, csv::Error> {
        self.0.into_inner().map_err(|error| csv::Error::from(error.into_error()))
    }
}

/// A cell that no spreadsheet takes for a formula.
fn inert(cell: &str) -> Cow<'_, str> {
    let is_number = || cell.parse::<f64>().is_ok();
    match cell.as_bytes().first() {
        Some(b'=' | b'+' | b'@' | b'\t' | b'\r') => format!("'{cell}").into(),
        Some(b'-') if !is_number() => format!("'{cell}").into(),
        _ => cell.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_formula_and_a_number_stays_one() {
        for (text, cell) in [
            ("=HYPERLINK(\"http://x\")", "'=HYPERLINK(\"http://x\")"),
            ("+1", "'+1"),
            ("-b0", "'-b0"),
            ("-1+2", "'-1+2"),
            ("-12.5", "-12.5"),
            ("@b0", "'@b0"),
            ("b0", "b0"),
            ("a=b", "a=b"),
            ("", ""),
        ] {
            assert_eq!(inert(text), cell);
        }
        let mut table = Table::new();
        table.row(["name", "ns"]).unwrap();
        table.row(["=1, 2", "-3"]).unwrap();
        assert_eq!(String::from_utf8(table.finish().unwrap()).unwrap(), "name,ns\n\"'=1, 2\",-3\n");
    }
}
