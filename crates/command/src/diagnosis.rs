//! Options of `linerate-hostplane diagnose` and `linerate diagnose`: what is measured.

use std::net::IpAddr;

use clap::Args;
use clap::builder::PossibleValuesParser;
use linerate_hardware::CpuSet;
use linerate_traffic::rate::Rate;
use linerate_traffic::span::Span;
use linerate_wire::diagnosis::{DiagnosisSpec, SweepEnds};
use linerate_wire::streams::Load;

use crate::bytes::Bytes;
use crate::rate::{bit_rate, datagram_rate};

/// Port of a server that answers measurements.
pub const DEFAULT_PORT: u16 = 22023;

/// What a diagnosis measures, as written.
#[derive(Debug, Clone, Args)]
pub struct DiagnosisArgs {
    /// Time of sending of each measurement; those of single CPUs take half of it
    #[arg(long, short = 't', value_name = "TIME", default_value = "2s")]
    duration: Span,
    /// Load of TCP, such as 100mbps, or max
    #[arg(long, short = 'b', value_name = "RATE", value_parser = bit_rate, default_value = "max")]
    rate: Rate,
    /// Load of UDP, such as 1gbps or 50kpps [default: 100mbps, or 80 % of what TCP reached]
    #[arg(long, value_name = "RATE", value_parser = datagram_rate)]
    udp_rate: Option<Rate>,
    /// Streams of the measurement with several; 1 leaves it out
    #[arg(long, short = 'P', value_name = "N", default_value_t = 4)]
    parallel: u32,
    /// Send and receive buffer of TCP sockets, to see what the kernel grants [default: the kernel's, which it adapts]
    #[arg(long, short, value_name = "BYTES")]
    window: Option<Bytes>,
    /// Ends whose CPUs are tried one by one
    #[arg(long, value_name = "ENDS", value_parser = PossibleValuesParser::new(SweepEnds::NAMES), default_value = "both")]
    sweep: String,
    /// CPUs of this end that are tried, such as 0-7 [default: at most 8, at equal distances]
    #[arg(long, value_name = "CPUS")]
    sweep_cpus: Option<CpuSet>,
    /// Node whose BGP port (TCP 179) must answer, for Calico; may be repeated [default: the server is asked, without a judgement]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    node: Vec<IpAddr>,
}

impl DiagnosisArgs {
    /// The validated measurements.
    ///
    /// # Errors
    /// Option, value, and what is allowed.
    pub fn validate(&self) -> Result<DiagnosisSpec, String> {
        let load = match self.rate {
            Rate::Max => Load::Max,
            Rate::Bps(bps) => Load::BitsPerSecond(bps),
            other => {
                return Err(format!(
                    "--rate {other}: TCP streams take bits per second, such as 100mbps, or max"
                ));
            }
        };
        let datagrams = match self.udp_rate {
            None => None,
            Some(Rate::Bps(bps)) => Some(Load::BitsPerSecond(bps)),
            Some(Rate::Pps(pps)) => Some(Load::DatagramsPerSecond(pps)),
            Some(other) => {
                return Err(format!(
                    "--udp-rate {other}: give bits or datagrams per second, such as 1gbps or 50kpps"
                ));
            }
        };
        let window_bytes = match self.window {
            Some(Bytes(bytes)) => {
                Some(u32::try_from(bytes).map_err(|_| format!("--window: {bytes} bytes are too many"))?)
            }
            None => None,
        };
        let spec = DiagnosisSpec {
            duration_ms: u64::try_from(self.duration.0.as_millis()).unwrap_or(u64::MAX),
            load,
            datagrams,
            parallel: self.parallel,
            window_bytes,
            sweep: self.sweep.parse()?,
            sweep_cpus: self.sweep_cpus.iter().flat_map(CpuSet::iter).collect(),
            nodes: self.node.clone(),
        };
        spec.check()?;
        Ok(spec)
    }
}
