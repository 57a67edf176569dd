//! Results of rate searches as a table.

use super::grid::Grid;
use super::words::mpps;
use linerate_report::search::{
    GoalResult, Repeats, answers, found, label, repeats, short_names, short_percent, then,
};
use linerate_results::summary::Summary;

/// A sentence and the rows of each search; empty in an experiment without one.
pub(super) fn searches(summary: &Summary, width: Option<usize>) -> String {
    if summary.searches.is_empty() {
        return String::new();
    }
    let all = repeats(&summary.searches);
    let names = short_names(&all);
    let mut text = String::new();
    for answer in answers(&all, &names) {
        text.push_str(&format!("{}: {}: {}\n", answer.name, answer.judgement, answer.text));
    }
    let columns = [
        "search of",
        "#",
        "goal",
        "found Mpps",
        "line rate %",
        "lower Mpps",
        "upper Mpps",
        "width %",
        "trials",
        "seconds",
        "result",
    ];
    let mut table = Grid::new(&columns, 3..10).names(&[0]).expendable(&[9, 8, 4, 7]);
    for (repeats, name) in all.iter().zip(&names) {
        for one in repeats.searches.iter().flat_map(|search| found(search)) {
            table.add_row(row(name, &one));
        }
    }
    format!("{text}{}\n{}", table.render(width), followed(&all, &names))
}

/// A line for each result of a benchmark that followed a search.
fn followed(all: &[Repeats<'_>], names: &[String]) -> String {
    let mut text = String::new();
    for (repeats, name) in all.iter().zip(names) {
        for search in &repeats.searches {
            let number =
                if repeats.searches.len() > 1 { format!(" #{}", search.number) } else { String::new() };
            for told in search.then.iter().map(then::told) {
                for line in &told.lines {
                    text.push_str(&format!("{name}{number}: {}: {}: {line}\n", told.title, told.badge));
                }
            }
        }
    }
    text
}

fn row(name: &str, one: &GoalResult<'_>) -> [String; 11] {
    let (search, conclusion) = (one.search, &one.goal.conclusion);
    let load = |load: Option<u64>| load.map_or("-".to_owned(), |load| mpps(load as f64));
    [
        name.to_owned(),
        search.number.to_string(),
        label(&one.goal.goal),
        one.marked(|value| Some(mpps(value))),
        one.marked(|value| Some(format!("{:.4}", 100.0 * one.of_line_rate(value)?))),
        load(conclusion.effective_lower_bound_pps),
        load(conclusion.relevant_upper_bound_pps),
        one.width().map_or("-".to_owned(), short_percent),
        search.trials.to_string(),
        format!("{:.1}", search.elapsed_s),
        if one.is_regular() { "regular".to_owned() } else { format!("irregular: {}", one.why()) },
    ]
}

#[cfg(test)]
mod tests {
    use crate::cli::table;
    use linerate_results::fixtures::search::{limited_by_generator, regular};

    #[test]
    fn searches_have_a_table_of_their_own() {
        let text = table::trials(&regular().summary, None);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("64 B: regular: NDR 995,921 pps (mean of 2 searches, "), "{text}");
        assert!(lines[3].contains("found Mpps") && lines[5].contains(" regular"), "{text}");
        assert_eq!(lines.len(), 3 + 2 + 12 + 1, "no trial of a search has a row: {text}");
        assert!(lines[17].starts_with("complete: 471 results of trials in 6 searches on 1 pair"), "{text}");
    }

    #[test]
    fn an_irregular_result_is_marked() {
        let text = table::trials(&limited_by_generator().summary, None);
        assert!(
            text.starts_with("64 B: irregular: NDR at least 796,822 pps: limited by the generator"),
            "{text}"
        );
        let row =
            text.lines().find(|line| line.contains(" NDR ") && !line.contains(": irregular: NDR")).unwrap();
        assert!(row.contains("≥ 0.796822") && row.ends_with("not a property of the path"), "{text}");
        assert!(!text.contains("! "), "loads that searches try are not missed: {text}");
    }

    #[test]
    fn experiments_are_listed_by_what_was_found() {
        let listed = [
            ("0123abcd".to_owned(), Ok(regular().summary)),
            ("0123abce".to_owned(), Ok(limited_by_generator().summary)),
        ];
        let text = table::experiments(&listed, None);
        let rows: Vec<Vec<&str>> =
            text.lines().skip(2).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0][4..], ["471", "-", "-", "12", "regular", "complete"], "{text}");
        assert_eq!(rows[1][6..], ["-", "2", "irregular", "complete"], "{text}");
    }
}
