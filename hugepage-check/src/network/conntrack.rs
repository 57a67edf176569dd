//! Check: connection tracking has room and has not dropped packets.
//!
//! Source: `/proc/sys/net/netfilter` (kernel `networking/nf_conntrack-sysctl.rst`) and
//! `/proc/net/stat/nf_conntrack`: one line per CPU of hexadecimal columns below their names.

use crate::check::{Check, Evidence, Outcome, Remedy, Topic, Verdict};
use crate::root::{ReadError, Root};
use crate::scene::Scene;

const SETTINGS: &str = "/proc/sys/net/netfilter";
const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
const MOST: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
const STATISTICS: &str = "/proc/net/stat/nf_conntrack";

/// Threshold of a warning, in percent. An estimate: a burst of new flows soon fills the rest.
const FULL: u64 = 80;

/// Columns that count packets dropped or entries evicted for lack of room.
const LOSSES: &[&str] = &["drop", "early_drop", "insert_failed"];

const TOPIC: Topic = Topic {
    id: "network.conntrack",
    title: "Connection tracking",
    why: "Behind NAT or a stateful firewall each flow takes an entry. When the table is full the kernel drops \
          the packets of new flows, and a trial with many flows measures the table.",
};

pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    vec![TOPIC.judge(false, judge(scene.root))]
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Table {
    entries: u64,
    most: u64,
    /// Names and sums of those [`LOSSES`] that are not zero.
    losses: Vec<(String, u64)>,
}

fn judge(root: &Root) -> Outcome {
    let is_loaded =
        root.contains("/proc/sys/net", "netfilter")? && root.contains(SETTINGS, "nf_conntrack_count")?;
    if !is_loaded {
        return Ok((Verdict::pass("not in use"), vec![Evidence::new(root, COUNT, "not there")]));
    }
    let (entries, most) = (root.read_number(COUNT)?, root.read_number(MOST)?);
    let mut evidence =
        vec![Evidence::new(root, COUNT, entries.to_string()), Evidence::new(root, MOST, most.to_string())];
    let losses = read_losses(root)?;
    let sums: Vec<_> = losses.iter().map(|(name, count)| format!("{name} {count}")).collect();
    evidence.push(Evidence::new(root, STATISTICS, sums.join(", ")));
    let losses = losses.into_iter().filter(|&(_, count)| count > 0).collect();
    Ok((decide(&Table { entries, most, losses }), evidence))
}

fn read_losses(root: &Root) -> Result<Vec<(String, u64)>, ReadError> {
    // Some kernels are built without the file; the fill level is still known.
    let Some(text) = root.read_if_there(STATISTICS)? else { return Ok(Vec::new()) };
    parse_losses(&text)
        .ok_or_else(|| root.malformed(STATISTICS, "expected hexadecimal columns below their names"))
}

fn parse_losses(text: &str) -> Option<Vec<(String, u64)>> {
    let mut lines = text.lines();
    let names: Vec<_> = lines.next()?.split_ascii_whitespace().collect();
    let mut sums = vec![0_u64; names.len()];
    for line in lines {
        for (sum, word) in sums.iter_mut().zip(line.split_ascii_whitespace()) {
            *sum = sum.saturating_add(u64::from_str_radix(word, 16).ok()?);
        }
    }
    let pairs = names.into_iter().zip(sums).filter(|(name, _)| LOSSES.contains(name));
    Some(pairs.map(|(name, sum)| (name.to_owned(), sum)).collect())
}

fn decide(table: &Table) -> Verdict {
    let Table { entries, most, losses } = table;
    let percent = entries.saturating_mul(100).checked_div(*most).unwrap_or(0);
    let fill = format!("{entries} of {most} entries ({percent} %)");
    // A limit of zero means no limit.
    let is_full = *most > 0 && percent >= FULL;
    if !is_full && losses.is_empty() {
        return Verdict::pass(fill);
    }
    let losses: Vec<_> = losses.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let lost = if losses.is_empty() { String::new() } else { format!("; since boot {}", losses.join(", ")) };
    Verdict::warn(
        format!("{fill}{lost}"),
        Remedy::type_in([format!("sysctl -w net.netfilter.nf_conntrack_max={}", most.saturating_mul(2).max(262_144))])
            .note(
                "Better still, keep the trial's packets out of it: iptables -t raw -A PREROUTING -i IF -j NOTRACK. The \
                 counters do not go back to zero.",
            ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn columns_are_hexadecimal_and_summed_over_cpus() {
        let text = "entries found insert_failed drop early_drop\n00000010 00000001 00000000 0000000a 00000001\n\
                    00000010 00000001 00000000 00000010 00000000\n";
        let losses = parse_losses(text).unwrap();
        let expected = [("insert_failed", 0), ("drop", 26), ("early_drop", 1)];
        assert_eq!(losses, expected.map(|(name, count)| (name.to_owned(), count)));
        assert_eq!(parse_losses("drop\nxyz\n"), None);
        assert_eq!(parse_losses(""), None);
    }

    #[test]
    fn a_full_table_and_losses_are_warned_of() {
        let loss = vec![("drop".to_owned(), 3)];
        for (entries, most, losses, status) in [
            (10, 100, vec![], Status::Pass),
            (10, 0, vec![], Status::Pass),
            (80, 100, vec![], Status::Warn),
            (1, 100, loss, Status::Warn),
        ] {
            assert_eq!(decide(&Table { entries, most, losses }).status, status, "{entries}");
        }
    }
}
