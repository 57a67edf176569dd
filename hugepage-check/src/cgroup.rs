//! The control groups of this process, version 1 and 2, which contain its limits.
//!
//! Source: `/proc/self/cgroup` (`man 7 cgroups`) names the groups, `/proc/self/mountinfo`
//! (`man 5 proc_pid_mountinfo`) their directories. A limit applies to all groups below it, so the walk goes
//! up to the mount. A container with its own cgroup namespace cannot see further up.

use crate::mounts;
use crate::root::{ReadError, Reason, Root};

const GROUPS: &str = "/proc/self/cgroup";
const MOUNTS: &str = "/proc/self/mountinfo";

/// The two file layouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy per controller.
    V1,
    /// One hierarchy for all.
    V2,
}

/// The groups of one hierarchy that this process is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    /// Version, which determines the file names.
    pub version: Version,
    /// Directories: the process's own group first, then upwards to the mount.
    pub dirs: Vec<String>,
}

/// The groups that limit this process for `controller`, such as `hugetlb`; `None` when no mounted hierarchy
/// has the controller. A version 2 hierarchy does not imply that the controller is enabled: only its files
/// show that.
///
/// # Errors
/// The reason why one of the two files cannot be read, or the line that cannot be parsed.
pub fn find(root: &Root, controller: &str) -> Result<Option<Cgroup>, ReadError> {
    // A kernel without control groups has no such file and no such limits.
    if !root.contains("/proc/self", "cgroup")? {
        return Ok(None);
    }
    let groups = root.read(GROUPS)?;
    let memberships = parse_groups(&groups).map_err(|what| root.malformed(GROUPS, what))?;
    let own = |version| {
        memberships.iter().find(|group| match version {
            Version::V1 => group.controllers.split(',').any(|name| name == controller),
            Version::V2 => group.controllers.is_empty(),
        })
    };
    let table = root.read_up_to(MOUNTS, mounts::LIMIT)?;
    let mounted = parse_mounts(&table).map_err(|what| root.malformed(MOUNTS, what))?;
    for version in [Version::V1, Version::V2] {
        let Some(group) = own(version) else { continue };
        let mut hierarchy = mounted.iter().filter(|mount| mount.version == version);
        let mount = match version {
            Version::V1 => hierarchy.find(|mount| mount.options.split(',').any(|name| name == controller)),
            Version::V2 => hierarchy.next(),
        };
        if let Some(mount) = mount {
            return Ok(Some(Cgroup { version, dirs: walk(root, mount, group.path)? }));
        }
    }
    Ok(None)
}

/// A file of a group; `None` when the group has no such file, like the topmost group of version 2.
///
/// # Errors
/// As [`Root::read`], except [`Reason::Missing`].
pub fn read(root: &Root, dir: &str, file: &str) -> Result<Option<String>, ReadError> {
    root.read_if_there(&format!("{dir}/{file}"))
}

struct Membership<'a> {
    controllers: &'a str,
    path: &'a str,
}

/// Lines such as `4:hugetlb,pids:/kubepods/pod1` and `0::/user.slice`.
fn parse_groups(text: &str) -> Result<Vec<Membership<'_>>, String> {
    let parse = |line| {
        let mut fields = str::splitn(line, 3, ':').skip(1);
        match (fields.next(), fields.next()) {
            (Some(controllers), Some(path)) => Ok(Membership { controllers, path }),
            _ => Err(format!("expected number:controllers:path, found {}", crate::root::excerpt(line))),
        }
    };
    text.lines().map(parse).collect()
}

struct Mount {
    version: Version,
    /// The group that is visible at `path`.
    top: String,
    path: String,
    options: String,
}

fn parse_mounts(text: &str) -> Result<Vec<Mount>, String> {
    let mut mounts = Vec::new();
    for line in text.lines() {
        let parsed = line.split_once(" - ").and_then(|(place, kind)| {
            let mut place = place.split(' ').skip(3);
            let mut kind = kind.split(' ');
            Some((place.next()?, place.next()?, kind.next()?, kind.nth(1).unwrap_or_default()))
        });
        let Some((top, path, kind, options)) = parsed else {
            return Err(format!("expected a mount, found {}", crate::root::excerpt(line)));
        };
        let version = match kind {
            "cgroup" => Version::V1,
            "cgroup2" => Version::V2,
            _ => continue,
        };
        let (top, path) = (mounts::unescape(top)?, mounts::unescape(path)?);
        mounts.push(Mount { version, top, path, options: options.to_owned() });
    }
    Ok(mounts)
}

fn walk(root: &Root, mount: &Mount, group: &str) -> Result<Vec<String>, ReadError> {
    let mut dirs = vec![mount.path.clone()];
    let below = group.strip_prefix(mount.top.trim_end_matches('/')).unwrap_or_default();
    for part in below.split('/').filter(|part| !part.is_empty()) {
        // The group is outside the mount: the topmost visible group is the nearest one.
        if part == ".." {
            dirs.truncate(1);
            break;
        }
        let parent = dirs.last().map_or("", String::as_str);
        // A container without a cgroup namespace may see its own group at the mount, under another path.
        if !root.contains(parent, part)? {
            break;
        }
        dirs.push(format!("{}/{part}", parent.trim_end_matches('/')));
    }
    // Checked last, so that an absent mount is reported as such rather than as a group without limits.
    match root.contains(&mount.path, "cgroup.procs") {
        Err(error) if error.reason != Reason::Denied => return Err(error),
        _ => {}
    }
    dirs.reverse();
    Ok(dirs)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const V1: &str = "29 24 0:26 /pods /sys/fs/cgroup/hugetlb rw shared:9 - cgroup cgroup rw,hugetlb\n";
    const V2: &str = "30 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    fn dirs(groups: &str, mounts: &str, there: &[&str]) -> Result<Option<Vec<String>>, ReadError> {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("proc/self")).unwrap();
        fs::write(tree.path().join("proc/self/cgroup"), groups).unwrap();
        fs::write(tree.path().join("proc/self/mountinfo"), mounts).unwrap();
        for dir in there {
            fs::create_dir_all(tree.path().join(dir)).unwrap();
        }
        find(&Root::at(tree.path()), "hugetlb").map(|found| found.map(|cgroup| cgroup.dirs))
    }

    #[test]
    fn the_walk_goes_up_to_the_mount() {
        let v1 = "sys/fs/cgroup/hugetlb/a/b";
        let v2 = "sys/fs/cgroup/unified/a";
        for (groups, mounts, expected) in [
            (
                "4:pids,hugetlb:/pods/a/b\n0::/a\n",
                V1,
                &["/sys/fs/cgroup/hugetlb/a/b", "/sys/fs/cgroup/hugetlb/a", "/sys/fs/cgroup/hugetlb"][..],
            ),
            ("4:hugetlb:/elsewhere\n", V1, &["/sys/fs/cgroup/hugetlb"]),
            ("0::/a\n", V2, &["/sys/fs/cgroup/unified/a", "/sys/fs/cgroup/unified"]),
            ("0::/../../b\n", V2, &["/sys/fs/cgroup/unified"]),
            ("0::/a/gone\n", V2, &["/sys/fs/cgroup/unified/a", "/sys/fs/cgroup/unified"]),
        ] {
            assert_eq!(dirs(groups, mounts, &[v1, v2]).unwrap().unwrap(), expected, "{groups}");
        }
    }

    #[test]
    fn without_a_hierarchy_there_is_no_group() {
        assert_eq!(dirs("4:pids:/\n", V1, &["sys/fs/cgroup/hugetlb"]), Ok(None));
        assert_eq!(dirs("0::/\n", V1, &["sys/fs/cgroup/hugetlb"]), Ok(None));
        assert_eq!(dirs("", "", &[]), Ok(None));
    }

    #[test]
    fn broken_tables_are_named() {
        assert!(dirs("garbage\n", V2, &[]).unwrap_err().to_string().contains("garbage"));
        assert!(dirs("0::/\n", "garbage\n", &[]).unwrap_err().to_string().contains("garbage"));
        assert_eq!(dirs("0::/\n", V2, &[]).unwrap_err().reason, Reason::Missing);
    }
}
