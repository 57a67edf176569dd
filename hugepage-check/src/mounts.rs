//! Check: hugetlbfs mounts, where EAL creates the files of its memory.
//!
//! Source: `/proc/self/mounts` (man 5 `proc_pid_mounts`); the options are in the kernel's
//! `Documentation/admin-guide/mm/hugetlbpage.rst`.

use crate::check::{Check, Evidence, Remedy, Topic, Verdict, shell_word};
use crate::hugepages::{PageSize, Survey};
use crate::root::{Access, ReadError, Root, excerpt};

/// A node with many containers has megabytes of mounts; a single overlay can take 4 kB.
pub(crate) const LIMIT: u64 = 16 << 20;

const TOPIC: Topic = Topic {
    id: "hugetlbfs.mount",
    title: "hugetlbfs mount",
    why: "EAL keeps its memory in files on hugetlbfs, one mount per page size, so that secondary processes \
          can share it. With --in-memory it needs no mount.",
};

/// One hugetlbfs mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Mount point.
    pub path: String,
    /// Page size; `None` when the line names none and the machine's default is unknown.
    pub page: Option<PageSize>,
    /// Mount options as the kernel lists them.
    pub options: String,
    /// This process's write access.
    pub access: Result<Access, ReadError>,
}

impl Mount {
    fn is_usable(&self) -> bool {
        self.access == Ok(Access::Granted) && !self.is_read_only() && !self.is_escaped()
    }

    // EAL compares the escaped text of the mount table with the path it was given, so it does not find
    // such a mount.
    fn is_escaped(&self) -> bool {
        self.path.contains([' ', '\t', '\n', '\\'])
    }

    fn is_read_only(&self) -> bool {
        self.options.split(',').any(|option| option == "ro")
    }
}

/// The hugetlbfs mounts, in mount order, and the file that lists them.
#[derive(Debug, Clone)]
pub struct Mounts {
    /// The file that was read.
    pub source: &'static str,
    /// The mounts.
    pub list: Vec<Mount>,
}

/// Reads the mounts of this process. Below a root other than `/`, those of process 1 are tried first: in
/// a host's `/proc` mounted into a container, `self` is the container's process.
///
/// # Errors
/// The reason why the list cannot be read, or the line that is not a mount.
pub fn read(root: &Root) -> Result<Mounts, ReadError> {
    let (source, text) = match (root.is_host(), root.read_up_to("/proc/1/mounts", LIMIT)) {
        (false, Ok(text)) => ("/proc/1/mounts", text),
        _ => ("/proc/self/mounts", root.read_up_to("/proc/self/mounts", LIMIT)?),
    };
    let mut list = parse(&text).map_err(|what| root.malformed(source, what))?;
    for mount in &mut list {
        mount.access = root.access(&mount.path);
    }
    Ok(Mounts { source, list })
}

/// The check `hugetlbfs.mount`.
pub fn check(root: &Root, mounts: &Result<Mounts, ReadError>, survey: &Survey) -> Check {
    match mounts {
        Err(error) => Verdict::unknown(error).on(&TOPIC, false, vec![Evidence::from(error)]),
        Ok(mounts) => {
            let mounts = with_default_size(mounts, survey);
            decide(&mounts.list, survey).on(&TOPIC, false, evidence(root, &mounts))
        }
    }
}

// Kernels before 4.5 omit the page size of a mount that was created without naming one.
fn with_default_size(mounts: &Mounts, survey: &Survey) -> Mounts {
    let mut mounts = mounts.clone();
    let default = survey.default_page.as_ref().ok().copied();
    for mount in &mut mounts.list {
        mount.page = mount.page.or(default);
    }
    mounts
}

fn evidence(root: &Root, mounts: &Mounts) -> Vec<Evidence> {
    let mut evidence = vec![Evidence::new(
        root,
        mounts.source,
        match mounts.list.len() {
            0 => "no line of type hugetlbfs".to_owned(),
            1 => "1 line of type hugetlbfs".to_owned(),
            lines => format!("{lines} lines of type hugetlbfs"),
        },
    )];
    for mount in &mounts.list {
        let page = mount.page.map_or("unknown".to_owned(), |page| page.to_string());
        let access = match &mount.access {
            Ok(Access::Granted) => "writable by this user".to_owned(),
            Ok(Access::Denied) => "not writable by this user".to_owned(),
            Ok(Access::Missing) => "listed, but not there".to_owned(),
            Err(error) => error.reason.to_string(),
        };
        let seen = format!("page size {page}, options {}, {access}", mount.options);
        evidence.push(Evidence::new(root, &mount.path, seen));
    }
    evidence
}

fn decide(mounts: &[Mount], survey: &Survey) -> Verdict {
    if mounts.is_empty() {
        let none = "none: EAL needs --in-memory, or a mount";
        return Verdict::warn(none, mount_remedy(survey.usual_page(), "/dev/hugepages"));
    }
    if let Some(error) = mounts.iter().find_map(|mount| mount.access.as_ref().err()) {
        return Verdict::unknown(error);
    }
    let usable: Vec<_> = mounts.iter().filter(|mount| mount.is_usable()).collect();
    let Some(first) = usable.first() else {
        return Verdict::warn(
            format!("no mount that EAL can write to: {}; it needs --in-memory", paths(mounts.iter())),
            unlock(&mounts[0]),
        );
    };
    let unserved = survey
        .machine
        .iter()
        .find(|pool| pool.total > 0 && !usable.iter().any(|mount| mount.page == Some(pool.page)));
    match unserved {
        Some(pool) => Verdict::warn(
            format!(
                "{} pages of {} have no usable mount: EAL sees them only with --in-memory",
                pool.total, pool.page
            ),
            match mounts.iter().find(|mount| mount.page == Some(pool.page)) {
                Some(closed) => unlock(closed),
                None => {
                    mount_remedy(Some(pool.page), &format!("{}-{}", first.path, pool.page.mount_option()))
                }
            },
        ),
        None => Verdict::pass(paths(usable.into_iter())),
    }
}

fn paths<'a>(mounts: impl Iterator<Item = &'a Mount>) -> String {
    let describe = |mount: &Mount| match mount.page {
        Some(page) => format!("{} ({page})", mount.path),
        None => mount.path.clone(),
    };
    mounts.map(describe).collect::<Vec<_>>().join(", ")
}

fn mount_remedy(page: Option<PageSize>, path: &str) -> Remedy {
    let option = page.map(|page| format!(" -o pagesize={}", page.mount_option())).unwrap_or_default();
    let path = shell_word(path);
    Remedy::type_in([format!("mkdir -p {path}"), format!("mount -t hugetlbfs{option} nodev {path}")])
        .note("With --in-memory EAL needs no mount, and leaves no files behind.")
}

fn unlock(mount: &Mount) -> Remedy {
    let path = shell_word(&mount.path);
    if mount.is_escaped() {
        let elsewhere = mount_remedy(mount.page, "/dev/hugepages");
        return elsewhere
            .note("EAL does not find a mount whose path holds a space; with --in-memory it needs none.");
    }
    let command = if mount.is_read_only() {
        format!("mount -o remount,rw {path}")
    } else {
        format!("chown {} {path}", rustix::process::geteuid().as_raw())
    };
    Remedy::type_in([command]).note("Or start EAL with --in-memory, or as root.")
}

/// The hugetlbfs lines of a mount table, without the access check.
fn parse(text: &str) -> Result<Vec<Mount>, String> {
    let mut mounts = Vec::new();
    for line in text.lines() {
        let mut fields = line.split(' ');
        let (Some(_), Some(path), Some(kind), Some(options)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(format!("expected device, path, type and options, found {}", excerpt(line)));
        };
        if kind == "hugetlbfs" {
            let page = options.split(',').find_map(|option| option.strip_prefix("pagesize="));
            let page = match page {
                Some(size) => {
                    Some(parse_size(size).ok_or_else(|| format!("not a page size: {}", excerpt(size)))?)
                }
                None => None,
            };
            let path = unescape(path)?;
            mounts.push(Mount { path, page, options: options.to_owned(), access: Ok(Access::Missing) });
        }
    }
    Ok(mounts)
}

fn parse_size(text: &str) -> Option<PageSize> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let kilobytes_per_unit = match unit {
        "K" => 1,
        "M" => 1 << 10,
        "G" => 1 << 20,
        _ => return None,
    };
    PageSize::from_kilobytes(number.parse::<u64>().ok()?.checked_mul(kilobytes_per_unit)?)
}

/// Decodes the kernel's octal escapes of space, tab, newline and backslash.
pub(crate) fn unescape(path: &str) -> Result<String, String> {
    let mut pieces = path.split('\\');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let code = piece.get(..3).and_then(|octal| u8::from_str_radix(octal, 8).ok()).filter(u8::is_ascii);
        let (Some(code), Some(rest)) = (code, piece.get(3..)) else {
            return Err(format!("a bad escape in {}", excerpt(path)));
        };
        plain.push(char::from(code));
        plain.push_str(rest);
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;
    use crate::hugepages::Pool;

    fn page(kilobytes: u64) -> PageSize {
        PageSize::from_kilobytes(kilobytes).unwrap()
    }

    fn survey(sizes: &[u64]) -> Survey {
        let pool = |&kilobytes: &u64| Pool {
            page: page(kilobytes),
            total: 4,
            free: 4,
            reserved: 0,
            surplus: 0,
            over_commit: 0,
        };
        Survey {
            machine: sizes.iter().map(pool).collect(),
            nodes: Vec::new(),
            default_page: Ok(page(2048)),
            problems: Vec::new(),
            evidence: Vec::new(),
        }
    }

    fn mount(kilobytes: u64, options: &str, access: Access) -> Mount {
        Mount {
            path: "/dev/hugepages".to_owned(),
            page: Some(page(kilobytes)),
            options: options.to_owned(),
            access: Ok(access),
        }
    }

    #[test]
    fn mount_tables_are_parsed_with_their_escapes() {
        let text = "proc /proc proc rw 0 0\n\
                    hugetlbfs /dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0\n\
                    nodev /mnt/huge\\040pages hugetlbfs ro,pagesize=1024M 0 0\n\
                    none /mnt/old hugetlbfs rw 0 0\n";
        let found: Vec<_> = parse(text).unwrap().into_iter().map(|mount| (mount.path, mount.page)).collect();
        assert_eq!(
            found,
            [
                ("/dev/hugepages".to_owned(), Some(page(2048))),
                ("/mnt/huge pages".to_owned(), Some(page(1_048_576))),
                ("/mnt/old".to_owned(), None),
            ]
        );
        assert_eq!(parse(""), Ok(Vec::new()));
    }

    #[test]
    fn lines_that_are_no_mounts_are_named() {
        for (text, word) in [
            ("garbage\n", "garbage"),
            ("nodev /mnt hugetlbfs rw,pagesize=two 0 0", "two"),
            ("nodev /mnt hugetlbfs rw,pagesize=0M 0 0", "0M"),
            ("nodev /mnt hugetlbfs rw,pagesize=99999999999999999999G 0 0", "page size"),
            ("nodev /mnt\\9 hugetlbfs rw 0 0", "escape"),
            ("nodev /mnt\\377 hugetlbfs rw 0 0", "escape"),
            ("nodev /mnt\\é hugetlbfs rw 0 0", "escape"),
        ] {
            assert!(parse(text).unwrap_err().contains(word), "{text}");
        }
    }

    #[test]
    fn status_follows_what_eal_can_use() {
        use Access::{Denied, Granted, Missing};
        for (mounts, sizes, status, word) in [
            (vec![], vec![2048], Status::Warn, "--in-memory"),
            (vec![mount(2048, "rw", Granted)], vec![2048], Status::Pass, "/dev/hugepages (2 MB)"),
            (vec![mount(2048, "ro", Granted)], vec![2048], Status::Warn, "EAL can write to"),
            (vec![mount(2048, "rw", Denied)], vec![2048], Status::Warn, "EAL can write to"),
            (vec![mount(2048, "rw", Missing)], vec![2048], Status::Warn, "EAL can write to"),
            (vec![mount(2048, "rw", Granted)], vec![2048, 1_048_576], Status::Warn, "4 pages of 1 GB"),
            (vec![mount(2048, "rw", Granted)], vec![], Status::Pass, "/dev/hugepages"),
        ] {
            let verdict = decide(&mounts, &survey(&sizes));
            assert_eq!(verdict.status, status, "{}", verdict.summary);
            assert!(verdict.summary.contains(word), "{}", verdict.summary);
        }
    }

    #[test]
    fn eal_does_not_find_a_mount_with_a_space() {
        let odd = Mount { path: "/mnt/huge pages".to_owned(), ..mount(2048, "rw", Access::Granted) };
        let verdict = decide(&[odd], &survey(&[2048]));
        assert_eq!(verdict.status, Status::Warn);
        assert_eq!(
            verdict.remedy.unwrap().commands[1],
            "mount -t hugetlbfs -o pagesize=2M nodev /dev/hugepages"
        );
    }

    #[test]
    fn a_closed_mount_of_the_size_is_opened_first() {
        let large = Mount { path: "/dev/hugepages-1G".to_owned(), ..mount(1_048_576, "ro", Access::Granted) };
        let mounts = [mount(2048, "rw", Access::Granted), large];
        let remedy = decide(&mounts, &survey(&[2048, 1_048_576])).remedy.unwrap();
        assert_eq!(remedy.commands, ["mount -o remount,rw /dev/hugepages-1G"]);
    }

    #[test]
    fn a_second_size_gets_a_mount_of_its_own() {
        let remedy =
            decide(&[mount(2048, "rw", Access::Granted)], &survey(&[2048, 1_048_576])).remedy.unwrap();
        assert_eq!(remedy.commands[1], "mount -t hugetlbfs -o pagesize=1G nodev /dev/hugepages-1G");
    }
}
