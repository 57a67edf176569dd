//! The reader on files of every kind.

use std::os::unix::ffi::OsStrExt;

use super::*;

fn fixture() -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::at(dir.path());
    (dir, root)
}

#[test]
fn every_kind_of_bad_file_has_its_reason() {
    let (dir, root) = fixture();
    let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    put("number", b"512\n");
    put("limit", &vec![b'1'; READ_LIMIT as usize]);
    put("huge", &vec![b'1'; READ_LIMIT as usize + 1]);
    put("binary", b"\xff\xfe");
    fs::create_dir(dir.path().join("dir")).unwrap();
    rustix::fs::mknodat(
        CWD,
        dir.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();

    assert_eq!(root.read_number("/number"), Ok(512));
    assert_eq!(root.read("/limit").map(|text| text.len() as u64), Ok(READ_LIMIT));
    for (name, reason) in [
        ("/nothing", Reason::Missing),
        ("/number/below", Reason::NotADirectory),
        ("/huge", Reason::TooLarge(READ_LIMIT)),
        ("/binary", Reason::NotUtf8),
        ("/dir", Reason::NotAFile),
        ("/pipe", Reason::NotAFile),
    ] {
        let error = root.read(name).unwrap_err();
        assert_eq!((error.path, error.reason), (root.resolve(name), reason), "{name}");
    }
}

#[test]
fn a_number_is_nothing_but_a_number() {
    let (dir, root) = fixture();
    for text in ["", "-1", "0x10", "12 34", "1e3", "18446744073709551616", "512 kB"] {
        fs::write(dir.path().join("n"), text).unwrap();
        let error = root.read_number("/n").unwrap_err();
        assert!(matches!(error.reason, Reason::Malformed(_)), "{text:?} gave {error}");
        assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
    }
}

#[test]
fn names_are_sorted_counted_and_refuse_what_is_not_utf8() {
    let (dir, root) = fixture();
    for name in ["b", "a"] {
        fs::write(dir.path().join(name), "").unwrap();
    }
    assert_eq!(root.names("/"), Ok(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(root.names_up_to("/", 2).map(|names| names.len()), Ok(2));
    assert_eq!(root.names_up_to("/", 1).unwrap_err().reason, Reason::TooMany(1));
    assert_eq!(root.names("/a").unwrap_err().reason, Reason::NotADirectory);
    fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
    assert_eq!(root.names("/").unwrap_err().reason, Reason::NotUtf8);
}

#[test]
fn absence_is_only_known_inside_a_directory_that_is_there() {
    let (dir, root) = fixture();
    fs::create_dir(dir.path().join("sys")).unwrap();
    assert_eq!(root.contains("/sys", "module"), Ok(false));
    assert_eq!(root.contains("/", "sys"), Ok(true));
    assert_eq!(root.contains("/proc", "cmdline").unwrap_err().reason, Reason::Missing);
}

#[test]
fn links_are_read_but_not_followed() {
    let (dir, root) = fixture();
    std::os::unix::fs::symlink("../../nowhere/vfio-pci", dir.path().join("driver")).unwrap();
    std::os::unix::fs::symlink("/", dir.path().join("slash")).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(root.link_name("/driver"), Ok(Some("vfio-pci".to_owned())));
    assert_eq!(root.link_name("/absent"), Ok(None));
    assert!(matches!(root.link_name("/slash").unwrap_err().reason, Reason::Malformed(_)));
    assert!(matches!(root.link_name("/file").unwrap_err().reason, Reason::Malformed(_)));
}

#[test]
fn no_text_leads_out_of_the_root() {
    let root = Root::at("/fixture");
    for path in ["/../etc/passwd", "../../etc/passwd", "/etc/./passwd", "etc//passwd"] {
        assert_eq!(root.resolve(path), Path::new("/fixture/etc/passwd"), "{path}");
    }
    assert_eq!(Root::host().resolve("/proc/cmdline"), Path::new("/proc/cmdline"));
}

#[test]
fn excerpts_are_short_and_escaped() {
    assert_eq!(excerpt("a\u{1b}[31m"), r#""a\u{1b}[31m""#);
    assert_eq!(excerpt(&"é".repeat(50)), format!("{:?}…", "é".repeat(40)));
}

#[test]
fn device_files_are_opened_on_this_machine_only() {
    assert_eq!(Root::host().try_open("/dev/null"), Ok(Opened::Yes));
    assert_eq!(Root::host().try_open("/dev/no-such-file").unwrap_err().reason, Reason::Missing);
    let (dir, root) = fixture();
    fs::write(dir.path().join("null"), "").unwrap();
    assert_eq!(root.try_open("/null").unwrap_err().reason, Reason::NotAFile);
}

#[test]
fn a_link_is_compared_word_by_word() {
    let (dir, root) = fixture();
    std::os::unix::fs::symlink("/dev/vfio/6", dir.path().join("20")).unwrap();
    for (path, target, expected) in
        [("/20", "/dev/vfio/6", true), ("/20", "/dev/vfio/66", false), ("/absent", "/dev/vfio/6", false)]
    {
        assert_eq!(root.links_to(path, target), expected, "{path} {target}");
    }
}

#[test]
fn absence_is_no_error_where_it_is_expected() {
    let (dir, root) = fixture();
    assert_eq!(root.read_if_there("/max"), Ok(None));
    fs::write(dir.path().join("max"), "max\n").unwrap();
    assert_eq!(root.read_if_there("/max"), Ok(Some("max\n".to_owned())));
    fs::create_dir(dir.path().join("dir")).unwrap();
    assert_eq!(root.read_if_there("/dir").unwrap_err().reason, Reason::NotAFile);
}
