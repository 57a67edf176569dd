//! Work on EAL's worker lcores.

use std::any::Any;
use std::ffi::{c_int, c_void};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use linerate_dpdk_sys as sys;

use super::eal::{Eal, EalHandle};
use super::error::{DpdkError, Errno, check};
use super::id::LcoreId;

type Work = Box<dyn FnOnce() + Send>;
type Slot<T> = Arc<Mutex<Option<Result<T, Box<dyn Any + Send>>>>>;

/// A running job. Dropping it waits for its end, so its owner must first have signalled the job to end.
pub struct Job<T> {
    lcore: LcoreId,
    slot: Slot<T>,
    _eal: EalHandle,
}

impl<T> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("lcore", &self.lcore).finish_non_exhaustive()
    }
}

/// Error: a job panicked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the job on lcore {lcore} panicked: {message}")]
pub struct JobPanicked {
    /// The lcore of the job.
    pub lcore: LcoreId,
    /// The panic's message.
    pub message: String,
}

impl Eal {
    /// Runs `work` on a worker lcore that is idle.
    ///
    /// # Errors
    /// When the lcore is busy or is not a worker.
    pub fn launch<T, F>(&self, lcore: LcoreId, work: F) -> Result<Job<T>, DpdkError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        // EAL uses the number as an index without checking it.
        if !self.workers().contains(&lcore) {
            let what = format!("lcore {lcore} is not a worker");
            return Err(DpdkError { what, errno: Errno(libc::EINVAL) });
        }
        let slot: Slot<T> = Slot::default();
        let result = slot.clone();
        let work: Box<Work> = Box::new(Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work));
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        }));
        let argument = Box::into_raw(work);
        // SAFETY: `run` takes back the box, exactly once, when the launch succeeds; the closure is Send and
        // 'static.
        let code = unsafe { sys::lr_launch(Some(run), argument.cast(), lcore.0) };
        if code != 0 {
            // SAFETY: the launch failed, so `run` does not get the box.
            drop(unsafe { Box::from_raw(argument) });
        }
        check(code, || format!("work cannot be launched on lcore {lcore}"))?;
        Ok(Job { lcore, slot, _eal: self.handle() })
    }
}

unsafe extern "C" fn run(argument: *mut c_void) -> c_int {
    // SAFETY: the argument is the box that `launch` gave away, and each launch runs once. The closure catches
    // its panics.
    let work = unsafe { Box::from_raw(argument.cast::<Work>()) };
    work();
    0
}

impl<T> Job<T> {
    /// The job's lcore.
    pub fn lcore(&self) -> LcoreId {
        self.lcore
    }

    /// True when the job has ended.
    pub fn is_finished(&self) -> bool {
        // SAFETY: reads the lcore's state; the EAL handle keeps EAL up.
        unsafe { sys::lr_lcore_idle(self.lcore.0) != 0 }
    }

    /// Waits for the end and returns the result.
    ///
    /// # Errors
    /// [`JobPanicked`] with the panic's message.
    pub fn join(self) -> Result<T, JobPanicked> {
        self.wait();
        let outcome = self.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        let message = match outcome {
            Some(Ok(value)) => return Ok(value),
            Some(Err(panic)) => match panic.downcast::<String>() {
                Ok(message) => *message,
                Err(panic) => {
                    panic.downcast::<&str>().map_or_else(|_| "no message".to_owned(), |m| (*m).to_owned())
                }
            },
            None => "it left no result".to_owned(),
        };
        Err(JobPanicked { lcore: self.lcore, message })
    }

    fn wait(&self) {
        // SAFETY: waits for the lcore to be idle; called on the main lcore, since Eal (the only launcher) is
        // not Send and results are joined by its owner; an idle lcore returns at once.
        unsafe { sys::lr_wait(self.lcore.0) };
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        self.wait();
    }
}
