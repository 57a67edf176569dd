//! Check: no leftover files of EAL on hugetlbfs; each holds hugepages that no process uses.
//!
//! EAL names the files `<file-prefix>map_<number>`, `rtemap_0` by default, and locks each while it runs.
//! Source: the directories of the hugetlbfs mounts, and `/proc/locks` (man 5 `proc_locks`).

use std::collections::{BTreeSet, HashMap};

use crate::check::{Check, Evidence, Remedy, Topic, Verdict, shell_word};
use crate::mounts::Mounts;
use crate::root::{File, FileId, ReadError, Root};

const LOCKS: &str = "/proc/locks";

const TOPIC: Topic = Topic {
    id: "hugepages.leftover",
    title: "Left-over hugepage files",
    why: "A DPDK process that did not end cleanly leaves its files on hugetlbfs, and the pages in them \
          stay taken: they look used although nobody uses them.",
};

/// EAL's files on one mount.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    mount: String,
    files: Vec<File>,
}

/// The check `hugepages.leftover`.
pub fn check(root: &Root, mounts: &Result<Mounts, ReadError>) -> Check {
    let mut evidence = Vec::new();
    let verdict = match mounts.as_ref().map_err(Clone::clone).and_then(|mounts| find(root, mounts)) {
        Err(error) => {
            evidence.push(Evidence::from(&error));
            Verdict::unknown(&error)
        }
        Ok(found) => {
            if found.is_empty() {
                let source = mounts.as_ref().map_or("/proc/self/mounts", |mounts| mounts.source);
                evidence.push(Evidence::new(root, source, "no hugetlbfs mount"));
            }
            for Found { mount, files } in &found {
                let seen = match files.as_slice() {
                    [] => "no *map_N file".to_owned(),
                    [only] => only.name.clone(),
                    [first, .., last] => format!("{} files, {} … {}", files.len(), first.name, last.name),
                };
                evidence.push(Evidence::new(root, mount, seen));
            }
            if found.iter().all(|found| found.files.is_empty()) {
                decide(&found, &Ok(HashMap::new()))
            } else {
                let holders = holders(root);
                evidence.push(match &holders {
                    Ok(holders) => Evidence::new(root, LOCKS, format!("locks on {} files", holders.len())),
                    Err(error) => Evidence::from(error),
                });
                decide(&found, &holders)
            }
        }
    };
    verdict.on(&TOPIC, false, evidence)
}

fn find(root: &Root, mounts: &Mounts) -> Result<Vec<Found>, ReadError> {
    // A path that is mounted over or listed twice is checked once.
    let paths: BTreeSet<_> = mounts.list.iter().map(|mount| mount.path.clone()).collect();
    paths
        .into_iter()
        .map(|mount| Ok(Found { files: root.files(&mount, |name| prefix(name).is_some())?, mount }))
        .collect()
}

/// Extracts `rte` from `rtemap_12`.
fn prefix(name: &str) -> Option<&str> {
    let (prefix, number) = name.rsplit_once("map_")?;
    let numbered = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    (numbered && !prefix.is_empty()).then_some(prefix)
}

type Holders = HashMap<FileId, i64>;

fn holders(root: &Root) -> Result<Holders, ReadError> {
    let text = root.read(LOCKS)?;
    parse_locks(&text).map_err(|line| root.malformed(LOCKS, format!("not a lock: {line}")))
}

/// The process that holds a lock on each file.
fn parse_locks(text: &str) -> Result<Holders, String> {
    let mut holders = Holders::new();
    for line in text.lines() {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        // `7: -> FLOCK …` waits for a lock and does not hold it.
        if fields.get(1) == Some(&"->") {
            continue;
        }
        let parsed = || Some((parse_id(fields.get(5)?)?, fields.get(4)?.parse().ok()?));
        let (id, process) = parsed().ok_or_else(|| crate::root::excerpt(line))?;
        holders.insert(id, process);
    }
    Ok(holders)
}

/// Parses `00:2f:5678`: device in hexadecimal, inode in decimal.
fn parse_id(text: &str) -> Option<FileId> {
    let mut parts = text.split(':');
    let id = FileId {
        major: u32::from_str_radix(parts.next()?, 16).ok()?,
        minor: u32::from_str_radix(parts.next()?, 16).ok()?,
        inode: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(id)
}

fn decide(found: &[Found], holders: &Result<Holders, ReadError>) -> Verdict {
    let files = || found.iter().flat_map(|found| &found.files);
    let all = files().count();
    if all == 0 {
        let nowhere = if found.is_empty() { "none: no hugetlbfs mount to hold any" } else { "none" };
        return Verdict::pass(nowhere);
    }
    let Ok(holders) = holders else {
        let remedy = remove(found).note("flock spares files in use.");
        return Verdict::warn(
            format!("{}, in use or left over: {LOCKS} is not readable", holding(files())),
            remedy,
        );
    };
    let left = || files().filter(|file| !holders.contains_key(&file.id));
    if left().next().is_none() {
        let processes: BTreeSet<_> = files().filter_map(|file| holders.get(&file.id)).collect();
        let processes: Vec<_> = processes.into_iter().map(i64::to_string).collect();
        return Verdict::pass(format!("none: {all} files, all in use by process {}", processes.join(", ")));
    }
    let remedy = remove(found).note(
        "flock spares files in use. EAL also removes what is left over when it next starts on the same mount \
         without --in-memory. Files of a process in another container can look left over.",
    );
    Verdict::warn(format!("{}, of {all} in all, no process has locked", holding(left())), remedy)
}

/// `3 files holding 6 MB`.
fn holding<'a>(files: impl Iterator<Item = &'a File>) -> String {
    let (count, bytes) =
        files.fold((0_u64, 0_u64), |(count, bytes), file| (count + 1, bytes.saturating_add(file.held_bytes)));
    let noun = if count == 1 { "file" } else { "files" };
    format!("{count} {noun} holding {}", crate::hugepages::megabytes(bytes))
}

fn remove(found: &[Found]) -> Remedy {
    let mut globs = BTreeSet::new();
    for Found { mount, files } in found {
        for prefix in files.iter().filter_map(|file| prefix(&file.name)) {
            globs
                .insert(format!("{}map_*", shell_word(&format!("{}/{prefix}", mount.trim_end_matches('/')))));
        }
    }
    let globs: Vec<_> = globs.into_iter().collect();
    Remedy::type_in([format!("for f in {}; do flock -n \"$f\" rm \"$f\"; done", globs.join(" "))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    fn id(inode: u64) -> FileId {
        FileId { major: 0, minor: 0x2f, inode }
    }

    fn found(inodes: &[u64]) -> Vec<Found> {
        let file =
            |&inode: &u64| File { name: format!("rtemap_{inode}"), held_bytes: 2 << 20, id: id(inode) };
        vec![Found { mount: "/dev/hugepages".to_owned(), files: inodes.iter().map(file).collect() }]
    }

    #[test]
    fn eal_names_its_files_by_prefix_and_number() {
        for (name, expected) in [
            ("rtemap_0", Some("rte")),
            ("linerate-7map_12", Some("linerate-7")),
            ("mapmap_1", Some("map")),
            ("rtemap_", None),
            ("rtemap_1x", None),
            ("map_1", None),
            ("libvirt", None),
        ] {
            assert_eq!(prefix(name), expected, "{name}");
        }
    }

    #[test]
    fn lock_lines_name_process_and_file() {
        let text = "1: FLOCK  ADVISORY  READ 1234 00:2f:5678 0 EOF\n\
                    1: -> FLOCK  ADVISORY  WRITE 99 00:2f:5679 0 EOF\n\
                    2: POSIX  ADVISORY  WRITE 77 fe:01:42 0 EOF\n";
        let holders = parse_locks(text).unwrap();
        assert_eq!(holders.len(), 2);
        assert_eq!(holders[&id(5678)], 1234);
        assert_eq!(holders[&FileId { major: 0xfe, minor: 1, inode: 42 }], 77);
        for bad in
            ["nonsense", "1: FLOCK ADVISORY READ x 00:2f:1 0 EOF", "1: FLOCK ADVISORY READ 1 0:1:2:3 0 EOF"]
        {
            assert!(parse_locks(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_unlocked_files_are_left_over() {
        let unreadable = ReadError { path: LOCKS.into(), reason: crate::root::Reason::Denied };
        let held = |inodes: &[u64]| Ok(inodes.iter().map(|&inode| (id(inode), 1234)).collect());
        for (files, holders, status, words) in [
            (vec![], held(&[]), Status::Pass, "none"),
            (vec![1, 2], held(&[1, 2]), Status::Pass, "2 files, all in use by process 1234"),
            (vec![1, 2, 3], held(&[3]), Status::Warn, "2 files holding 4 MB, of 3 in all"),
            (vec![1], held(&[]), Status::Warn, "1 file holding 2 MB"),
            (vec![1, 2], Err(unreadable), Status::Warn, "in use or left over"),
        ] {
            let verdict = decide(&found(&files), &holders);
            assert_eq!(verdict.status, status, "{}", verdict.summary);
            assert!(verdict.summary.contains(words), "{}", verdict.summary);
        }
    }

    #[test]
    fn the_remedy_spares_what_is_in_use() {
        let remedy = remove(&found(&[1, 2]));
        assert_eq!(remedy.commands, [r#"for f in /dev/hugepages/rtemap_*; do flock -n "$f" rm "$f"; done"#]);
    }
}
