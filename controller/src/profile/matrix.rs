//! Matrix of profiles: every frame size with every number of flows, every rate and every flow mode.

use linerate_traffic::frame::FrameSize;
use linerate_traffic::profile::{FlowMode, FrameSizes, Profile, ProfileError, RawProfile};
use linerate_traffic::rate::{Rate, RateError};
use linerate_traffic::sizes::FrameSizesError;

/// Default frame sizes of the matrix.
pub const SIZES: &str = "64,512,1500,2000,9000";
/// Default numbers of flows.
pub const FLOWS: &str = "1,100,10000";
/// Default rates.
pub const RATES: &str = "100%";

/// Dimensions of a matrix, and the common settings of its profiles.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Frame sizes and mixes.
    pub sizes: Vec<FrameSizes>,
    /// Numbers of flows.
    pub flows: Vec<u32>,
    /// Intended loads.
    pub rates: Vec<Rate>,
    /// Flow modes: the fields that differ between flows.
    pub modes: Vec<FlowMode>,
    /// Common settings.
    pub common: RawProfile,
}

/// Why a matrix is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatrixError {
    /// A place of the matrix is invalid.
    #[error("--size {size} --flows {flows} --rate {rate} --flow-mode {mode}: {reason}")]
    Profile {
        /// Frame size.
        size: String,
        /// Number of flows.
        flows: u32,
        /// Intended load.
        rate: String,
        /// Varied fields.
        mode: FlowMode,
        /// The reason.
        reason: Box<ProfileError>,
    },
    /// Two places have the same name.
    #[error(
        "two profiles have the name {0}, and files are named after it; give each size, number of flows, rate and flow mode once"
    )]
    Twice(String),
}

impl Matrix {
    /// The profiles, frame sizes outermost, flow modes innermost.
    ///
    /// # Errors
    /// The first place that is not a valid profile, or whose name is taken.
    pub fn profiles(&self) -> Result<Vec<Profile>, MatrixError> {
        let mut profiles =
            Vec::with_capacity(self.sizes.len() * self.flows.len() * self.rates.len() * self.modes.len());
        let mut names = std::collections::BTreeSet::new();
        for size in &self.sizes {
            for &flows in &self.flows {
                for &rate in &self.rates {
                    for &mode in &self.modes {
                        let profile = self.profile(size, flows, rate, mode)?;
                        if !names.insert(profile.name()) {
                            return Err(MatrixError::Twice(profile.name()));
                        }
                        profiles.push(profile);
                    }
                }
            }
        }
        Ok(profiles)
    }

    fn profile(
        &self,
        size: &FrameSizes,
        flows: u32,
        rate: Rate,
        mode: FlowMode,
    ) -> Result<Profile, MatrixError> {
        let raw = RawProfile {
            frame_size: Some(size.clone()),
            flows,
            rate: Some(rate),
            flow_mode: Some(mode),
            ..self.common.clone()
        };
        raw.try_into().map_err(|reason| MatrixError::Profile {
            size: size.to_string(),
            flows,
            rate: rate.to_string(),
            mode,
            reason: Box::new(reason),
        })
    }
}

/// Parses a comma-separated list of rates; a bare number is a percentage.
///
/// # Errors
/// Names the part that is not a rate.
pub fn rates(text: &str) -> Result<Vec<Rate>, RateError> {
    let bare = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let read = |part: &str| match part.trim() {
        part if !part.is_empty() && bare(part) => format!("{part}%").parse(),
        part => part.parse(),
    };
    text.split(',').map(read).collect()
}

/// Parses frame sizes: comma-separated plain numbers are one profile each; `imix`, weights and genomes are
/// one mix.
///
/// # Errors
/// Names the part that is not a size.
pub fn sizes(text: &str) -> Result<Vec<FrameSizes>, FrameSizesError> {
    let plain = |part: &str| part.trim().parse::<FrameSize>().ok().map(FrameSizes::from);
    match text.split(',').map(plain).collect::<Option<Vec<_>>>() {
        Some(sizes) => Ok(sizes),
        None => text.parse().map(|mix| vec![mix]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_rates_are_percentages() {
        let shown = |text| rates(text).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(shown("10,50, 100"), "10% 50% 100%");
        assert_eq!(shown("0.5,1mpps,2gbps,max,7%"), "0.5% 1mpps 2gbps max 7%");
        for (bad, part) in
            [("101", "'101%'"), ("0", "'0%'"), ("", "''"), ("10,,20", "''"), ("fast", "'fast'")]
        {
            let message = rates(bad).unwrap_err().to_string();
            assert!(message.contains(part), "{bad}: {message}");
        }
    }

    #[test]
    fn commas_part_numbers_and_leave_mixes_whole() {
        let shown = |text| sizes(text).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown("64,512, 1500"), ["64", "512", "1500"]);
        assert_eq!(shown("64:7,594:4,1518:1"), ["64:7,594:4,1518:1"]);
        assert_eq!(shown("imix"), ["imix"]);
        assert_eq!(shown("genome:aag"), ["genome:aag"]);
        for (bad, part) in [("64,63", "63"), ("64,imix", "'64,imix'"), ("64,x", "'64,x'"), ("9001", "9001")] {
            let message = sizes(bad).unwrap_err().to_string();
            assert!(message.contains(part), "{bad}: {message}");
        }
    }

    fn matrix() -> Matrix {
        Matrix {
            sizes: sizes("64,1500").unwrap(),
            flows: vec![1, 10_000],
            rates: rates("10,1mpps").unwrap(),
            modes: vec![FlowMode::S, FlowMode::Sd],
            common: RawProfile::default(),
        }
    }

    #[test]
    fn every_place_is_a_profile_named_as_ever() {
        let names: Vec<String> = matrix().profiles().unwrap().iter().map(Profile::name).collect();
        assert_eq!(names.len(), 16);
        assert_eq!(names[0], "profile_1_flows_pkt_size_64B_10_rate_s");
        assert_eq!(names[1], "profile_1_flows_pkt_size_64B_10_rate_sd");
        assert_eq!(names[15], "profile_10000_flows_pkt_size_1500B_1mpps_rate_sd");
    }

    #[test]
    fn a_place_that_cannot_be_is_named() {
        let mut twice = matrix();
        twice.flows = vec![1, 1];
        assert!(
            twice.profiles().unwrap_err().to_string().contains("profile_1_flows_pkt_size_64B_10_rate_s,")
        );
        let mut many = matrix();
        many.flows.push(70_000);
        many.modes = vec![FlowMode::Sdpd];
        let message = many.profiles().unwrap_err().to_string();
        for part in ["--size 64 --flows 70000 --rate 10% --flow-mode sdpd", "sourcePort", "65535"] {
            assert!(message.contains(part), "{message}");
        }
    }
}
