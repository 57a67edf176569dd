//! All samples of an experiment of streams as one Parquet table: a row per connection, end and instant, null where an
//! end does not count. A row group holds one trial.

use std::sync::Arc;

use parquet::basic::Repetition;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use super::super::parquet::{TableError, number, number_field, text_field, texts};
use super::tables::{KEYS, Sampled, name, sampled};
use linerate_results::store::Recorded;
use linerate_results::streams::StreamsTrialRecord;

/// The table, where frames have the usual name.
pub(in super::super) const FILE_BESIDE_FRAMES: &str = "samples_of_streams.parquet";

const TEXT_COLUMNS: [&str; 4] = ["profile", "agent", "end", "connection"];
const NUMBER_COLUMNS: [&str; 3] = ["repeat", "number", "time_ns"];

/// The table of all samples of the trials that have a result.
///
/// # Errors
/// When a trial cannot be read.
pub(in super::super) fn parquet(recorded: &Recorded) -> Result<Vec<u8>, TableError> {
    let mut writer = SerializedFileWriter::new(Vec::new(), schema()?, Arc::default())?;
    for summary in &recorded.summary.streams {
        let record = recorded.streams_trial(&summary.trial)?;
        let rows = sampled(recorded, summary)?;
        let mut group = writer.next_row_group()?;
        trial(&mut group, &record, &rows)?;
        group.close()?;
    }
    Ok(writer.into_inner()?)
}

fn schema() -> Result<Arc<Type>, ParquetError> {
    let texts = TEXT_COLUMNS.iter().map(|name| text_field(name, Repetition::REQUIRED));
    let numbers = NUMBER_COLUMNS.iter().map(|name| number_field(name, Repetition::REQUIRED));
    let counts = KEYS.iter().map(|name| number_field(name, Repetition::OPTIONAL));
    let fields = texts.chain(numbers).chain(counts).collect::<Result<Vec<_>, _>>()?;
    let fields = fields.into_iter().map(Arc::new).collect();
    Ok(Arc::new(Type::group_type_builder("samples").with_fields(fields).build()?))
}

fn trial(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    record: &StreamsTrialRecord,
    rows: &[Sampled],
) -> Result<(), ParquetError> {
    let each = |of: &dyn Fn(&Sampled) -> ByteArray| rows.iter().map(of).collect::<Vec<_>>();
    texts(group, &each(&|_| record.profile.as_str().into()))?;
    texts(group, &each(&|row| row.agent.as_str().into()))?;
    texts(group, &each(&|row| row.end.into()))?;
    texts(group, &each(&|row| name(record, row.number).into()))?;
    let whole = |of: &dyn Fn(&Sampled) -> i64| rows.iter().map(of).collect::<Vec<_>>();
    number(group, &whole(&|_| record.repeat.into()), None)?;
    number(group, &whole(&|row| row.number.into()), None)?;
    number(group, &whole(&|row| row.at_ns), None)?;
    for place in 0..KEYS.len() {
        let counts = || rows.iter().map(|row| row.counts[place]);
        let defined: Vec<i16> = counts().map(|count| i16::from(count.is_some())).collect();
        let known = counts().flatten().map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        number(group, &known.collect::<Vec<_>>(), Some(&defined))?;
    }
    Ok(())
}
