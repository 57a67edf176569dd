//! Experiments of TCP and UDP streams: document, topology and trials.

mod connections;
mod plan;
mod profile;
mod section;

pub use connections::{
    Connection, InterfaceName, InterfaceRule, NodeRelation, StreamsTopology, TopologyKind, TopologySection,
};
pub use plan::{StreamsPlan, StreamsTrial, StreamsTrialView, StreamsView};
pub use profile::{FramesAsStreams, StreamsProfile};
pub use section::StreamsSection;
