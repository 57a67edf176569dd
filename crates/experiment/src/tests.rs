use linerate_traffic::span::Span;

use super::*;

const HEAD: &str = "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\n";

fn parse(spec: &str) -> Result<Experiment, String> {
    let text = if spec.is_empty() { HEAD.to_owned() } else { format!("{HEAD}spec:\n{spec}") };
    Experiment::parse(&text, "e.yaml", &Overrides::default()).map_err(|error| error.to_string())
}

fn names(experiment: &Experiment) -> Vec<String> {
    experiment.profiles.iter().map(Profile::name).collect()
}

#[test]
fn a_bare_head_is_an_experiment() {
    let experiment = parse("").unwrap();
    assert_eq!(names(&experiment), ["profile_1_flows_pkt_size_64B_10_rate_s"]);
    assert_eq!(experiment.limit(), Limit { duration_ms: Some(10_000), packets: None });
    assert_eq!((experiment.pairs(), experiment.platform()), (1, PlatformKind::Local));
}

#[test]
fn the_built_in_document_is_valid() {
    let experiment = Experiment::load(None, &Overrides::default()).unwrap();
    assert_eq!(experiment.name(), "first-light");
    assert_eq!(experiment.profiles.len(), 6);
}

#[test]
fn every_example_is_valid() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(paths.len() >= 2);
    for path in paths.into_iter().filter(|path| path.is_file()) {
        Experiment::load(Some(&path), &Overrides::default()).unwrap();
    }
}

#[test]
fn the_matrix_runs_over_sizes_then_flows_then_rates() {
    let experiment =
        parse("  traffic:\n    frameSizes: [512, 64]\n    flows: [1, 100]\n    rates: [1mpps, max]\n")
            .unwrap();
    let expected: Vec<String> = [512, 64]
        .into_iter()
        .flat_map(|size| [1, 100].map(|flows| (size, flows)))
        .flat_map(|(size, flows)| {
            ["1mpps", "max"].map(|rate| format!("profile_{flows}_flows_pkt_size_{size}B_{rate}_rate_s"))
        })
        .collect();
    assert_eq!(names(&experiment), expected);
}

#[test]
fn a_list_of_profiles_keeps_its_order() {
    let experiment = parse("  profiles:\n  - frameSize: 512\n    rate: 1kpps\n  - flows: 3\n").unwrap();
    assert_eq!(
        names(&experiment),
        ["profile_1_flows_pkt_size_512B_1000pps_rate_s", "profile_3_flows_pkt_size_64B_10_rate_s"]
    );
    assert!(experiment.document.spec.traffic.is_none());
}

#[test]
fn the_document_in_force_reads_as_the_same_experiment() {
    for spec in ["", "  profiles:\n  - frameSize: 512\n", "  trial:\n    packets: 5000\n  pairs: 3\n"] {
        let experiment = parse(spec).unwrap();
        let yaml = experiment.to_yaml().unwrap();
        let again = Experiment::parse(&yaml, "in force", &Overrides::default()).unwrap();
        assert_eq!(again.to_yaml().unwrap(), yaml);
        assert_eq!(
            (again.profiles.clone(), again.limit()),
            (experiment.profiles.clone(), experiment.limit())
        );
        assert!(yaml.contains("sampleInterval: 1s"), "{yaml}");
    }
}

#[test]
fn the_command_line_overrides_the_document() {
    let mut overrides = Overrides::default();
    overrides.platform(PlatformKind::Kubernetes);
    overrides.duration(Span::from_secs(60));
    let text = format!("{HEAD}spec:\n  trial:\n    packets: 10\n");
    let experiment = Experiment::parse(&text, "e.yaml", &overrides).unwrap();
    assert_eq!(experiment.limit(), Limit { duration_ms: Some(60_000), packets: None });
    assert_eq!(experiment.platform(), PlatformKind::Kubernetes);
    let mut overrides = Overrides::default();
    overrides.duration(Span::from_millis(1));
    let message = Experiment::parse(&text, "e.yaml", &overrides).unwrap_err().to_string();
    assert!(message.contains("--duration: '1ms' is outside 10ms to 30days"), "{message}");
}

#[test]
fn errors_name_file_line_field_value_and_range() {
    // (spec, parts of the message)
    for (spec, parts) in [
        ("  pairs: 0\n", &["e.yaml", "line 4 column 10", "pairs", "'0'", "1 to 1000"][..]),
        ("  pairs: two\n", &["line 4", "'two' is not a whole number from 1 to 1000"]),
        ("  traffic:\n    frameSizes: [64, 63]\n", &["line 5 column 22", "frameSizes", "'63'", "64 to 9000"]),
        ("  traffic:\n    rates: [100]\n", &["line 5", "'100' is not a rate such as 50%"]),
        ("  traffic:\n    rates: []\n", &["line 5", "spec.traffic.rates: the list is empty"]),
        ("  traffic:\n    flowMode: SD\n", &["line 5", "SD", "expected one of s, d, sd"]),
        ("  traffic:\n    framesizes: [64]\n", &["line 5", "unknown field `framesizes`", "frameSizes"]),
        (
            "  traffic:\n    flows: [1, 70000]\n    flowMode: sdpd\n",
            &["e.yaml: line 5 column 16", "spec.traffic.sourcePort", "70000 values from 1024", "fewer flows"],
        ),
        ("  traffic:\n    flows: [1, 1]\n", &["line 5 column 16", "two profiles have the name", "repeats"]),
        ("  profiles:\n  - flows: 1\n  - flows: 0\n", &["line 6", "flows: 0 is outside 1…4194304"]),
        ("  profiles: []\n", &["line 4", "spec.profiles: the list is empty"]),
        ("  profiles: [{}]\n  traffic: {}\n", &["line 4", "beside spec.traffic; remove one"]),
        ("  trial:\n    duration: 10\n", &["line 5", "'10' is not a duration such as 10s"]),
        ("  trial:\n    sampleInterval: 1ms\n", &["line 5", "'1ms' is outside 10ms to 1h"]),
        ("  local:\n    hugepages: maybe\n", &["line 5", "maybe", "auto, never, always"]),
        ("  platform: vmware\n", &["line 4", "vmware", "local, kubernetes"]),
        ("  pairs: 1\n  pairs: 2\n", &["line 5", "given twice", "pairs"]),
    ] {
        let message = parse(spec).expect_err(spec);
        for part in parts {
            assert!(message.contains(part), "{spec}\nlacks {part:?}:\n{message}");
        }
    }
}

#[test]
fn other_heads_are_refused() {
    for (text, part) in [
        ("", "unexpected end"),
        ("kind: Experiment\n", "missing field `apiVersion`"),
        ("apiVersion: v1\nkind: Experiment\n", "linerate.dev/v1alpha1"),
        ("apiVersion: linerate.dev/v1alpha1\nkind: Pod\n", "Experiment"),
        (
            "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nmetadata: {name: First Light}\n",
            "'First Light' is not a name",
        ),
    ] {
        let message = Experiment::parse(text, "e.yaml", &Overrides::default()).unwrap_err().to_string();
        assert!(message.contains(part) && message.starts_with("e.yaml"), "{text}\n{message}");
    }
    let missing = Experiment::load(Some(Path::new("/nowhere/e.yaml")), &Overrides::default());
    assert!(missing.unwrap_err().to_string().starts_with("/nowhere/e.yaml: No such file"));
}
