//! Heat maps, independent of the format: a value for each row and column, such as each sender and receiver.

/// Number of steps of a heat map, from the worst, 0, to the best.
pub const STEPS: usize = 6;

/// What rows and columns of a heat map are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sides {
    /// Heading of the rows' names.
    pub rows: &'static str,
    /// Heading of the columns' names.
    pub columns: &'static str,
    /// Both in a sentence, without its full stop.
    pub meaning: &'static str,
}

impl Sides {
    /// A row for each sender, a column for each receiver.
    pub const CONNECTIONS: Self = Self { rows: "from", columns: "to", meaning: "Rows send, columns receive" };
    /// A row for each load, a column for each CPU.
    pub const LOADS: Self =
        Self { rows: "load", columns: "CPU", meaning: "Rows are loads, columns are CPUs" };
    /// A row for each interrupt, a column for each CPU.
    pub const INTERRUPTS: Self =
        Self { rows: "interrupt", columns: "CPU", meaning: "Rows are interrupts, columns are CPUs" };
}

/// A heat map.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap {
    /// Its title, with the unit of the values.
    pub title: String,
    /// Summary in a sentence, also for screen readers.
    pub summary: String,
    /// What rows and columns are.
    pub sides: Sides,
    /// Names of the rows.
    pub rows: Vec<String>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// A cell for each row and column; `None` where there is none, such as no connection.
    pub cells: Vec<Vec<Option<Spot>>>,
    /// Meaning of each step that occurs.
    pub legend: Vec<(usize, String)>,
}

/// A value of a heat map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// The value, without unit.
    pub text: String,
    /// Its step; `None` when the value is not known.
    pub step: Option<usize>,
}

/// Neighbouring cells of a row with the same step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The row.
    pub(super) row: usize,
    /// The first column.
    pub(super) from: usize,
    /// The column after the last one.
    pub(super) to: usize,
    /// The step; `None` when the values are not known.
    pub(super) step: Option<usize>,
}

impl HeatMap {
    /// Runs of cells with the same step, by row. Empty cells belong to no run.
    pub(super) fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (row, cells) in self.cells.iter().enumerate() {
            for (column, cell) in cells.iter().enumerate() {
                let Some(Spot { step, .. }) = cell else { continue };
                match runs.last_mut() {
                    Some(run) if (run.row, run.to, run.step) == (row, column, *step) => run.to += 1,
                    _ => runs.push(Run { row, from: column, to: column + 1, step: *step }),
                }
            }
        }
        runs
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A map of three agents; the value from the first to the last is not known.
    pub(in super::super) fn map() -> HeatMap {
        let spot = |text: &str, step| Some(Spot { text: text.into(), step });
        HeatMap {
            title: "loss %, by <net0>".into(),
            summary: "0 to 10 %".into(),
            sides: Sides::CONNECTIONS,
            rows: vec!["a0".into(), "a1".into(), "a2".into()],
            columns: vec!["a0".into(), "a1".into(), "a2".into()],
            cells: vec![
                vec![None, spot("0", Some(5)), spot("?", None)],
                vec![spot("0", Some(5)), None, spot("0", Some(5))],
                vec![spot("10", Some(0)), spot("10", Some(0)), None],
            ],
            legend: vec![(0, "1 % and more".into()), (5, "0".into())],
        }
    }

    #[test]
    fn neighbours_of_a_step_are_one_run() {
        let runs = map().runs();
        assert_eq!(runs.len(), 5);
        assert_eq!(runs[4], Run { row: 2, from: 0, to: 2, step: Some(0) });
        assert_eq!(runs[1].step, None);
    }
}
