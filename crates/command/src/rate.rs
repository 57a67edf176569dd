//! Rates of streams on command lines. All forms of rates are parsed; what is none is answered with rates that the streams take.

use linerate_traffic::rate::Rate;

/// Parses a rate where TCP streams may be: they take bits of payload per second, or `max`.
///
/// # Errors
/// The text, and what is allowed.
pub fn bit_rate(text: &str) -> Result<Rate, String> {
    text.parse().map_err(|_| format!("'{text}' is not a rate such as 10mbps, 2gbps or max"))
}

/// Parses a rate of UDP streams alone: they also take datagrams per second.
///
/// # Errors
/// The text, and what is allowed.
pub fn datagram_rate(text: &str) -> Result<Rate, String> {
    text.parse().map_err(|_| format!("'{text}' is not a rate such as 10mbps, 2gbps, 50kpps or max"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_rate_is_answered_with_rates_that_streams_take() {
        assert_eq!(bit_rate("10mbps"), Ok(Rate::Bps(1e7)));
        assert_eq!(datagram_rate("50kpps"), Ok(Rate::Pps(5e4)));
        let error = bit_rate("10M").unwrap_err();
        assert!(error.contains("10mbps") && !error.contains("pps,") && !error.contains('%'), "{error}");
        let error = datagram_rate("10M").unwrap_err();
        assert!(error.contains("50kpps") && !error.contains('%'), "{error}");
    }
}
