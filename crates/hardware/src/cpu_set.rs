//! Sets of CPUs, in the notations of the kernel and of EAL.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Upper bound of CPU numbers. The kernel's own limit is 8192 (`NR_CPUS` of x86 and ARM); the bound keeps a
/// malicious `0-4294967295` from filling the memory.
const LIMIT: u32 = 1 << 16;

/// A set of CPU numbers. Displayed and parsed in the kernel's list format, such as `0-3,8` (`man 7 cpuset`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpuSet(BTreeSet<u32>);

/// Error: the text is not a list of CPUs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a list of CPUs such as 0-3,8")]
pub struct CpuSetError {
    /// The text, at most 40 characters of it.
    pub text: String,
}

impl CpuSetError {
    fn new(text: &str) -> Self {
        Self { text: text.chars().take(40).collect() }
    }
}

impl CpuSet {
    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    /// Number of CPUs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when the set contains `cpu`.
    pub fn contains(&self, cpu: u32) -> bool {
        self.0.contains(&cpu)
    }

    /// The CPUs that `other` does not contain.
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).copied().collect())
    }

    /// The CPUs that `other` contains too.
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).copied().collect())
    }

    /// The CPUs of a mask in the kernel's format: hexadecimal words of 32 bits, highest first, such as
    /// `00000001,0000000f`.
    ///
    /// # Errors
    /// For any other text.
    pub fn from_mask(text: &str) -> Result<Self, CpuSetError> {
        let words: Vec<_> = text.trim().split(',').collect();
        if words.len() > 2048 {
            return Err(CpuSetError::new(text));
        }
        let mut cpus = BTreeSet::new();
        for (base, word) in (0_u32..).step_by(32).zip(words.iter().rev()) {
            let bits = u32::from_str_radix(word, 16).map_err(|_| CpuSetError::new(text))?;
            cpus.extend((0..32).filter(|bit| bits & (1 << bit) != 0).map(|bit| base + bit));
        }
        Ok(Self(cpus))
    }

    /// The CPUs that EAL's `--lcores` uses, and the highest lcore number: `1-3,5`, or with lcores mapped to
    /// CPUs, `0@4,(1-2)@(5,7)`.
    ///
    /// # Errors
    /// For text in another form, or without any CPU.
    pub fn from_lcores(text: &str) -> Result<(Self, u32), CpuSetError> {
        let mut cpus = BTreeSet::new();
        let mut highest = 0;
        for item in split_outside_parentheses(text).ok_or_else(|| CpuSetError::new(text))? {
            let (lcores, place) = item.split_once('@').map_or((item, None), |(a, b)| (a, Some(b)));
            for part in [Some(lcores), place].into_iter().flatten() {
                let list = part.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(part);
                let set: Self = list.parse().map_err(|_| CpuSetError::new(text))?;
                if set.is_empty() {
                    return Err(CpuSetError::new(text));
                }
                if part == lcores {
                    highest = highest.max(set.0.last().copied().unwrap_or(0));
                }
                // Numbers before the @ are lcores, not CPUs.
                if place.is_none() || Some(part) == place {
                    cpus.extend(set.0);
                }
            }
        }
        Ok((Self(cpus), highest))
    }
}

/// The items between commas; `None` when parentheses do not match.
fn split_outside_parentheses(text: &str) -> Option<Vec<&str>> {
    let (mut items, mut depth, mut start) = (Vec::new(), 0_u32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&text[start..]);
    (depth == 0).then_some(items)
}

impl FromIterator<u32> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        Self(cpus.into_iter().collect())
    }
}

impl FromStr for CpuSet {
    type Err = CpuSetError;

    /// Parses the kernel's list format; an empty text is the empty set.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || CpuSetError::new(text);
        let number = |digits: &str| {
            let clean = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
            let number = if clean { digits.parse().ok() } else { None };
            number.filter(|&cpu: &u32| cpu < LIMIT).ok_or_else(error)
        };
        let list = text.trim();
        let mut cpus = BTreeSet::new();
        for range in list.split(',').filter(|_| !list.is_empty()) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(error());
            }
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }
}

impl fmt::Display for CpuSet {
    /// `0-3,8`; `none` for the empty set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for cpu in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == cpu => *last = cpu,
                _ => ranges.push((cpu, cpu)),
            }
        }
        if ranges.is_empty() {
            return f.write_str("none");
        }
        let show = |&(first, last): &(u32, u32)| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        };
        f.write_str(&ranges.iter().map(show).collect::<Vec<_>>().join(","))
    }
}

impl Serialize for CpuSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_parsed_and_shown_as_ranges() {
        for (text, shown) in [
            ("0-3,8\n", Some("0-3,8")),
            ("8,0,1,2,3", Some("0-3,8")),
            ("", Some("none")),
            ("5", Some("5")),
            ("3-1", None),
            ("0-4294967295", None),
            ("65536", None),
            ("a", None),
            ("1,", None),
            ("+1", None),
            ("-1", None),
            ("1-2-3", None),
        ] {
            let set = text.parse::<CpuSet>().ok().map(|set| set.to_string());
            assert_eq!(set.as_deref(), shown, "{text:?}");
        }
    }

    #[test]
    fn masks_are_words_highest_first() {
        for (text, shown) in [
            ("f", Some("0-3")),
            ("00000001,0000000f\n", Some("0-3,32")),
            ("00000000", Some("none")),
            ("", None),
            ("fffffffff", None),
            ("x", None),
        ] {
            assert_eq!(CpuSet::from_mask(text).ok().map(|set| set.to_string()).as_deref(), shown, "{text:?}");
        }
    }

    #[test]
    fn lcores_name_the_cpus_they_run_on() {
        for (text, shown) in [
            ("1-3", Some("1-3")),
            ("1-3,5", Some("1-3,5")),
            ("0@4", Some("4")),
            ("0@0,1@0", Some("0")),
            ("(0-3)@(4,6),7", Some("4,6-7")),
            ("(1,2)", Some("1-2")),
            ("", None),
            ("1,,2", None),
            ("0@", None),
            ("@3", None),
            ("(1", None),
            ("1)", None),
            ("eth0", None),
        ] {
            let cpus = CpuSet::from_lcores(text).ok().map(|(set, _)| set.to_string());
            assert_eq!(cpus.as_deref(), shown, "{text:?}");
        }
        for (text, highest) in [("1-3", 3), ("0@4", 0), ("(0-3)@(4,6),7", 7), ("130@0,1", 130)] {
            assert_eq!(CpuSet::from_lcores(text).unwrap().1, highest, "{text}");
        }
    }

    #[test]
    fn sets_are_compared() {
        let set = |text: &str| text.parse::<CpuSet>().unwrap();
        assert_eq!(set("0-3").without(&set("2-9")), set("0-1"));
        assert_eq!(set("0-3").and(&set("2-9")), set("2-3"));
        assert_eq!((set("0-3").len(), set("").is_empty(), set("1").contains(1)), (4, true, true));
    }
}
