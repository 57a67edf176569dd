//! Parsers of files below `/proc`.

pub mod interfaces;
pub mod interrupts;
pub mod protocols;
pub mod softirqs;
pub mod softnet;
pub mod stat;

/// What a list has of a CPU: mostly at the place of its number, unless CPUs before it are offline.
fn of_cpu<T>(list: &[(u32, T)], cpu: u32) -> Option<&T> {
    let likely = list.get(cpu as usize).filter(|(number, _)| *number == cpu);
    likely.or_else(|| list.iter().find(|(number, _)| *number == cpu)).map(|(_, entry)| entry)
}

/// A file's content that can be read again and again into the same memory.
pub trait Content: Default + Clone {
    /// The file, below the root.
    const PATH: &'static str;

    /// Takes the content. `before` is the reading before, from which counters of 32 bits are continued.
    ///
    /// # Errors
    /// What was expected and not found. The value is not to be used then.
    fn parse(&mut self, bytes: &[u8], before: Option<&Self>) -> Result<(), &'static str>;
}
