//! What a client asks for, and whether this server admits it.

use std::net::{IpAddr, SocketAddr};

use linerate_iperf3::frame::MOST_PARAMETERS;
use linerate_iperf3::parameters::Parameters;
use linerate_iperf3::state::{ServerError, State};
use linerate_logging::terminal::escaped_line;
use linerate_traffic::limit::Limit;
use linerate_traffic::safety::{PacketLoad, UnsafeStreams};

use super::Context;
use super::test::{Break, refused};
use crate::iperf3::STEP_TIME;
use crate::iperf3::link::{Link, LinkError};
use crate::iperf3::plan::trial;
use crate::server::trial::check_descriptors;
use crate::spec::TrialSpec;

/// What a client asks for, checked.
pub(super) struct Asked {
    pub(super) spec: TrialSpec,
    pub(super) omit_s: u64,
    pub(super) wide: bool,
    pub(super) version: Option<String>,
    pub(super) remarks: Vec<String>,
    /// Highest load that ceilings admit: packets per second, and bytes per second.
    pub(super) ceiling: Option<(f64, f64)>,
}

/// Asks for the parameters, and checks them.
pub(super) async fn agree(context: &Context, link: &mut Link, client: SocketAddr) -> Result<Asked, Break> {
    link.send(State::ParameterExchange).await?;
    let json = match link.frame(MOST_PARAMETERS, STEP_TIME).await {
        Err(LinkError::Foreign(words)) => return Err(refused(ServerError::PARAMETERS, words)),
        other => other?,
    };
    let parameters = Parameters::parse(&json);
    let parameters = parameters.map_err(|error| refused(ServerError::PARAMETERS, error.to_string()))?;
    let (spec, mut remarks) = trial(&parameters, context.config.most_streams).map_err(Break::Refused)?;
    if parameters.has_user {
        remarks.push("the client sent a user's proof, which this server does not check".to_owned());
    }
    let ceiling = check(context, &spec, client.ip())?;
    Ok(Asked {
        omit_s: parameters.omit_s,
        wide: parameters.wide_counters,
        version: parameters.client_version.as_deref().map(escaped_line),
        spec,
        remarks,
        ceiling,
    })
}

/// Holds a test to the ceilings and to the file descriptors.
fn check(context: &Context, spec: &TrialSpec, client: IpAddr) -> Result<Option<(f64, f64)>, Break> {
    if *context.stop.borrow() {
        return Err(Break::Ending);
    }
    let (packets_per_second, packet_bytes) = spec.each.packets(client.is_ipv6());
    let load = PacketLoad { packets_per_second, packet_bytes };
    let limit = Limit { duration_ms: spec.each.duration_ms, packets: None };
    let ceilings = &context.config.ceilings;
    ceilings.check_streams(&load, &limit, Some(client)).map_err(|error| {
        let code = match error {
            UnsafeStreams::Duration { .. } => ServerError::DURATION,
            UnsafeStreams::Address { .. } => ServerError::NEW_TEST,
            _ => ServerError::LOAD,
        };
        refused(code, error.to_string())
    })?;
    check_descriptors(spec.total_streams().into()).map_err(|words| refused(ServerError::NEW_TEST, words))?;
    let packets = ceilings.most_packets_per_second(packet_bytes).ok().flatten();
    Ok(packets.map(|packets| (packets, packets * packet_bytes)))
}
