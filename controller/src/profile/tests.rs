use super::*;

const HEAD: &str = "apiVersion: linerate.dev/v1alpha1\nkind: Profile\n";

fn problem(spec: &str) -> ProfileFileError {
    parse(&format!("{HEAD}spec:\n{spec}"), "p.yaml").expect_err(spec)
}

#[test]
fn errors_name_file_line_field_value_and_range() {
    for (spec, place, parts) in [
        ("  frameSize: 63\n", (4, 14), &["p.yaml", "frame size '63'", "64 to 9000"][..]),
        ("  flows: 5\n  flows: 6\n", (5, 3), &["given twice", "flows"]),
        ("  flow: 5\n", (4, 3), &["unknown field `flow`", "flows"]),
        ("  rate: 101%\n", (4, 9), &["'101%' is not a rate"]),
        ("  source: {ip: 10.0.0.256, port: 1}\n", (4, 16), &["ip"]),
        (
            "  burst: 1\n  flows: 0\n",
            (5, 10),
            &["p.yaml: line 5 column 10: spec.flows: 0 is outside 1…4194304"],
        ),
        ("  vlan:\n    id: 7\n    priority: 9\n", (6, 15), &["spec.vlan.priority: 9 is outside 0…7"]),
        ("  flows: 9\n  vary:\n    ttl: {step: 0}\n", (6, 17), &["spec.vary.ttl.step: 0"]),
        ("  vary:\n    flowLabel: {}\n", (5, 16), &["IPv4 has no such field"]),
        ("  protocol: tcp\n  frameSize: 64\n", (5, 14), &["64 bytes", "the smallest size is 74"]),
        ("  stages:\n  - {rate: max, duration: 1s}\n", (5, 12), &["stages[0]: 'max'"]),
        ("  flows: 64513\n  flowMode: sdpd\n", (4, 10), &["sourcePort: 64513 values from 1024", "65535"]),
        ("  flows: 9\n  source: {ip: 255.255.255.250, port: 1}\n", (4, 10), &["sourceIp", "255.255.255.255"]),
    ] {
        let problem = problem(spec);
        assert_eq!(problem.place(), Some(place), "{spec}{problem}");
        let message = problem.to_string();
        for part in parts {
            assert!(message.contains(part), "{spec}lacks {part:?}:\n{message}");
        }
    }
}

#[test]
fn what_is_no_document_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let large = directory.path().join("large.yaml");
    fs::write(&large, "#".repeat(LARGEST_DOCUMENT_BYTES as usize + 1)).unwrap();
    assert!(load(&large).unwrap_err().to_string().contains("1048577 bytes are too many"));
    let missing = load(Path::new("/nowhere/p.yaml")).unwrap_err();
    assert!(missing.to_string().starts_with("/nowhere/p.yaml: No such file"), "{missing}");
    assert_eq!(missing.place(), None);
    for text in ["", "spec: {}", "{", &"{".repeat(10_000), "- 1", "apiVersion: v1\nkind: Profile\nspec: {}"] {
        assert!(matches!(parse(text, "p.yaml"), Err(ProfileFileError::Form { .. })), "{text:.40}");
    }
}

#[test]
fn written_profiles_are_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let text = format!("{HEAD}spec:\n  flows: 100\n  flowMode: sd\n  rate: 1mpps\n");
    let profile = parse(&text, "p.yaml").unwrap().profile;
    let path = file_in(&directory.path().join("tx0-rx0"), &profile);
    write(&[(path.clone(), &profile)], false).unwrap();
    assert!(path.ends_with("tx0-rx0/profile_100_flows_pkt_size_64B_1mpps_rate_sd.yaml"));
    let loaded = load(&path).unwrap();
    assert_eq!(loaded.profile, profile);
    assert_eq!(loaded.document.metadata.name, Some(profile.name()));

    let message = write(&[(path.clone(), &profile)], false).unwrap_err().to_string();
    assert!(
        message.contains("_sd.yaml exists; nothing was written") && message.contains("--force"),
        "{message}"
    );
    write(&[(path, &profile)], true).unwrap();
}

#[test]
fn profiles_are_found_by_name_and_near_names_are_offered() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let profile = |flows| parse(&format!("{HEAD}spec: {{flows: {flows}}}"), "p").unwrap().profile;
    for (pair, flows) in [("tx0-rx0", 1), ("tx0-rx0", 100), ("tx1-rx1", 100)] {
        let profile = profile(flows);
        write(&[(file_in(&root.join(pair), &profile), &profile)], false).unwrap();
    }
    fs::write(root.join("tx0-rx0/own.yaml"), format!("{HEAD}metadata: {{name: mine}}\nspec: {{flows: 7}}\n"))
        .unwrap();
    fs::write(root.join("tx1-rx1/own.yaml"), format!("{HEAD}spec: {{flows: 8}}\n")).unwrap();
    fs::write(root.join("bad.yaml"), "kind: Pod\n").unwrap();
    fs::write(root.join("notes.txt"), "").unwrap();

    let listed = library::list(root).unwrap();
    assert_eq!(listed.len(), 6);
    assert_eq!(listed.iter().filter(|(_, loaded)| loaded.is_err()).count(), 1);

    let flows = |name: &str| library::find(name, root).map(|(_, loaded)| loaded.profile.flows());
    assert_eq!(flows("profile_100_flows_pkt_size_64B_10_rate_s").unwrap(), 100);
    assert_eq!(flows("mine").unwrap(), 7);
    assert_eq!(flows("tx1-rx1/own").unwrap(), 8);
    assert_eq!(flows(&root.join("tx0-rx0/own.yaml").display().to_string()).unwrap(), 7);
    let message = |name| flows(name).unwrap_err().to_string();
    assert!(message("own").contains("different profiles"), "{}", message("own"));
    let near = message("profile_10_flows_pkt_size_64B_10_rate_s");
    assert!(
        near.contains("did you mean profile_") && near.contains("profile_100_flows_pkt_size_64B"),
        "{near}"
    );
    assert!(message("zzz").contains("linerate profile list"), "{}", message("zzz"));
    assert!(message("bad").contains("bad.yaml"), "{}", message("bad"));
}
