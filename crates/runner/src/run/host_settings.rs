//! Settings of hosts between trials: put in force by the platform, recorded with what was read back.

use linerate_experiment::host_settings::HostSetting;

use super::Ending;
use super::observer::Observer;
use super::recorder::Recorder;
use crate::platform::Platform;

/// Puts the setting of a trial in force; the inner error says why its trials cannot be run.
pub(super) async fn put_in_force(
    setting: Option<&HostSetting>,
    platform: &mut impl Platform,
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
) -> Result<Result<(), String>, Ending> {
    match platform.tune(setting).await {
        Ok(Some(values)) => {
            if let Some(setting) = setting {
                observer.phase(&format!("host setting {} is in force", setting.label()));
                recorder.host_setting(setting.label(), values)?;
            }
            Ok(Ok(()))
        }
        Ok(None) => Ok(Ok(())),
        Err(error) => Ok(Err(error.to_string())),
    }
}
