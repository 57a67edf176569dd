//! Properties of files that are not read.

/// Read and write access of this process, with its effective ids, to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Allowed.
    Granted,
    /// Not allowed: the path exists, or a directory above hides it.
    Denied,
    /// The path does not exist.
    Missing,
}

/// Result of opening a device file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// It could be opened.
    Yes,
    /// Another process holds it.
    Busy,
    /// This process may not open it.
    Refused,
}

impl Opened {
    /// Text for the evidence.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "could be opened",
            Self::Busy => "device or resource busy",
            Self::Refused => "may not be opened",
        }
    }
}

/// A file as [`super::Root::files`] lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Name without directory.
    pub name: String,
    /// Allocated bytes (`stat`'s blocks), not the length.
    pub held_bytes: u64,
    /// Device and inode, the file's key in `/proc/locks`.
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
