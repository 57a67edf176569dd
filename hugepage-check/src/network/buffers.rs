//! Check: a socket can request a buffer as large as TCP's automatic one.
//!
//! `net.core.{rmem,wmem}_max` caps a program that sets its buffer sizes; for other programs the kernel tunes
//! the size up to the third number of `net.ipv4.tcp_{rmem,wmem}` (kernel `networking/ip-sysctl.rst`). It doubles what a
//! program sets, for its own data (socket(7)), so the first limit is compared with half of the other one.

use crate::check::{Check, Evidence, Outcome, Remedy, Topic, Verdict};
use crate::root::{ReadError, Root};
use crate::scene::Scene;

const TOPIC: Topic = Topic {
    id: "network.buffers",
    title: "Socket buffers",
    why: "TCP's rate is at most its window divided by the round trip. A program that sets its window, such as \
          iperf3 -w, gets no more than the first limit, and can then be slower than one that does not.",
};

pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    vec![TOPIC.judge(false, judge(scene.root))]
}

/// The limits of one direction, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    letter: char,
    core: u64,
    tcp: u64,
}

fn judge(root: &Root) -> Outcome {
    let (receive, send) = (read(root, 'r')?, read(root, 'w')?);
    let mut evidence = Vec::new();
    for Limits { letter, core, tcp } in [receive, send] {
        evidence.push(Evidence::new(root, &core_path(letter), core.to_string()));
        evidence.push(Evidence::new(root, &tcp_path(letter), format!("at most {tcp}")));
    }
    Ok((decide(&[receive, send]), evidence))
}

fn core_path(letter: char) -> String {
    format!("/proc/sys/net/core/{letter}mem_max")
}

fn tcp_path(letter: char) -> String {
    format!("/proc/sys/net/ipv4/tcp_{letter}mem")
}

fn read(root: &Root, letter: char) -> Result<Limits, ReadError> {
    let path = tcp_path(letter);
    let text = root.read(&path)?;
    let most = text.split_ascii_whitespace().nth(2).and_then(|most| most.parse().ok());
    let tcp = most.ok_or_else(|| root.malformed(&path, "expected three numbers: least, usual, most"))?;
    Ok(Limits { letter, core: root.read_number(&core_path(letter))?, tcp })
}

/// The least that a program must be able to ask for, so that it gets as much as TCP gives itself.
fn needed(limits: &Limits) -> u64 {
    limits.tcp.div_ceil(2)
}

fn decide(directions: &[Limits]) -> Verdict {
    let show =
        |Limits { letter, core, tcp }: &Limits| format!("{letter}mem_max {core}, tcp_{letter}mem {tcp}");
    let summary = directions.iter().map(show).collect::<Vec<_>>().join("; ");
    let capped: Vec<_> = directions.iter().filter(|limits| limits.core < needed(limits)).collect();
    if capped.is_empty() {
        return Verdict::pass(summary);
    }
    let raise = |limits: &&Limits| format!("sysctl -w net.core.{}mem_max={}", limits.letter, needed(limits));
    Verdict::warn(
        format!("{summary}: a window that a program sets is capped below what TCP gives itself"),
        Remedy::type_in(capped.iter().map(raise)).note(
            "Or let programs leave their windows alone. Put the lines into /etc/sysctl.d to keep them.",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn the_core_limit_caps_the_window() {
        let limits = |core, tcp| Limits { letter: 'r', core, tcp };
        for core in [6_291_456, 4_194_304, 3_145_728] {
            assert_eq!(
                decide(&[limits(core, 6_291_456)]).status,
                Status::Pass,
                "{core}: the kernel doubles it"
            );
        }
        assert_eq!(decide(&[limits(3_145_727, 6_291_456)]).status, Status::Warn);
        let verdict = decide(&[limits(212_992, 6_291_456)]);
        assert_eq!(verdict.status, Status::Warn);
        assert_eq!(verdict.remedy.unwrap().commands, ["sysctl -w net.core.rmem_max=3145728"]);
    }
}
