//! Limit of open files: each pod has a connection of its own, and so a file descriptor.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::error::ClusterError;

/// Open files other than the connections to agents.
const MARGIN: u64 = 256;

/// Raises the limit of open files for a connection to each of `pods` pods.
///
/// # Errors
/// When the hard limit is too low.
pub(super) fn allow(pods: usize) -> Result<(), ClusterError> {
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = raised(pods as u64 + MARGIN, &limit).map_err(|most| ClusterError::TooFewFiles {
        pods,
        wanted: pods as u64 + MARGIN,
        most,
    })?
    else {
        return Ok(());
    };
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit }) {
        tracing::warn!(%error, wanted = current, "the limit of open files could not be raised");
    }
    Ok(())
}

/// The limit to set, if it must be raised; an error with the highest possible limit, if that is too low. A
/// missing limit means unlimited.
fn raised(wanted: u64, limit: &Rlimit) -> Result<Option<u64>, u64> {
    match (limit.current, limit.maximum) {
        (None, _) => Ok(None),
        (Some(current), _) if current >= wanted => Ok(None),
        (_, Some(most)) if most < wanted => Err(most),
        _ => Ok(Some(wanted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_need_be() {
        for (current, maximum, expected) in [
            (None, None, Ok(None)),
            (Some(1256), Some(1256), Ok(None)),
            (Some(1024), None, Ok(Some(1256))),
            (Some(1024), Some(4096), Ok(Some(1256))),
            (Some(1024), Some(1024), Err(1024)),
        ] {
            assert_eq!(raised(1256, &Rlimit { current, maximum }), expected);
        }
    }
}
