//! A trial's place in its rate search, as columns of tables.

use linerate_experiment::search::{SearchPurpose, SearchTrial};
use linerate_results::summary::{Summary, TrialSummary};

/// Names of the columns. Tables have them where an experiment has a search.
pub(crate) const COLUMNS: [&str; 4] =
    ["search_number", "search_ordinal", "search_purpose", "search_load_pps"];

/// The columns' values for a trial of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the search within its profile.
    pub(crate) number: u32,
    /// Number of the trial within its search.
    pub(crate) ordinal: u32,
    /// Purpose of the trial.
    pub(crate) purpose: &'static str,
    /// Load in packets per second; `None`: as fast as possible.
    pub(crate) load_pps: Option<u64>,
}

impl Place {
    /// The place of a trial; `None` when it is not of a search.
    pub(crate) fn of(trial: &TrialSummary) -> Option<Self> {
        let SearchTrial { number, ordinal, purpose, .. } = trial.search.as_ref()?;
        let purpose = match purpose {
            SearchPurpose::Ceiling => "ceiling",
            SearchPurpose::WarmUp => "warm-up",
            SearchPurpose::Search => "search",
            SearchPurpose::Latency => "latency",
            SearchPurpose::LossCurve => "loss-curve",
            SearchPurpose::BackToBack => "back-to-back",
            SearchPurpose::Recovery => "recovery",
            SearchPurpose::Service => "service",
            SearchPurpose::Soak => "soak",
        };
        let load_pps = trial.intended_pps.map(|pps| pps.round() as u64);
        Some(Self { number: *number, ordinal: *ordinal, purpose, load_pps })
    }

    /// The values as text, in the order of [`COLUMNS`].
    pub(crate) fn texts(&self) -> [String; 4] {
        [
            self.number.to_string(),
            self.ordinal.to_string(),
            self.purpose.to_owned(),
            self.load_pps.map_or_else(String::new, |load| load.to_string()),
        ]
    }
}

/// True when a trial of the experiment is of a search.
pub(crate) fn has_searches(summary: &Summary) -> bool {
    summary.trials.iter().any(|trial| trial.search.is_some())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::super::{ExportFormat, export};
    use linerate_results::fixtures::search::limited_by_generator;

    #[test]
    fn every_table_has_the_place_of_a_trial_in_its_search() {
        let searched = limited_by_generator();
        let (results, id) = searched.store();
        let formats =
            [ExportFormat::Summary, ExportFormat::Metadata, ExportFormat::Parquet, ExportFormat::Xlsx];
        let written = export(results.path(), std::slice::from_ref(&id), &formats, None).unwrap().written;
        let path = |name: &str| written.iter().find(|path| path.ends_with(name)).unwrap();
        let table = fs::read_to_string(path("summary_all_experiments.csv")).unwrap();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 1 + searched.records.len());
        assert!(lines[0].ends_with(",rx_bytes,search_number,search_ordinal,search_purpose,search_load_pps"));
        assert!(lines[1].ends_with(",1,1,warm-up,14880952"), "{}", lines[1]);
        assert!(lines[3].ends_with(",1,3,search,796822"), "{}", lines[3]);
        let metadata = fs::read_to_string(path("search-1/trial-3/metadata.txt")).unwrap();
        assert!(metadata.contains("search_ordinal=3\nsearch_purpose=search\nsearch_load_pps=796822\n"));
        let reader = SerializedFileReader::new(fs::File::open(path("samples.parquet")).unwrap()).unwrap();
        let rows: Vec<String> =
            reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
        // The search's third trial has two samples at each end.
        let third =
            "search_number: 1, search_ordinal: 3, search_purpose: \"search\", search_load_pps: 796822";
        assert_eq!(rows.iter().filter(|row| row.contains(third)).count(), 4, "{}", rows[0]);
        assert!(linerate_results::validate::validate(results.path(), &id, None).unwrap().valid);
    }

    #[test]
    fn experiments_without_a_search_have_no_such_columns() {
        let (results, id) = linerate_results::fixtures::recorded();
        let written = export(results.path(), &[id], &[ExportFormat::Summary, ExportFormat::Metadata], None)
            .unwrap()
            .written;
        for path in written {
            assert!(!fs::read_to_string(&path).unwrap().contains("search_"), "{}", path.display());
        }
    }
}
