//! All samples of an experiment as one Parquet table: a row per sample, a column per key, null where an end
//! does not have the key. A row group holds one trial.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use super::search;
use super::series::{SeriesColumn, queue_key, receiver, transmitter};
use linerate_results::store::record::{Samples, TrialRecord};
use linerate_results::store::{Recorded, StoreError};

/// File name, in the experiment's directory.
pub(super) const FILE: &str = "samples.parquet";

const TEXT_COLUMNS: [&str; 3] = ["profile", "pair", "end"];
const REPEAT: &str = "repeat";

/// Why the table cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// A trial cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The table cannot be written.
    #[error("cannot write the table of samples: {0}")]
    Parquet(#[from] ParquetError),
}

/// The table of all samples of the trials that have a result.
///
/// # Errors
/// When a trial cannot be read.
pub(super) fn parquet(recorded: &Recorded) -> Result<Vec<u8>, TableError> {
    let keys = keys(recorded)?;
    let has_searches = search::has_searches(&recorded.summary);
    let mut writer = SerializedFileWriter::new(Vec::new(), schema(&keys, has_searches)?, Arc::default())?;
    for record in recorded.trials() {
        let mut group = writer.next_row_group()?;
        trial(&mut group, &record?, &keys, has_searches)?;
        group.close()?;
    }
    Ok(writer.into_inner()?)
}

/// Every key of either end, once. Apart from queues, an empty trial has the keys of all trials.
fn keys(recorded: &Recorded) -> Result<Vec<String>, StoreError> {
    let empty = TrialRecord::default();
    let mut keys = Vec::new();
    for column in transmitter(&empty).into_iter().chain(receiver(&empty)) {
        let key = column.name.into_owned();
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let mut queues = 0;
    for record in recorded.trials() {
        let Samples { tx, rx } = record?.samples;
        queues = tx.iter().chain(&rx).map(|sample| sample.queue_frames.len()).fold(queues, usize::max);
    }
    keys.extend((0..queues).filter(|_| queues > 1).map(queue_key));
    Ok(keys)
}

/// A column of text.
pub(super) fn text_field(name: &str, repetition: Repetition) -> Result<Type, ParquetError> {
    Type::primitive_type_builder(name, Physical::BYTE_ARRAY)
        .with_repetition(repetition)
        .with_logical_type(Some(LogicalType::String))
        .build()
}

/// A column of whole numbers.
pub(super) fn number_field(name: &str, repetition: Repetition) -> Result<Type, ParquetError> {
    Type::primitive_type_builder(name, Physical::INT64).with_repetition(repetition).build()
}

fn schema(keys: &[String], has_searches: bool) -> Result<Arc<Type>, ParquetError> {
    let (text, number) = (text_field, number_field);
    let texts = TEXT_COLUMNS.iter().map(|name| text(name, Repetition::REQUIRED));
    let mut fields = texts.collect::<Result<Vec<_>, _>>()?;
    fields.push(number(REPEAT, Repetition::REQUIRED)?);
    if has_searches {
        let [search, ordinal, purpose, load] = search::COLUMNS;
        fields.push(number(search, Repetition::OPTIONAL)?);
        fields.push(number(ordinal, Repetition::OPTIONAL)?);
        fields.push(text(purpose, Repetition::OPTIONAL)?);
        fields.push(number(load, Repetition::OPTIONAL)?);
    }
    for key in keys {
        fields.push(number(key, Repetition::OPTIONAL)?);
    }
    let fields = fields.into_iter().map(Arc::new).collect();
    Ok(Arc::new(Type::group_type_builder("samples").with_fields(fields).build()?))
}

/// One trial's rows: the transmitter's samples, then the receiver's.
fn trial(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    record: &TrialRecord,
    keys: &[String],
    has_searches: bool,
) -> Result<(), ParquetError> {
    let ends = [transmitter(record), receiver(record)].map(|columns| {
        let rows = columns.first().map_or(0, |column| column.values.len());
        (columns, rows)
    });
    let rows = ends[0].1 + ends[1].1;
    let pair = vec![record.pair.as_str(); rows];
    let profile = vec![record.profile.as_str(); rows];
    let mut end = vec!["tx"; ends[0].1];
    end.resize(rows, "rx");
    for words in [profile, pair, end] {
        texts(group, &words.into_iter().map(ByteArray::from).collect::<Vec<_>>())?;
    }
    number(group, &vec![i64::from(record.repeat); rows], None)?;
    if has_searches {
        place(group, record, rows)?;
    }
    for key in keys {
        let (mut values, mut defined) = (Vec::new(), Vec::new());
        for (columns, rows) in &ends {
            let known: Option<&SeriesColumn> = columns.iter().find(|column| column.name == *key);
            values.extend(known.map(|column| &column.values[..]).unwrap_or_default());
            defined.extend(std::iter::repeat_n(i16::from(known.is_some()), *rows));
        }
        number(group, &values, Some(&defined))?;
    }
    Ok(())
}

/// The trial's place in its search, the same in every row; null where it is not of a search.
fn place(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    record: &TrialRecord,
    rows: usize,
) -> Result<(), ParquetError> {
    let place = record.result.as_ref().and_then(search::Place::of);
    let defined = |is_known: bool| vec![i16::from(is_known); rows];
    let same = |group: &mut SerializedRowGroupWriter<'_, Vec<u8>>, value: Option<i64>| {
        let values = value.map_or_else(Vec::new, |value| vec![value; rows]);
        number(group, &values, Some(&defined(value.is_some())))
    };
    same(group, place.map(|place| place.number.into()))?;
    same(group, place.map(|place| place.ordinal.into()))?;
    if let Some(mut column) = group.next_column()? {
        let texts = place.map_or_else(Vec::new, |place| vec![ByteArray::from(place.purpose); rows]);
        column.typed::<ByteArrayType>().write_batch(&texts, Some(&defined(place.is_some())), None)?;
        column.close()?;
    }
    same(group, place.and_then(|place| i64::try_from(place.load_pps?).ok()))
}

/// Writes the next column, of texts.
pub(super) fn texts(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    texts: &[ByteArray],
) -> Result<(), ParquetError> {
    if let Some(mut column) = group.next_column()? {
        column.typed::<ByteArrayType>().write_batch(texts, None, None)?;
        column.close()?;
    }
    Ok(())
}

/// Writes the next column, of whole numbers; `defined` has 0 for each row without one.
pub(super) fn number(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &[i64],
    defined: Option<&[i16]>,
) -> Result<(), ParquetError> {
    if let Some(mut column) = group.next_column()? {
        column.typed::<Int64Type>().write_batch(values, defined, None)?;
        column.close()?;
    }
    Ok(())
}
