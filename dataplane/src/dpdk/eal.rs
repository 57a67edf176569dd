//! The Environment Abstraction Layer: started once, cleaned up last.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::io::Write;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use linerate_dpdk_sys as sys;
use linerate_wire::time::TickRate;

use super::clock::{SOURCE, read_clocks, told_hz};
use super::error::Errno;
use super::lcore::LcoreId;
use super::port::PortId;
use linerate_measure::calibration::{Calibration, ClockEvents};

static STARTED: AtomicBool = AtomicBool::new(false);
/// True while EAL starts: DPDK 25.11 ends the process by itself when it does not know an option.
static STARTING: AtomicBool = AtomicBool::new(false);

/// The counter's frequency is measured to this bound before anything is sent, in parts per million: a twentieth of what is noted.
const CALIBRATED_PPM: f64 = 2.5;
/// A machine that reads its clocks too slowly for that has to do with what this many further looks give.
const CALIBRATION_LOOKS: u32 = 60;
const CALIBRATION_PAUSE: Duration = Duration::from_millis(5);

/// EAL refused to start.
#[derive(Debug, Clone, thiserror::Error)]
#[error("EAL did not start ({errno}): {first_error}")]
pub struct EalRefused {
    /// The first message of level error that EAL logged; empty when it logged none.
    pub first_error: String,
    /// DPDK's error number.
    pub errno: Errno,
}

/// Keeps EAL up; clones are held by everything that needs it.
#[derive(Debug, Clone)]
pub(super) struct EalHandle(#[allow(dead_code)] Arc<Running>);

#[derive(Debug)]
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        // Ports that nobody opened: drivers of real devices complain when they are still there at the end.
        // SAFETY: the last handle is gone, so no port, pool or lcore job of ours is left; ports that were open are closed and not found
        // any more. The process never starts EAL again.
        unsafe {
            let mut port = sys::lr_port_next(0);
            while port != u16::MAX {
                sys::lr_port_close(port);
                port = sys::lr_port_next(port + 1);
            }
            // EAL makes it also when nothing is shared, and leaves it.
            let folder = CStr::from_ptr(sys::lr_runtime_dir()).to_owned();
            sys::lr_eal_cleanup();
            // Only an empty one goes: that of a process with the same prefix that shares something is not.
            libc::rmdir(folder.as_ptr());
        }
    }
}

/// EAL, started. It belongs to the thread that started it, which is the main lcore.
#[derive(Debug)]
pub struct Eal {
    handle: EalHandle,
    calibration: RefCell<Calibration>,
    /// EAL's control functions are for the main lcore only.
    _not_send: PhantomData<*const ()>,
}

impl Eal {
    /// Starts EAL with the arguments (program name first). Its messages go to standard error; what it prints on standard output
    /// is sent there too.
    ///
    /// # Errors
    /// [`EalRefused`] when EAL does not start, or has been started in this process before: it can be only once.
    pub fn start(arguments: &[String]) -> Result<Self, EalRefused> {
        let refused = |first_error: &str, errno| EalRefused { first_error: first_error.to_owned(), errno };
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(refused("EAL has already been started in this process", Errno(libc::EALREADY)));
        }
        let mut argv = Vec::with_capacity(arguments.len() + 1);
        for argument in arguments {
            let argument = CString::new(argument.as_str())
                .map_err(|_| refused("an EAL option contains a NUL character", Errno(libc::EINVAL)))?;
            argv.push(argument.into_raw().cast::<c_char>());
        }
        let count = argv.len() as i32;
        argv.push(std::ptr::null_mut());
        // EAL keeps pointers into its arguments for good, so they are never freed.
        let argv = argv.leak();

        // EAL's start takes a while: time in which the counter is measured for nothing.
        let first = read_clocks();
        let _redirected = StdoutToStderr::begin();
        // SAFETY: the log stream is set before EAL starts and stays for the process's life.
        unsafe { sys::lr_log_capture() };
        STARTING.store(true, Ordering::SeqCst);
        // SAFETY: registers a plain function; EAL starts once, so it is registered once.
        unsafe { libc::atexit(ended_by_eal) };
        // SAFETY: argv holds `count` NUL-terminated strings and a null pointer, all leaked; EAL starts once, guarded above.
        let code = unsafe { sys::lr_eal_init(count, argv.as_mut_ptr()) };
        STARTING.store(false, Ordering::SeqCst);
        if code < 0 {
            let errno = Errno::last();
            return Err(refused(&first_logged_error(), errno));
        }
        let mut calibration = Calibration::new(told_hz(), first, read_clocks());
        for _ in 0..CALIBRATION_LOOKS {
            if calibration.rate().uncertainty_ppm <= CALIBRATED_PPM {
                break;
            }
            sleep(CALIBRATION_PAUSE);
            calibration.refine(read_clocks());
        }
        tracing::info!(
            "clock: counter {SOURCE}, {} against the kernel's raw monotonic clock",
            calibration.rate()
        );
        let calibration = RefCell::new(calibration);
        Ok(Self { handle: EalHandle(Arc::new(Running)), calibration, _not_send: PhantomData })
    }

    /// The counter's frequency as it is known now.
    pub fn tick_rate(&self) -> TickRate {
        self.calibration.borrow().rate()
    }

    /// Measures the counter's frequency up to now, and returns what has happened to the counter since EAL's start. Everyone who wants to know what
    /// happened since an earlier call compares.
    pub fn recalibrate(&self) -> ClockEvents {
        let mut calibration = self.calibration.borrow_mut();
        calibration.refine(read_clocks());
        calibration.events()
    }

    pub(super) fn handle(&self) -> EalHandle {
        self.handle.clone()
    }

    /// Worker lcores, ascending; the main lcore is not among them.
    pub fn workers(&self) -> Vec<LcoreId> {
        let next = |lcore| {
            // SAFETY: reads EAL's list of lcores, which is constant after the start.
            let next = unsafe { sys::lr_next_worker(lcore) };
            (next != u32::MAX).then_some(next)
        };
        std::iter::successors(next(u32::MAX), |lcore| next(*lcore)).map(LcoreId).collect()
    }

    /// The main lcore.
    pub fn main_lcore(&self) -> LcoreId {
        // SAFETY: reads EAL's configuration, which is constant after the start.
        LcoreId(unsafe { sys::lr_main_lcore() })
    }

    /// All ports, ascending.
    pub fn ports(&self) -> Vec<PortId> {
        let next = |from| {
            // SAFETY: looks through ethdev's table of ports.
            let port = unsafe { sys::lr_port_next(from) };
            (port != u16::MAX).then_some(port)
        };
        std::iter::successors(next(0), |port| next(port + 1)).map(PortId).collect()
    }
}

/// Runs when the process exits. If EAL is what ends it, the user is told, and the exit code is that of a failure.
extern "C" fn ended_by_eal() {
    let why = first_logged_error();
    if !STARTING.load(Ordering::SeqCst) || why.is_empty() {
        return;
    }
    let message = format!(
        "error: EAL ended the program while starting: {why}\n  remedy: EAL's own options stand before `--`, Linerate's after it; DPDK's \
         guide lists EAL's\n"
    );
    let _ = std::io::stderr().write_all(message.as_bytes());
    // SAFETY: ends the process at once; nothing of ours has been opened yet.
    unsafe { libc::_exit(1) };
}

/// Version of the DPDK library this process runs on, such as `DPDK 22.11.11`.
pub fn version() -> String {
    // SAFETY: rte_version returns a static NUL-terminated string and needs no initialisation.
    unsafe { CStr::from_ptr(sys::lr_version()) }.to_string_lossy().into_owned()
}

/// The first message of level error or worse that DPDK logged; empty when there was none.
pub fn first_logged_error() -> String {
    // SAFETY: see `logged`.
    unsafe { logged(sys::lr_log_first_error()) }
}

/// What DPDK logged first, up to 16 KB.
pub fn early_log() -> String {
    // SAFETY: see `logged`.
    unsafe { logged(sys::lr_log_early()) }
}

/// # Safety
/// `text` is one of the shim's log buffers: static, always NUL-terminated, and only appended to, so that a concurrent message can at
/// worst be read in part.
unsafe fn logged(text: *const c_char) -> String {
    // SAFETY: by contract.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().trim().to_owned()
}

/// Sends standard output to standard error while it lives: EAL prints its usage there, and ours is for results.
struct StdoutToStderr {
    saved: libc::c_int,
}

impl StdoutToStderr {
    fn begin() -> Option<Self> {
        let _ = std::io::stdout().flush();
        // SAFETY: duplicates descriptors of this process; -1 is handled.
        let saved = unsafe { libc::dup(libc::STDOUT_FILENO) };
        if saved < 0 {
            return None;
        }
        // SAFETY: both descriptors are open or the call fails without effect.
        unsafe { libc::dup2(libc::STDERR_FILENO, libc::STDOUT_FILENO) };
        Some(Self { saved })
    }
}

impl Drop for StdoutToStderr {
    fn drop(&mut self) {
        // SAFETY: flushes C's streams, so that what EAL printed leaves before the descriptor is put back; then `saved` is ours
        // to restore and close.
        unsafe {
            libc::fflush(std::ptr::null_mut());
            libc::dup2(self.saved, libc::STDOUT_FILENO);
            libc::close(self.saved);
        }
    }
}
