//! What the reader says about files that it does not read.

/// May this process, with its effective ids, read and write a path?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Yes.
    Granted,
    /// It is there, or a directory on the way hides it; this process may not.
    Denied,
    /// It is not there.
    Missing,
}

/// What became of opening a device file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// It could be opened.
    Yes,
    /// Somebody else has it.
    Busy,
    /// This process may not.
    Refused,
}

impl Opened {
    /// In words, for the evidence.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "could be opened",
            Self::Busy => "device or resource busy",
            Self::Refused => "may not be opened",
        }
    }
}

/// A file as [`super::Root::files`] sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Name without directory.
    pub name: String,
    /// Bytes that are really allocated for it (`stat`'s blocks), not its length.
    pub held_bytes: u64,
    /// Device and inode, the key under which `/proc/locks` lists it.
    pub id: FileId,
}

/// Device and inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId {
    /// Major number of the device.
    pub major: u32,
    /// Minor number of the device.
    pub minor: u32,
    /// Inode number.
    pub inode: u64,
}
