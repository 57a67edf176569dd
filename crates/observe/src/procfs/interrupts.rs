//! Interrupts by number: `/proc/interrupts`, a file of sysfs, and the line `intr` of `/proc/stat`.

use crate::bytes::{decimal, lines, numbered, words};

/// Interrupts of one number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Irq {
    /// Its number.
    pub number: u32,
    /// Who handles it, such as `eth0-TxRx-3`; empty when nobody does.
    pub action: String,
    /// Counts of the CPUs, as the kernel keeps them: 32 bits. Their numbers are the table's.
    pub counts: Vec<u32>,
}

/// The table of `/proc/interrupts`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// Numbers of the CPUs online.
    pub cpus: Vec<u32>,
    /// Interrupts that have a number. Those of the CPUs themselves, such as timers, have none.
    pub irqs: Vec<Irq>,
}

impl Table {
    /// Reads `/proc/interrupts`.
    ///
    /// # Errors
    /// What was expected and not found.
    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected a line of CPUs, and a line of counts for each interrupt";
        let mut lines = lines(bytes);
        let cpus: Vec<u32> = words(lines.next().ok_or(EXPECTED)?)
            .map(|word| numbered(word, b"CPU"))
            .collect::<Option<_>>()
            .ok_or(EXPECTED)?;
        let mut irqs = Vec::new();
        for line in lines {
            let mut words = words(line);
            let name = words.next().and_then(|word| word.strip_suffix(b":")).ok_or(EXPECTED)?;
            let Some(number) = decimal(name).and_then(|number| number.try_into().ok()) else { continue };
            let count = |word| decimal(word).and_then(|count| u32::try_from(count).ok());
            let counts: Vec<u32> =
                words.by_ref().take(cpus.len()).map(count).collect::<Option<_>>().ok_or(EXPECTED)?;
            if counts.len() < cpus.len() {
                return Err(EXPECTED);
            }
            irqs.push(Irq { number, action: action(words), counts });
        }
        if cpus.is_empty() { Err(EXPECTED) } else { Ok(Self { cpus, irqs }) }
    }
}

/// The actions are what follows controller, number and trigger: the last word, or several with commas.
fn action<'a>(words: impl Iterator<Item = &'a [u8]>) -> String {
    let words: Vec<_> = words.map(String::from_utf8_lossy).collect();
    let mut first = words.len().saturating_sub(1);
    while first > 0 && words.get(first - 1).is_some_and(|word| word.ends_with(',')) {
        first -= 1;
    }
    // A line without an action ends with the trigger, such as `0-edge`.
    let is_trigger =
        |word: &str| word.ends_with("-edge") || word.ends_with("-level") || word.ends_with("-fasteoi");
    let actions = words.get(first..).unwrap_or_default().join(" ");
    if words.len() < 3 || is_trigger(&actions) { String::new() } else { actions }
}

/// Reads `per_cpu_count` of an interrupt in sysfs: counts of all possible CPUs from CPU 0, with commas.
///
/// # Errors
/// What was expected and not found.
pub fn per_cpu_count(bytes: &[u8], counts: &mut Vec<u32>) -> Result<(), &'static str> {
    const EXPECTED: &str = "expected a count for each CPU, with commas between them, and the end of the line";
    counts.clear();
    // The kernel writes one page at most: the counts of hundreds of CPUs are cut off within a number.
    let bytes = bytes.strip_suffix(b"\n").ok_or(EXPECTED)?;
    for word in bytes.split(|byte| *byte == b',') {
        counts.push(decimal(word).and_then(|count| u32::try_from(count).ok()).ok_or(EXPECTED)?);
    }
    Ok(())
}

/// Totals of the interrupts 0, 1, 2 … of the line `intr` of `/proc/stat`, over all CPUs.
///
/// # Errors
/// What was expected and not found.
pub fn totals(bytes: &[u8]) -> Result<Vec<u64>, &'static str> {
    const EXPECTED: &str = "expected a line intr with a total and a count for each interrupt";
    let line = lines(bytes).find_map(|line| line.strip_prefix(b"intr ")).ok_or(EXPECTED)?;
    let counts: Vec<u64> = words(line).skip(1).map(decimal).collect::<Option<_>>().ok_or(EXPECTED)?;
    if counts.is_empty() { Err(EXPECTED) } else { Ok(counts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_interrupts_with_numbers() {
        let text = "            CPU0       CPU2\n  8:          0          5  IO-APIC   8-edge      rtc0\n 16:  1  2  IO-APIC  16-fasteoi   i801_smbus, uhci_hcd:usb3\n\
                    131:    4294967295          1  PCI-MSI 1572865-edge      eth0-TxRx-0\n 9: 0 0 IO-APIC 9-edge\nNMI:  1 2   Non-maskable interrupts\nERR:          0\n";
        let table = Table::parse(text.as_bytes()).unwrap();
        assert_eq!(table.cpus, [0, 2]);
        let seen: Vec<_> =
            table.irqs.iter().map(|irq| (irq.number, irq.action.as_str(), irq.counts.clone())).collect();
        assert_eq!(
            seen,
            [
                (8, "rtc0", vec![0, 5]),
                (16, "i801_smbus, uhci_hcd:usb3", vec![1, 2]),
                (131, "eth0-TxRx-0", vec![u32::MAX, 1]),
                (9, "", vec![0, 0]),
            ]
        );
        for bad in ["", "x\n", "CPU0 CPU1\n 5: 1\n", "CPU0\nx\n"] {
            assert!(Table::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sysfs_and_the_totals_are_read() {
        let mut counts = Vec::new();
        per_cpu_count(b"1,0,4294967295\n", &mut counts).unwrap();
        assert_eq!(counts, [1, 0, u32::MAX]);
        for bad in [&b""[..], b"1,,2\n", b"1,2", b"\n"] {
            assert!(per_cpu_count(bad, &mut counts).is_err(), "{bad:?}");
        }
        assert_eq!(totals(b"cpu 1\nintr 12 5 0 7\n").unwrap(), [5, 0, 7]);
        assert!(totals(b"cpu 1\n").is_err() && totals(b"intr 12\n").is_err());
    }
}
