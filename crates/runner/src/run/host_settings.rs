//! Settings of hosts between trials: put in force by the platform, recorded with what was read back, and restored.

use linerate_experiment::host_settings::HostSetting;
use tokio::sync::watch;

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
    interrupted: &watch::Receiver<bool>,
) -> Result<Result<(), String>, Ending> {
    if let Some(setting) = setting.filter(|setting| recorder.setting_in_force() != Some(setting.label())) {
        observer.phase(&format!("putting host setting {} in force", setting.label()));
    }
    let mut interrupted = interrupted.clone();
    let tuned = tokio::select! {
        tuned = platform.tune(setting) => tuned,
        // What was begun is restored at the end.
        Ok(_) = interrupted.wait_for(|flag| *flag) => return Err(Ending::Interrupted),
    };
    match tuned {
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

/// Restores what is in force at the end of a run or of a part of it, whatever its ending. What is not restored ends the run.
pub(super) async fn restore(
    ending: Result<(), Ending>,
    platform: &mut impl Platform,
    recorder: &mut Recorder<'_>,
) -> Result<(), Ending> {
    match (platform.tune(None).await, ending) {
        (Ok(_), ending) => ending.and(recorder.host_settings_restored().map_err(Ending::from)),
        (Err(error), Ok(())) => Err(Ending::Unrestored(error.to_string())),
        (Err(error), Err(Ending::Store(failed))) => {
            tracing::error!(%error, "settings of hosts");
            Err(Ending::Store(failed))
        }
        (Err(error), Err(ending)) => Err(Ending::Unrestored(format!("{ending}; {error}"))),
    }
}
