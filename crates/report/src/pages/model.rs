//! Model of a report, independent of the format: sections of blocks. Elements create blocks, renderers format
//! them.

use super::chart::Chart;
use super::heat_map::HeatMap;

/// A report of one experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Heading.
    pub title: String,
    /// Facts on the experiment.
    pub facts: Vec<Fact>,
    /// Its sections, verdicts first.
    pub sections: Vec<Section>,
}

/// A section of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// Short name, unique in the report; the target of links.
    pub id: &'static str,
    /// Heading.
    pub title: &'static str,
    /// Its content.
    pub blocks: Vec<Block>,
}

/// A part of a section.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// A paragraph.
    Text(String),
    /// Findings, each with a badge.
    Findings(Vec<Finding>),
    /// Names and values.
    Facts(Vec<Fact>),
    /// Pairs of agents and the links between them.
    Links(Vec<Link>),
    /// Rows and columns.
    Table(Table),
    /// Charts that belong together.
    Charts(Vec<Chart>),
    /// Heat maps that belong together.
    Maps(Vec<HeatMap>),
    /// Blocks of one trial, under a heading.
    Group(Group),
}

/// Judgement of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// Good.
    Good,
    /// Worth a look.
    Warning,
    /// A problem.
    Bad,
    /// No judgement.
    #[default]
    Neutral,
}

/// A finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Its judgement.
    pub tone: Tone,
    /// The verdict in one or two words.
    pub badge: String,
    /// The trial or other subject.
    pub subject: String,
    /// The numbers that support it.
    pub evidence: String,
}

/// A name and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

impl Fact {
    /// A fact.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// A pair: sender, link, receiver.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Name of the pair.
    pub pair: String,
    /// The sender.
    pub from: End,
    /// The receiver.
    pub to: End,
    /// Speed of the link, as text.
    pub speed: String,
}

/// One end of a pair.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct End {
    /// The agent.
    pub name: String,
    /// Facts on it: node, device, MAC, lcores.
    pub facts: Vec<Fact>,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// Description of the content, also for screen readers.
    pub caption: String,
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, each with a cell per column.
    pub rows: Vec<Row>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Key of its values: the field of the summary if there is one.
    pub key: String,
    /// Heading, with the unit.
    pub title: String,
    /// True for numbers, which are aligned right.
    pub numeric: bool,
}

impl Column {
    /// A column of text.
    pub fn words(key: impl Into<String>, title: impl Into<String>) -> Self {
        Self { key: key.into(), title: title.into(), numeric: false }
    }

    /// A column of numbers.
    pub fn numbers(key: impl Into<String>, title: impl Into<String>) -> Self {
        Self { numeric: true, ..Self::words(key, title) }
    }
}

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    /// Key of the row: for a trial, the path of its record.
    pub key: String,
    /// A cell per column.
    pub cells: Vec<Cell>,
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cell {
    /// Text.
    pub text: String,
    /// Judgement.
    pub tone: Tone,
    /// Position between the worst value, 0, and the best, 1; for heat maps.
    pub heat: Option<f64>,
}

impl Cell {
    /// A cell with a tone.
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone, heat: None }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Neutral)
    }
}

/// Blocks of one trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Heading.
    pub title: String,
    /// The verdict in one or two words.
    pub badge: String,
    /// Its judgement.
    pub tone: Tone,
    /// True when it is shown open.
    pub open: bool,
    /// Its content.
    pub blocks: Vec<Block>,
}
