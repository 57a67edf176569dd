//! Two numbers in one sentence, as text.

/// Largest rounding error of a number as text, as a share of the number.
const ROUGHEST: f64 = 0.005;
/// Most decimals.
const MOST_DECIMALS: usize = 9;

/// Two numbers with as few decimals as show that they differ, and that are close to each of them.
pub fn apart(first: f64, second: f64) -> [String; 2] {
    let text = |decimals: usize| [first, second].map(|number| format!("{number:.decimals$}"));
    let shows = |decimals: &usize| {
        let close = |number: f64| {
            let unit = 0.1f64.powi(*decimals as i32);
            ((number / unit).round() * unit - number).abs() <= ROUGHEST * number.abs()
        };
        let [a, b] = text(*decimals);
        (first == second || a != b) && close(first) && close(second)
    };
    text((0..MOST_DECIMALS).find(shows).unwrap_or(MOST_DECIMALS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_differ_look_different() {
        for (first, second, texts) in [
            (1_100_000.0, 1_000_000.0, ["1100000", "1000000"]),
            (1_953.125, 1_953.123, ["1953.125", "1953.123"]),
            (0.333, 0.5, ["0.333", "0.500"]),
            (1.4, 0.6, ["1.4", "0.6"]),
            (90.2, 100.0, ["90", "100"]),
            (2.0, 1.0, ["2", "1"]),
            (7.0, 7.0, ["7", "7"]),
            (0.0, 0.5, ["0.0", "0.5"]),
            (1.0, 1.0 + 1e-12, ["1.000000000", "1.000000000"]),
        ] {
            assert_eq!(apart(first, second), texts, "{first} {second}");
        }
    }
}
