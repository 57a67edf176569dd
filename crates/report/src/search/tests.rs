use super::*;
use linerate_experiment::search::SearchMode;
use linerate_results::fixtures::search::{at_least, limited_by_generator, one_dead_pair, regular, two_pairs};

fn clauses(searches: &[SearchSummary]) -> Vec<String> {
    searches.iter().flat_map(|search| found(search).map(|one| one.clause())).collect()
}

#[test]
fn a_result_is_one_clause() {
    let ndr = &clauses(&regular().summary.searches)[0];
    assert!(ndr.starts_with("NDR 99") && ndr.contains(" % wide, upper bound 1,00"), "{ndr}");
    let limited = clauses(&limited_by_generator().summary.searches);
    assert_eq!(limited[0], "NDR at least 796,822 pps: limited by the generator, not a property of the path");
    assert!(limited[1].starts_with("PDR (0.5 %) at least "), "{limited:?}");
    assert_eq!(
        clauses(&at_least().summary.searches)[0],
        "NDR at least 1,000,000 pps: the highest load allowed, 1,000,000 pps, meets the goal"
    );
    assert_eq!(
        clauses(&one_dead_pair().summary.searches)[1],
        "no PDR (0.5 %): the lowest load allowed, 9,001 pps, misses the goal"
    );
}

#[test]
fn searches_without_a_regular_result_give_each_reason() {
    let (limited, whole) = (limited_by_generator().summary.searches, at_least().summary.searches);
    let mut both = [limited[0].clone(), whole[0].clone()];
    let text = |searches: &[SearchSummary]| {
        let all = repeats(searches);
        answers(&all, &short_names(&all)).remove(0).text
    };
    both[1].number = 2;
    let mixed = text(&both);
    let begin = "NDR at least 796,822 to 1,000,000 pps (2 searches, none regular): limited by the generator, not a property of the path (search 1), the highest";
    assert!(mixed.starts_with(begin), "{mixed}");
    both[1] = SearchSummary { number: 2, ..both[0].clone() };
    let alike = text(&both);
    let begin = "NDR at least 796,822 pps (2 searches, none regular): limited by the generator, not a property of the path; PDR";
    assert!(alike.starts_with(begin), "{alike}");
}

#[test]
fn names_of_goals_say_what_they_mean() {
    let goal = |goal: &Goal| label(&goal.into());
    assert_eq!(goal(&Goal::ndr()), "NDR");
    assert_eq!(goal(&Goal { loss_ppb: 1_000_000, ..Goal::ndr() }), "ndr (0.1 %)", "NDR means no loss");
    assert_eq!(goal(&Goal { loss_ppb: 0, ..Goal::pdr() }), "pdr (0 %)");
    assert_eq!(goal(&Goal { width_ppb: 1_000_000, ..Goal::rfc2544() }), "RFC 2544 throughput");
    assert_eq!(goal(&Goal { exceed_ppb: 1, ..Goal::rfc2544() }), "rfc2544 (0 %)");
}

#[test]
fn searches_are_named_by_what_they_differ_in() {
    let searched = regular();
    let all = repeats(&searched.summary.searches);
    assert_eq!(short_names(&all), ["64 B", "512 B", "1518 B"]);
    assert_eq!(all[0].searches.len(), 2);
    assert_eq!((all[0].goals(), all[0].of_goal("pdr").len()), (vec!["ndr", "pdr"], 2));
    let mut each = two_pairs(SearchMode::Each).summary.searches;
    assert_eq!(short_names(&repeats(&each)), ["64 B, tx0-rx0", "64 B, tx1-rx1"]);
    each[1].pair = each[0].pair.clone();
    (each[1].flows, each[1].profile) = (1000, "q".into());
    assert_eq!(short_names(&repeats(&each)), ["64 B, 1 flows, tx0-rx0", "64 B, 1,000 flows, tx0-rx0"]);
    assert_eq!(tally(&searched.summary.searches), "12 regular");
    assert_eq!(tally(&limited_by_generator().summary.searches), "2 irregular");
}

#[test]
fn bounds_in_the_wrong_order_have_a_width_below_zero() {
    let mut search = regular().summary.searches.remove(0);
    let mut width = |upper| {
        search.goals[0].conclusion.relevant_lower_bound_pps = Some(1000);
        search.goals[0].conclusion.relevant_upper_bound_pps = Some(upper);
        found(&search).next().unwrap().width()
    };
    assert_eq!((width(2000), width(500), width(0)), (Some(0.5), Some(-1.0), None));
}

#[test]
fn an_unfinished_result_says_why() {
    let mut search = limited_by_generator().summary.searches.remove(0);
    search.ended = SearchEnd::Budget;
    let found = &mut search.goals[0].conclusion;
    (found.irregular, found.relevant_upper_bound_pps) = (Some(Irregular::Unfinished), Some(900_000));
    let clause = &clauses(&[search])[0];
    assert!(clause.ends_with("before the bounds were close enough, upper bound 900,000 pps"), "{clause}");
}

#[test]
fn widths_have_two_digits() {
    let cases = [(0.004_987, "0.5"), (0.049_87, "5"), (0.000_123_4, "0.012"), (0.123, "12"), (0.0, "0")];
    for (share, text) in cases {
        assert_eq!(short_percent(share), text);
    }
}
