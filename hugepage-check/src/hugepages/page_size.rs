//! The size of a hugepage.

use std::fmt;

use serde::Serialize;

/// The size of a hugepage in bytes, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct PageSize(u64);

impl PageSize {
    /// From a size in kB (1024 bytes), the kernel's unit; `None` for zero and on overflow.
    pub fn from_kilobytes(kilobytes: u64) -> Option<Self> {
        kilobytes.checked_mul(1024).filter(|&bytes| bytes > 0).map(Self)
    }

    /// Bytes of one page.
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// The name of its directory in sysfs.
    pub(super) fn directory(self) -> String {
        format!("hugepages-{}kB", self.0 / 1024)
    }

    /// The value of hugetlbfs' mount option `pagesize`.
    pub fn mount_option(self) -> String {
        self.to_string().replace(' ', "").trim_end_matches('B').to_uppercase()
    }
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 / 1024 {
            kb if kb % (1 << 20) == 0 => write!(f, "{} GB", kb >> 20),
            kb if kb % (1 << 10) == 0 => write!(f, "{} MB", kb >> 10),
            kb => write!(f, "{kb} kB"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(kilobytes: u64) -> PageSize {
        PageSize::from_kilobytes(kilobytes).unwrap()
    }

    #[test]
    fn sizes_are_named_as_people_name_them() {
        for (kilobytes, shown, option) in [
            (64, "64 kB", "64K"),
            (2048, "2 MB", "2M"),
            (524_288, "512 MB", "512M"),
            (1_048_576, "1 GB", "1G"),
            (16_777_216, "16 GB", "16G"),
        ] {
            assert_eq!(page(kilobytes).to_string(), shown);
            assert_eq!(page(kilobytes).mount_option(), option);
        }
        assert_eq!(PageSize::from_kilobytes(0), None);
        assert_eq!(PageSize::from_kilobytes(u64::MAX), None);
    }
}
