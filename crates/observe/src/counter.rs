//! Differences of the kernel's counters.

/// What a 64-bit counter counted from `then` to `now`; `None` when it went back: it was set to 0 meanwhile,
/// as those of an interface that was made again, so that the difference is not known.
pub fn since(now: u64, then: u64) -> Option<u64> {
    now.checked_sub(then)
}

/// The value in 64 bits of a counter that the kernel keeps in 32, from the value of the reading before.
///
/// The counter may have wrapped once. When it counted half of its range or more, it was rather set back, and
/// the new value stands alone: the difference is then unknown for [`since`].
pub fn widen(before: u64, raw: u32) -> u64 {
    let step = raw.wrapping_sub(before as u32);
    if step < 1 << 31 { before.saturating_add(u64::from(step)) } else { u64::from(raw) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_32_bits_wrap_and_are_set_back() {
        assert_eq!(widen(0, 5), 5);
        let before = widen(u64::from(u32::MAX) - 2, 7);
        assert_eq!(before, u64::from(u32::MAX) + 8, "wrapped");
        assert_eq!(since(widen(before, 9), before), Some(2));
        assert_eq!(since(widen(1_000, 10), 1_000), None, "set back");
        assert_eq!((since(5, 3), since(3, 5)), (Some(2), None));
    }
}
