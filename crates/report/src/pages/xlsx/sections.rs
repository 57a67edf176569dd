//! Sheets with the tables of a report's sections.

use rust_xlsxwriter::{Format, Workbook, Worksheet, XlsxError};

use crate::pages::heat_map::HeatMap;
use crate::pages::model::{Block, Cell, Column, Finding, Report, Row, Section, Table};

/// Sections without a sheet: their figures are on the sheets of trials, are charts, or belong to one trial.
const LEFT_OUT: [&str; 6] = ["verdicts", "trials", "throughput", "loss", "delay", "closely"];
/// Smallest and largest width of columns, in characters.
const WIDTHS: (usize, usize) = (8, 60);

/// Adds a sheet for every other section.
///
/// # Errors
/// When a text is too long for a cell.
pub(super) fn add(workbook: &mut Workbook, report: &Report) -> Result<(), XlsxError> {
    for section in report.sections.iter().filter(|section| !LEFT_OUT.contains(&section.id)) {
        Sheet::new(workbook.add_worksheet(), section)?.write(section)?;
    }
    Ok(())
}

struct Sheet<'w> {
    sheet: &'w mut Worksheet,
    bold: Format,
    row: u32,
    widths: Vec<usize>,
}

impl<'w> Sheet<'w> {
    fn new(sheet: &'w mut Worksheet, section: &Section) -> Result<Self, XlsxError> {
        sheet.set_name(section.title)?;
        Ok(Self { sheet, bold: Format::new().set_bold(), row: 0, widths: Vec::new() })
    }

    fn write(mut self, section: &Section) -> Result<(), XlsxError> {
        for block in &section.blocks {
            self.block(block)?;
        }
        for (column, width) in (0..).zip(&self.widths) {
            self.sheet.set_column_width(column, (*width).clamp(WIDTHS.0, WIDTHS.1) as f64)?;
        }
        Ok(())
    }

    fn block(&mut self, block: &Block) -> Result<(), XlsxError> {
        match block {
            Block::Text(text) => {
                self.sheet.write(self.row, 0, text)?;
                self.row += 1;
            }
            Block::Findings(all) => {
                for Finding { badge, subject, evidence, .. } in all {
                    self.words(&[subject, badge, evidence])?;
                }
            }
            Block::Facts(all) => {
                for fact in all {
                    self.words(&[&fact.name, &fact.value])?;
                }
            }
            Block::Links(all) => {
                for link in all {
                    for end in [&link.from, &link.to] {
                        for fact in &end.facts {
                            self.words(&[&link.pair, &end.name, &fact.name, &fact.value])?;
                        }
                    }
                    self.words(&[&link.pair, "", "link", &link.speed])?;
                }
            }
            Block::Table(table) => self.table(table)?,
            Block::Group(group) => {
                for block in &group.blocks {
                    self.block(block)?;
                }
                return Ok(());
            }
            Block::Maps(all) => {
                for map in all {
                    self.map(map)?;
                }
            }
            Block::Charts(_) => return Ok(()),
        }
        self.row += 1;
        Ok(())
    }

    fn words(&mut self, words: &[&str]) -> Result<(), XlsxError> {
        for (column, word) in (0..).zip(words) {
            self.sheet.write(self.row, column, *word)?;
            self.widen(column, word);
        }
        self.row += 1;
        Ok(())
    }

    fn table(&mut self, table: &Table) -> Result<(), XlsxError> {
        self.sheet.write_with_format(self.row, 0, &table.caption, &self.bold)?;
        self.row += 1;
        for (column, Column { title, .. }) in (0..).zip(&table.columns) {
            self.sheet.write_with_format(self.row, column, title, &self.bold)?;
            self.widen(column, title);
        }
        self.row += 1;
        for row in &table.rows {
            for (column, (of, cell)) in (0..).zip(table.columns.iter().zip(&row.cells)) {
                match number(of, cell) {
                    Some(value) => self.sheet.write(self.row, column, value)?,
                    None => self.sheet.write(self.row, column, &cell.text)?,
                };
                self.widen(column, &cell.text);
            }
            self.row += 1;
        }
        Ok(())
    }

    fn map(&mut self, map: &HeatMap) -> Result<(), XlsxError> {
        let columns = map.columns.iter().map(|name| Column::numbers(name, name));
        let columns = std::iter::once(Column::words("row", map.sides.rows)).chain(columns).collect();
        let rows = map.rows.iter().zip(&map.cells).map(|(name, cells)| {
            let texts = cells.iter().map(|cell| cell.as_ref().map_or("", |spot| spot.text.as_str()));
            Row {
                key: name.clone(),
                cells: std::iter::once(name.as_str()).chain(texts).map(Cell::from).collect(),
            }
        });
        self.table(&Table { caption: map.title.clone(), columns, rows: rows.collect() })?;
        self.row += 1;
        Ok(())
    }

    fn widen(&mut self, column: u16, text: &str) {
        let column = usize::from(column);
        self.widths.resize(self.widths.len().max(column + 1), 0);
        self.widths[column] = self.widths[column].max(text.chars().count() + 1);
    }
}

/// A cell of a numeric column as a number.
fn number(column: &Column, cell: &Cell) -> Option<f64> {
    if column.numeric { cell.text.replace(',', "").parse().ok() } else { None }
}
