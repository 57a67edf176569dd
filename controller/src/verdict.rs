//! What limited a trial. Pure.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Offered load may differ from intended load by this share.
pub const LOAD_TOLERANCE: f64 = 0.001;
/// The port explains missing load when it held packets back for at least this share of what is missing: after a stall the
/// generator makes good only part of it.
const EXPLAINING_SHARE: f64 = 0.5;
/// Without an intended load, this share of the time counts as missing.
const HELD_BACK_SHARE: f64 = 0.02;

/// What limited a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictKind {
    /// Nothing: the intended load was offered and all of it arrived.
    Clean,
    /// The receiver's port dropped what it could not take.
    ReceiverLimited,
    /// Packets were lost between the ports.
    PathLimited,
    /// The transmitter's port did not take the intended load.
    PortLimited,
    /// The generator itself did not offer the intended load.
    GeneratorLimited,
}

impl fmt::Display for VerdictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VerdictKind::Clean => "clean",
            VerdictKind::ReceiverLimited => "receiver-limited",
            VerdictKind::PathLimited => "path-limited",
            VerdictKind::PortLimited => "port-limited",
            VerdictKind::GeneratorLimited => "generator-limited",
        })
    }
}

/// What limited a trial, and the numbers that say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// What limited it.
    pub kind: VerdictKind,
    /// One sentence with the numbers.
    pub evidence: String,
}

/// What a verdict is made of.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Observed {
    /// Intended load; `None`: as fast as the port takes it.
    pub intended_pps: Option<f64>,
    /// Packets the port accepted, per second.
    pub offered_pps: f64,
    /// Packets the port accepted.
    pub sent: u64,
    /// Of those, packets that did not arrive.
    pub lost: u64,
    /// Seconds during which the transmitting port did not take what it was offered.
    pub blocked_s: f64,
    /// Frames so late that a first copy could not be told from a further one.
    pub beyond_window: u64,
    /// Packets that the pacer gave up after stalls.
    pub forgone: u64,
    /// Seconds of sending.
    pub duration_s: f64,
    /// Packets the receiving port dropped because its queue was full; `None` when it did not say.
    pub rx_missed: Option<u64>,
    /// Packets the receiving port dropped for want of a buffer; `None` when it did not say.
    pub rx_nombuf: Option<u64>,
}

/// Judges a trial: loss first, then load.
pub fn judge(observed: &Observed) -> Verdict {
    let (kind, evidence) = if observed.lost > 0 {
        judge_loss(observed)
    } else if observed.beyond_window > 0 {
        let late = observed.beyond_window;
        let evidence = format!(
            "{late} packets came so late that copies cannot be told from first arrivals; loss may hide behind them"
        );
        (VerdictKind::PathLimited, evidence)
    } else {
        judge_load(observed)
    };
    Verdict { kind, evidence }
}

fn judge_loss(observed: &Observed) -> (VerdictKind, String) {
    let Observed { sent, lost, .. } = *observed;
    let share = 100.0 * lost as f64 / sent.max(1) as f64;
    let loss = format!("{lost} of {sent} packets lost ({share:.4} %)");
    let (Some(missed), Some(no_mbuf)) = (observed.rx_missed, observed.rx_nombuf) else {
        return (
            VerdictKind::PathLimited,
            format!("{loss}; the receiving port's own drop counters are not known"),
        );
    };
    let ports = format!("the receiving port counts {missed} missed and {no_mbuf} without buffer");
    // The larger part of the loss decides.
    if missed.saturating_add(no_mbuf) >= lost.div_ceil(2) {
        (VerdictKind::ReceiverLimited, format!("{loss}; {ports}"))
    } else {
        (VerdictKind::PathLimited, format!("{loss}; {ports}, which does not explain it"))
    }
}

fn judge_load(observed: &Observed) -> (VerdictKind, String) {
    let Observed { intended_pps, offered_pps, sent, blocked_s, forgone, duration_s, .. } = *observed;
    let blocked_share = if duration_s > 0.0 { blocked_s / duration_s } else { 0.0 };
    let (load, missing_share) = match intended_pps {
        Some(intended) => {
            let deviation = (offered_pps - intended) / intended;
            let load = format!(
                "offered {offered_pps:.0} of {intended:.0} pps intended ({:+.3} %)",
                100.0 * deviation
            );
            // A trial holds whole packets only.
            let packets_off = (deviation * intended * duration_s).abs();
            if deviation.abs() <= LOAD_TOLERANCE || packets_off <= 1.0 {
                return (VerdictKind::Clean, format!("{load}, all {sent} packets received"));
            }
            if deviation > 0.0 {
                return (
                    VerdictKind::GeneratorLimited,
                    format!("{load}: the generator did not hold its rate"),
                );
            }
            (load, -deviation)
        }
        None => (format!("offered {offered_pps:.0} pps, as fast as possible"), HELD_BACK_SHARE),
    };
    let held_back = format!(
        "{load}, without loss; the port held packets back {:.1} % of the time",
        100.0 * blocked_share
    );
    if blocked_share > 0.0 && blocked_share >= missing_share * EXPLAINING_SHARE {
        (VerdictKind::PortLimited, held_back)
    } else {
        let evidence = format!("{held_back}, too little to explain it; {forgone} packets were never built");
        (VerdictKind::GeneratorLimited, evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::VerdictKind::{Clean, GeneratorLimited, PathLimited, PortLimited, ReceiverLimited};
    use super::*;

    #[test]
    fn every_kind_has_its_numbers() {
        let base = Observed {
            sent: 10_000,
            duration_s: 0.01,
            rx_missed: Some(0),
            rx_nombuf: Some(0),
            ..Observed::default()
        };
        let at =
            |intended: Option<f64>, offered_pps| Observed { intended_pps: intended, offered_pps, ..base };
        let clean = at(Some(1e6), 1e6);
        for (name, observed, kind, part) in [
            ("exact", clean, Clean, "(+0.000 %), all 10000 packets received"),
            ("at the tolerance", at(Some(1e6), 999_000.0), Clean, "-0.100 %"),
            ("held back, yet offered", Observed { blocked_s: 0.005, ..clean }, Clean, "1000000"),
            ("slow generator", at(Some(1e6), 998_000.0), GeneratorLimited, "0.0 % of the time"),
            (
                "stalled generator",
                Observed { blocked_s: 0.001, forgone: 4800, ..at(Some(1e6), 5e5) },
                GeneratorLimited,
                "10.0 % of the time, too little to explain it; 4800 packets were never built",
            ),
            ("one packet of two", Observed { sent: 1, ..at(Some(150.0), 100.0) }, Clean, "all 1 packets"),
            ("hasty generator", at(Some(1e6), 1_002_000.0), GeneratorLimited, "did not hold"),
            (
                "full port",
                Observed { blocked_s: 0.004, ..at(Some(1e6), 5e5) },
                PortLimited,
                "40.0 % of the time",
            ),
            (
                "doubtful copies",
                Observed { beyond_window: 3, ..clean },
                PathLimited,
                "3 packets came so late",
            ),
            (
                "loss elsewhere",
                Observed { lost: 10, ..clean },
                PathLimited,
                "10 of 10000 packets lost (0.1000 %)",
            ),
            ("missed", Observed { lost: 10, rx_missed: Some(10), ..clean }, ReceiverLimited, "10 missed"),
            (
                "no buffer",
                Observed { lost: 10, rx_nombuf: Some(6), ..clean },
                ReceiverLimited,
                "6 without buffer",
            ),
            (
                "mostly elsewhere",
                Observed { lost: 10, rx_missed: Some(4), ..clean },
                PathLimited,
                "not explain",
            ),
            ("port silent", Observed { lost: 10, rx_missed: None, ..clean }, PathLimited, "not known"),
            (
                "loss before load",
                Observed { lost: 1, blocked_s: 0.005, ..at(Some(1e6), 5e5) },
                PathLimited,
                "1 of",
            ),
            (
                "max, port full",
                Observed { blocked_s: 0.005, ..at(None, 5e6) },
                PortLimited,
                "as fast as possible",
            ),
            ("max, generator slow", at(None, 5e6), GeneratorLimited, "0.0 % of the time"),
            (
                "max, port hardly full",
                Observed { blocked_s: 0.00005, ..at(None, 5e6) },
                GeneratorLimited,
                "too little",
            ),
            ("max with loss", Observed { lost: 5, blocked_s: 0.005, ..at(None, 5e6) }, PathLimited, "5 of"),
        ] {
            let verdict = judge(&observed);
            assert_eq!(verdict.kind, kind, "{name}: {}", verdict.evidence);
            assert!(verdict.evidence.contains(part), "{name}: {}", verdict.evidence);
        }
    }
}
