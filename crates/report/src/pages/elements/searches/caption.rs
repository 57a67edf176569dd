//! Captions of charts: what was searched for, and what came of it.

use super::super::super::number::{count, short};
use crate::search::{GoalResult, label, limiter, short_percent};

/// For each goal of some results: durations, width, whether they are regular, what limited them.
pub(super) fn caption(results: &[GoalResult<'_>]) -> String {
    let mut goals: Vec<&str> = Vec::new();
    for one in results {
        if !goals.contains(&one.goal.goal.name.as_str()) {
            goals.push(&one.goal.goal.name);
        }
    }
    let each = goals.iter().filter_map(|name| {
        let of_goal: Vec<&GoalResult<'_>> =
            results.iter().filter(|one| one.goal.goal.name == **name).collect();
        Some(of_one_goal(of_goal.first()?, &of_goal))
    });
    let mut text = each.collect::<Vec<_>>().join(" ");
    let paths = results.iter().map(|one| one.search.paths).max().unwrap_or(1);
    if paths > 1 {
        text.push_str(&format!(" {} paths together.", count(paths as u64)));
    }
    text
}

fn of_one_goal(first: &GoalResult<'_>, results: &[&GoalResult<'_>]) -> String {
    let goal = &first.goal.goal;
    let irregular = results.iter().filter(|one| !one.is_regular()).count();
    let regular = match (irregular, results.len()) {
        (0, _) => "regular".to_owned(),
        (irregular, all) if irregular == all => "irregular".to_owned(),
        (irregular, all) => format!("{irregular} of {all} irregular"),
    };
    let mut limits: Vec<&str> = Vec::new();
    for one in results {
        let limit = one.goal.conclusion.limited_by.map_or("what is not known", limiter);
        if !limits.contains(&limit) {
            limits.push(limit);
        }
    }
    format!(
        "{}: trials of {} s, {} s for each load, width {} %; {regular}, limited by {}.",
        label(goal),
        short(goal.final_trial_duration_s),
        short(goal.duration_sum_s),
        short_percent(goal.relative_width),
        limits.join(" or "),
    )
}
