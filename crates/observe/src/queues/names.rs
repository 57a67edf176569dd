//! Names that drivers give to their queues' counters in `ethtool -S`, and what they mean.
//!
//! | driver | names |
//! |---|---|
//! | mlx4, mlx5 | `rx0_packets` |
//! | i40e, iavf | `rx-0.packets`, older ones `rx-0.rx_packets` |
//! | ice, igb, igc, ixgbe, netvsc, veth, virtio_net | `rx_queue_0_packets` |
//! | ena | `queue_0_rx_cnt` |
//! | gve | `rx_bytes[0]` |
//! | bnxt_en, bnx2x | `[0]: rx_ucast_packets` |
//! | stmmac | `q0_rx_pkt_n` |
//! | vmxnet3 | no numbers: `Rx Queue#` opens a block of names that begin with spaces |
//!
//! A name that is not known has no meaning here: it is listed as the driver has it.

use super::{Direction, Field};

/// A counter of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// Direction of the queue.
    pub direction: Direction,
    /// Number of the queue.
    pub queue: u32,
    /// The counter.
    pub field: Field,
}

/// What a name means; `None` when it is not known to be a queue's counter.
pub fn meaning(name: &str) -> Option<Meaning> {
    let (direction, queue, counter) =
        in_front(name).or_else(|| in_brackets(name)).or_else(|| behind(name)).or_else(|| of_block(name))?;
    Some(Meaning { direction, queue, field: field(counter)? })
}

/// What is left of a name after `rx` or `tx`.
fn direction(name: &str) -> Option<(Direction, &str)> {
    let rx = name.strip_prefix("rx").map(|rest| (Direction::Rx, rest));
    rx.or_else(|| Some((Direction::Tx, name.strip_prefix("tx")?)))
}

/// The number at the beginning, and what follows it.
fn leading(text: &str) -> Option<(u32, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, rest))
}

/// `rx0_`, `rxq0_`, `rx_queue_0_`, `rx-0.`
fn in_front(name: &str) -> Option<(Direction, u32, &str)> {
    let (direction, rest) = direction(name)?;
    let (rest, separator) =
        if let Some(rest) = rest.strip_prefix("_queue_").or_else(|| rest.strip_prefix('q')) {
            (rest, '_')
        } else if let Some(rest) = rest.strip_prefix('-') {
            (rest, '.')
        } else {
            (rest, '_')
        };
    let (queue, rest) = leading(rest)?;
    Some((direction, queue, rest.strip_prefix(separator)?))
}

/// `rx_bytes[0]`
fn behind(name: &str) -> Option<(Direction, u32, &str)> {
    let (direction, rest) = direction(name)?;
    let (counter, queue) = rest.strip_prefix('_')?.strip_suffix(']')?.split_once('[')?;
    Some((direction, queue.parse().ok()?, counter))
}

/// `[0]: rx_ucast_packets`
fn in_brackets(name: &str) -> Option<(Direction, u32, &str)> {
    let (queue, rest) = name.strip_prefix('[')?.split_once("]: ")?;
    let (direction, counter) = direction(rest)?;
    Some((direction, queue.parse().ok()?, counter.strip_prefix('_')?))
}

/// `queue_0_rx_cnt`, `q0_rx_pkt_n`
fn of_block(name: &str) -> Option<(Direction, u32, &str)> {
    let rest = name.strip_prefix("queue_").or_else(|| name.strip_prefix('q'))?;
    let (queue, rest) = leading(rest)?;
    let (direction, counter) = direction(rest.strip_prefix('_')?)?;
    Some((direction, queue, counter.strip_prefix('_')?))
}

/// Whole names of counters only: `xdp_packets` are others than `packets`.
fn field(counter: &str) -> Option<Field> {
    Some(match counter {
        "packets" | "rx_packets" | "tx_packets" | "cnt" | "pkt_n" | "ucast_packets" | "mcast_packets"
        | "bcast_packets" => Field::Packets,
        "bytes" | "rx_bytes" | "tx_bytes" | "ucast_bytes" | "mcast_bytes" | "bcast_bytes" => Field::Bytes,
        "drops" | "dropped" | "dropped_pkt" | "queue_drop_cnt" | "discards" | "wqe_err" | "missed_tx" => {
            Field::Drops
        }
        "stopped" | "stop" | "queue_stop" | "empty_rx_ring" | "no_buffers_posted" => Field::Full,
        "wake" | "queue_wakeup" | "restart" => Field::Wake,
        "alloc_failed" | "buff_alloc_err" | "page_alloc_fail" | "skb_alloc_fail" | "buf_alloc_fail" => {
            Field::AllocFail
        }
        _ => return None,
    })
}

/// A name that opens a block of vmxnet3; its value is the number of the queue.
pub(super) fn opens_block(name: &str) -> Option<Direction> {
    match name.trim_end() {
        "Rx Queue#" => Some(Direction::Rx),
        "Tx Queue#" => Some(Direction::Tx),
        _ => None,
    }
}

/// What a name means within a block of vmxnet3. Names with more spaces are parts of others.
pub(super) fn in_block(name: &str) -> Option<Field> {
    Some(match name.trim_end().strip_prefix("  ")? {
        "ucast pkts rx" | "mcast pkts rx" | "bcast pkts rx" | "ucast pkts tx" | "mcast pkts tx"
        | "bcast pkts tx" => Field::Packets,
        "ucast bytes rx" | "mcast bytes rx" | "bcast bytes rx" | "ucast bytes tx" | "mcast bytes tx"
        | "bcast bytes tx" => Field::Bytes,
        "drv dropped rx total" | "drv dropped tx total" | "pkts tx discard" => Field::Drops,
        "ring full" | "pkts rx OOB" => Field::Full,
        "rx buf alloc fail" => Field::AllocFail,
        _ => return None,
    })
}

/// True for a counter of the whole device that counts lost packets, or packets that a cloud's limits held
/// back.
pub fn is_loss_of_device(name: &str) -> bool {
    const NAMES: [&str; 19] = [
        "rx_out_of_buffer",
        "rx_discards_phy",
        "tx_discards_phy",
        "rx_dropped",
        "tx_dropped",
        "rx_dropped.nic",
        "tx_dropped_link_down.nic",
        "port.rx_dropped",
        "port.rx_discards",
        "port.tx_dropped_link_down",
        "rx_discards",
        "tx_discards",
        "rx_no_dma_resources",
        "rx_missed_errors",
        "rx_missed",
        "rx_no_buffer_count",
        "rx_fifo_errors",
        "rx_discard_pkts",
        "tx_discard_pkts",
    ];
    NAMES.contains(&name) || name.ends_with("_allowance_exceeded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_drivers_mean_the_same() {
        use Direction::{Rx, Tx};
        for (name, direction, queue, field) in [
            ("rx17_packets", Rx, 17, Field::Packets),
            ("tx0_stopped", Tx, 0, Field::Full),
            ("rx3_buff_alloc_err", Rx, 3, Field::AllocFail),
            ("rx-12.packets", Rx, 12, Field::Packets),
            ("tx-0.tx_bytes", Tx, 0, Field::Bytes),
            ("rx_queue_1_drops", Rx, 1, Field::Drops),
            ("tx_queue_2_restart", Tx, 2, Field::Wake),
            ("queue_4_rx_cnt", Rx, 4, Field::Packets),
            ("queue_0_tx_queue_stop", Tx, 0, Field::Full),
            ("rx_queue_drop_cnt[3]", Rx, 3, Field::Drops),
            ("tx_wake[0]", Tx, 0, Field::Wake),
            ("[7]: rx_ucast_packets", Rx, 7, Field::Packets),
            ("[7]: tx_discards", Tx, 7, Field::Drops),
            ("q0_rx_pkt_n", Rx, 0, Field::Packets),
            ("rxq5_bytes", Rx, 5, Field::Bytes),
        ] {
            assert_eq!(meaning(name), Some(Meaning { direction, queue, field }), "{name}");
        }
    }

    #[test]
    fn names_of_other_things_mean_nothing() {
        for name in [
            "rx_packets",
            "rx_64_bytes_phy",
            "rx0_xdp_packets",
            "tx0_xdp_xmit",
            "rx_queue_0_xdp_packets",
            "ch0_events",
            "rx_prio0_bytes",
            "queue_0_xdp_tx_cnt",
            "rx_completed_desc[0]",
            "[0]: tpa_packets",
            "rx-.packets",
            "rx99999999999_packets",
            "",
            "rx",
            "tx_queue_",
            "[]: rx_bytes",
            "rx_bytes[]",
            "  ucast pkts rx",
        ] {
            assert_eq!(meaning(name), None, "{name}");
        }
    }
}
