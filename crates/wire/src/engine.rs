//! Description of an agent's engine: the part of the agent that sends and receives the traffic.

use serde::{Deserialize, Serialize};

use crate::network::PortNetwork;
use crate::port::PortInfo;
use crate::streams::StreamsEngine;

/// An engine, by its kind of traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineInfo {
    /// Frames on a port.
    Frames(Box<FrameEngine>),
    /// Streams through the kernel's sockets.
    Streams(Box<StreamsEngine>),
}

/// Engine that sends and receives frames on a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameEngine {
    /// Version of DPDK that the engine uses.
    pub dpdk: String,
    /// The engine's port.
    pub port: PortInfo,
    /// Worker lcores, in the order of use.
    pub lcores: Vec<u32>,
    /// True when packet memory is not in hugepages.
    pub no_huge: bool,
    /// The port's addresses and their resolver; absent for a port without addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<PortNetwork>,
}

impl EngineInfo {
    /// The engine for frames; `None` for other kinds of traffic.
    pub fn frames(&self) -> Option<&FrameEngine> {
        match self {
            EngineInfo::Frames(frames) => Some(frames),
            EngineInfo::Streams(_) => None,
        }
    }

    /// The engine for streams; `None` for other kinds of traffic.
    pub fn streams(&self) -> Option<&StreamsEngine> {
        match self {
            EngineInfo::Streams(streams) => Some(streams),
            EngineInfo::Frames(_) => None,
        }
    }
}
