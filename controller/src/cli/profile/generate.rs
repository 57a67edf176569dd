//! `profile generate`: writes a matrix of profiles to the directories of pairs.

use std::collections::BTreeSet;

use linerate_traffic::profile::{Endpoint, Profile, RawProfile};
use serde_json::json;

use super::{GenerateArgs, Several};
use crate::cli::Ending;
use crate::cli::output::{print, shown};
use crate::profile::matrix::Matrix;
use crate::profile::{file_in, write};

pub(super) fn generate(args: GenerateArgs) -> anyhow::Result<Ending> {
    let common = common(&args);
    let matrix = Matrix {
        sizes: Several::all(args.size),
        flows: args.flows,
        rates: Several::all(args.rate),
        modes: args.flow_mode,
        common,
    };
    let profiles = matrix.profiles()?;
    let mut pairs = args.pair;
    let mut known = BTreeSet::new();
    pairs.retain(|pair| known.insert(pair.clone()));
    let files: Vec<_> = pairs
        .iter()
        .flat_map(|pair| {
            let directory = args.out.join(pair);
            profiles.iter().map(move |profile| (file_in(&directory, profile), profile))
        })
        .collect();
    write(&files, args.force)?;
    if args.json {
        let written: Vec<_> = files
            .iter()
            .map(|(file, profile)| json!({ "name": profile.name(), "file": shown(file) }))
            .collect();
        print(&serde_json::to_string(&json!({ "written": written }))?)?;
    } else {
        for pair in &pairs {
            print(&said(&profiles, &shown(&args.out.join(pair))))?;
        }
    }
    Ok(Ending::Done)
}

fn said(profiles: &[Profile], directory: &str) -> String {
    match profiles {
        [only] => format!("wrote {directory}/{}.yaml", only.name()),
        _ => format!("wrote {} profiles to {directory}", profiles.len()),
    }
}

fn common(args: &GenerateArgs) -> RawProfile {
    let default = RawProfile::default();
    let end = |end: Endpoint, ip: Option<_>, port: Option<_>, mac| Endpoint {
        ip: ip.or(end.ip),
        port: port.unwrap_or(end.port),
        mac,
    };
    RawProfile {
        source: end(default.source, args.src_ip, args.src_port, args.src_mac),
        destination: end(default.destination, args.dst_ip, args.dst_port, args.dst_mac),
        protocol: args.protocol,
        vlan: args.vlan,
        dscp: args.dscp,
        ttl: args.ttl,
        burst: args.burst,
        payload: args.payload.clone(),
        ..default
    }
}
