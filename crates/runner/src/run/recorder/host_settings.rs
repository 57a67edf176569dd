//! Records of the settings of hosts that were put in force and restored.

use linerate_results::host_setting::{HostSettingPeriod, HostSettingValue};
use linerate_results::store::StoreError;

use super::{Recorder, now};

impl Recorder<'_> {
    /// Records that a setting of hosts is in force, with what was read back. Those before it are restored.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(in crate::run) fn host_setting(
        &mut self,
        name: &str,
        values: Vec<HostSettingValue>,
    ) -> Result<(), StoreError> {
        self.end_host_settings();
        self.has_tuned = true;
        let period =
            HostSettingPeriod { setting: name.to_owned(), began_at: now(), restored_at: None, values };
        self.head.experiment.host_settings.push(period);
        self.log_head()
    }

    /// Records that all is as before the run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(in crate::run) fn host_settings_restored(&mut self) -> Result<(), StoreError> {
        // Those of an earlier run are known to be restored when another is in force.
        match std::mem::take(&mut self.has_tuned) && self.end_host_settings() {
            true => self.log_head(),
            false => Ok(()),
        }
    }

    /// Name of the setting that this run has put in force.
    pub(in crate::run) fn setting_in_force(&self) -> Option<&str> {
        let last = self.head.experiment.host_settings.last().filter(|_| self.has_tuned)?;
        last.restored_at.is_none().then_some(last.setting.as_str())
    }

    /// True when one was not known to be restored.
    fn end_host_settings(&mut self) -> bool {
        let open = self.head.experiment.host_settings.iter_mut().filter(|one| one.restored_at.is_none());
        let ended = open.map(|one| one.restored_at = Some(now())).count();
        ended > 0
    }
}
