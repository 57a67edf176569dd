//! What a report says, whatever the format: sections of blocks. Renderers know blocks; elements make them.

use super::chart::Chart;

/// A report of one experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Heading.
    pub title: String,
    /// What was run, and when.
    pub facts: Vec<Fact>,
    /// Its parts, verdicts first.
    pub sections: Vec<Section>,
}

/// A part of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// Short name, unique in the report: the target of links.
    pub id: &'static str,
    /// Heading.
    pub title: &'static str,
    /// What it says.
    pub blocks: Vec<Block>,
}

/// A piece of a section.
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
    /// Blocks of one trial, under a heading.
    Group(Group),
}

/// How something is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// As it should be.
    Good,
    /// To be looked at.
    Warning,
    /// Not as it should be.
    Bad,
    /// No judgement.
    #[default]
    Neutral,
}

/// Something that was found out.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// How it is to be taken.
    pub tone: Tone,
    /// The verdict in a word or two.
    pub badge: String,
    /// Of what.
    pub subject: String,
    /// The numbers it rests on.
    pub evidence: String,
}

/// A name and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// What it is.
    pub name: String,
    /// What it is here.
    pub value: String,
}

impl Fact {
    /// A fact.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// A pair: who sends, what lies between, who receives.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Name of the pair.
    pub pair: String,
    /// Who sends.
    pub from: End,
    /// Who receives.
    pub to: End,
    /// Speed of the link, in words.
    pub speed: String,
}

/// One end of a pair.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct End {
    /// The agent.
    pub name: String,
    /// What is known of it: node, device, MAC, lcores.
    pub facts: Vec<Fact>,
}

/// Rows and columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// What it shows, for those who cannot see it whole.
    pub caption: String,
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, each with a cell per column.
    pub rows: Vec<Row>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name of what it shows: the field of the summary where there is one.
    pub key: String,
    /// Heading, with the unit.
    pub title: String,
    /// True for numbers, which are aligned right.
    pub numeric: bool,
}

impl Column {
    /// A column of words.
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
    /// What the row is about: for a trial, the path of its record.
    pub key: String,
    /// A cell per column.
    pub cells: Vec<Cell>,
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cell {
    /// As it is shown.
    pub text: String,
    /// How it is to be taken.
    pub tone: Tone,
    /// Where it lies between the worst, 0, and the best, 1; for heat maps.
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
    /// The verdict in a word or two.
    pub badge: String,
    /// How it is to be taken.
    pub tone: Tone,
    /// True when it is to be seen at once.
    pub open: bool,
    /// What it says.
    pub blocks: Vec<Block>,
}
