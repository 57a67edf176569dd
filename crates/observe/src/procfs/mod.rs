//! Parsers of files below `/proc`.

pub mod interfaces;
pub mod interrupts;
pub mod protocols;
pub mod softirqs;
pub mod softnet;
pub mod stat;

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
