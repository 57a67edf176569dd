use super::*;
use crate::Overrides;
use crate::kubernetes::LinkKind;
use crate::strategy::strategy;

fn parsed(spec: &str) -> Result<Experiment, String> {
    let text = format!("apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec: {{{spec}}}\n");
    Experiment::parse(&text, "e.yaml", &Overrides::default()).map_err(|error| error.to_string())
}

const TRAFFIC: &str =
    "traffic: {frameSizes: [64, 512], flows: [1, 10], rates: [100kpps, max]}, trial: {duration: 2s}";

#[test]
fn every_engine_carries_every_profile() {
    let experiment = parsed(&format!("engines: [sockets, memif, af_packet, af_xdp], {TRAFFIC}")).unwrap();
    let plan = EnginesPlan::of(&experiment, None).unwrap().unwrap();
    assert_eq!((plan.count(), plan.frames().count(), plan.datagrams().count()), (32, 24, 8));
    let names: std::collections::BTreeSet<_> = plan
        .frames()
        .map(|trial| trial.name.clone())
        .chain(plan.datagrams().map(|trial| trial.profile.name.clone()))
        .collect();
    assert_eq!(names.len(), 32, "results are filed under the names");
    let numbers: Vec<u32> = plan.datagrams().map(|trial| trial.number).collect();
    assert_eq!(numbers, (25..=32).collect::<Vec<_>>());
    let sent = &plan.datagrams().nth(6).unwrap().profile;
    assert!(
        sent.name.starts_with("profile_10_flows_pkt_size_512B_100kpps_rate_sourcePort_"),
        "{}",
        sent.name
    );
    assert!(sent.name.ends_with("_sockets"), "{}", sent.name);
    assert_eq!((sent.spec.streams, sent.spec.block_bytes), (10, 466));
    assert_eq!(sent.spec.load, Load::DatagramsPerSecond(100e3));
    let agents: Vec<_> = plan
        .parts
        .iter()
        .flat_map(|part| {
            part.experiment.topology().agents().map(|agent| agent.name.clone()).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(agents, ["tx0", "rx0", "tx1", "rx1", "tx2", "rx2", "tx3", "rx3"]);
    let devices = |part: usize| {
        plan.parts[part].experiment.local().devices.clone().map(|pairs| pairs.value[0].tx.clone())
    };
    assert_eq!(devices(1), None);
    assert_eq!(devices(2), Some(Device::Virtual("net_af_packet0,iface=net0,qpairs=1,framecnt=1024".into())));
    // What a resumed run and validation replay are the trials of frames.
    assert_eq!(strategy(&experiment, None).unwrap().foreseen().len(), 24);
}

#[test]
fn filters_select_engines_and_keys_do_not_depend_on_the_list() {
    let keys = |engines: &str| {
        let experiment = parsed(&format!("engines: [{engines}], {TRAFFIC}")).unwrap();
        let plan = EnginesPlan::of(&experiment, Some("af_packet")).unwrap().unwrap();
        assert_eq!(plan.parts.len(), 1);
        plan.frames().map(|trial| trial.key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(keys("memif, af_packet"), keys("af_packet, sockets"));
    let experiment = parsed(&format!("engines: [memif, af_packet], {TRAFFIC}")).unwrap();
    let of = |engine: &str| {
        EnginesPlan::of(&experiment, Some(engine)).unwrap().unwrap().frames().next().unwrap().key.clone()
    };
    assert_ne!(of("memif"), of("af_packet"));
    let none = EnginesPlan::of(&experiment, Some("sockets")).unwrap_err().to_string();
    assert!(none.contains("'sockets'") && none.contains("_memif"), "{none}");
    assert!(EnginesPlan::of(&parsed(TRAFFIC).unwrap(), None).unwrap().is_none());
}

#[test]
fn cores_and_ip_versions_are_those_of_every_engine() {
    let spec = "cores: [1, 3], engines: [memif, sockets], traffic: {frameSizes: [128], rates: [1kpps], source: {ip: '::'}}";
    let experiment = parsed(spec).unwrap();
    let plan = EnginesPlan::of(&experiment, None).unwrap().unwrap();
    let names: Vec<_> = plan.frames().map(|trial| &trial.name).collect();
    assert!(names.len() == 2 && names[1].ends_with("_3_cores_memif"), "{names:?}");
    let sent: Vec<_> = plan.datagrams().map(|trial| &trial.profile).collect();
    assert_eq!((sent.len(), sent[1].spec.block_bytes), (2, 62), "the headers of IPv6 are larger");
    assert_eq!(sent[1].frames.as_ref().unwrap().workers, 3);
    let part = plan.parts[3].experiment.part.unwrap();
    assert_eq!((part.version, part.number), (IpVersion::V6, 3));
    assert_eq!(
        parsed("cores: [2], traffic: {rates: [1kpps]}").unwrap().parts()[0].engine(),
        Some(EngineName::Memif)
    );
    for (spec, part) in [
        ("cores: [], traffic: {rates: [1kpps]}", "spec.cores: the list is empty"),
        ("cores: [1, 1], traffic: {rates: [1kpps]}", "spec.cores: 1 stands twice"),
        (
            "cores: [1], agents: {workers: {tx: 2}}, traffic: {rates: [1kpps]}",
            "spec.agents.workers: given beside",
        ),
    ] {
        let problem = parsed(spec).map(|_| ()).unwrap_err();
        assert!(problem.contains(part), "{spec}: {problem}");
    }
}

#[test]
fn pods_of_each_engine_have_its_link_and_its_image() {
    let text = "platform: kubernetes, engines: [devices, af_packet, af_xdp, sockets], traffic: {rates: [1kpps]}, kubernetes: {hostplaneImage: h:1}";
    let parts = parsed(text).unwrap().parts();
    let settings: Vec<_> = parts.iter().map(Experiment::kubernetes).collect();
    let links: Vec<LinkKind> = settings[..3].iter().map(|settings| settings.link.kind).collect();
    assert_eq!(links, [LinkKind::Device, LinkKind::AfPacket, LinkKind::AfXdp]);
    assert_eq!(settings.iter().map(|settings| settings.resources.len()).collect::<Vec<_>>(), [1, 0, 0, 0]);
    assert!(settings[2].image.starts_with("localhost/linerate:") && settings[3].image == "h:1");
    assert!(parts.iter().all(|part| part.local().devices.is_none()));
    // One link, with several numbers of cores.
    let text =
        "platform: kubernetes, cores: [1, 2], traffic: {rates: [1kpps]}, kubernetes: {link: {kind: afXdp}}";
    let experiment = parsed(text).unwrap();
    let engines: Vec<_> =
        experiment.parts().iter().map(|part| (part.engine(), part.kubernetes().link.kind)).collect();
    assert_eq!(engines, [(Some(EngineName::AfXdp), LinkKind::AfXdp); 2]);
    assert!(parsed("engines: [memif], platform: kubernetes, traffic: {rates: [1kpps]}").is_ok());
}

#[test]
fn what_engines_cannot_do_alike_is_refused() {
    for (spec, part) in [
        ("engines: []", "spec.engines: the list is empty"),
        ("engines: [memif, memif], traffic: {rates: [1kpps]}", "memif stands twice"),
        ("engines: [memif]", "spec.traffic.rates: missing"),
        ("engines: [memif], traffic: {rates: [10%]}", "share of a link's speed"),
        ("engines: [memif], pairs: 2, traffic: {rates: [1kpps]}", "spec.pairs: given beside spec.engines"),
        ("engines: [memif], streams: {}", "spec.streams: given beside"),
        ("engines: [devices], traffic: {rates: [1kpps]}", "without spec.local.devices"),
        (
            "engines: [memif], traffic: {rates: [1kpps]}, trial: {direction: round-trip}",
            "spec.trial.direction",
        ),
        (
            "engines: [sockets], platform: kubernetes, kubernetes: {link: {kind: memif}}, traffic: {rates: [1kpps]}",
            "spec.kubernetes.link.kind: given beside",
        ),
        (
            "engines: [sockets], platform: kubernetes, kubernetes: {keep: true}, traffic: {rates: [1kpps]}",
            "spec.kubernetes.keep: given beside",
        ),
        (
            "engines: [memif, sockets], platform: kubernetes, traffic: {rates: [1kpps]}",
            "spec.kubernetes.placement: given beside",
        ),
        (
            "engines: [memif], platform: kubernetes, kubernetes: {placement: differentNodes}, traffic: {rates: [1kpps]}",
            "spec.kubernetes.placement: given beside",
        ),
        (
            "engines: [sockets], traffic: {frameSizes: [128], rates: [1kpps], protocol: tcp}",
            "sockets send UDP",
        ),
        ("engines: [sockets], traffic: {rates: [1kpps], burst: 8}", "sockets pace every datagram"),
        ("engines: [sockets], traffic: {rates: [1kpps], flows: [2], flowMode: sd}", "differ in sourceIp"),
        ("engines: [sockets], traffic: {rates: [1kpps], flows: [20000]}", "streams: 20000 is outside"),
        (
            "engines: [memif], profiles: [{rate: 1kpps}, {rate: 1kpps, frameSize: 128, source: {ip: '::'}}]",
            "others have another IP version",
        ),
        ("engines: [memif], traffic: {rates: [1kpps], destination: {ip: 10.0.0.1}}", "it names addresses"),
    ] {
        let problem = parsed(spec).map(|_| ()).unwrap_err();
        assert!(problem.contains(part), "{spec}: {problem}");
    }
    // Without sockets, frames may have what sockets do not.
    parsed("engines: [memif, af_packet], traffic: {rates: [1kpps], burst: 8, flows: [20000]}").unwrap();
}
