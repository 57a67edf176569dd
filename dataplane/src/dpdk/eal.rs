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

use super::counter::{SOURCE, read_clocks, stated_hz};
use super::error::Errno;
use super::id::{LcoreId, PortId};
use linerate_measure::calibration::{Calibration, ClockEvents};

static STARTED: AtomicBool = AtomicBool::new(false);
/// True while EAL starts. DPDK 25.11 ends the process itself when it does not know an option.
static STARTING: AtomicBool = AtomicBool::new(false);

/// Bound to which the counter's frequency is measured before a trial sends, in parts per million: a twentieth
/// of the deviation that a report notes.
const CALIBRATED_PPM: f64 = 2.5;
/// Most further readings for that bound; a machine that reads its clocks too slowly accepts the bound reached
/// by then.
const CALIBRATION_LOOKS: u32 = 60;
const CALIBRATION_PAUSE: Duration = Duration::from_millis(5);

/// Error: EAL refused to start.
#[derive(Debug, Clone, thiserror::Error)]
#[error("EAL did not start ({errno}): {first_error}")]
pub struct EalRefused {
    /// The first message of level error that EAL logged; empty when it logged none.
    pub first_error: String,
    /// DPDK's error number.
    pub errno: Errno,
}

/// Handle that keeps EAL running; every object that needs EAL holds a clone.
#[derive(Debug, Clone)]
pub(super) struct EalHandle(#[allow(dead_code)] Arc<Running>);

#[derive(Debug)]
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        // Closes ports that were not opened: drivers of real devices log errors when such ports exist at the
        // end.
        // SAFETY: the last handle is dropped, so no port, pool or lcore job of this process is left; closed
        // ports are no longer enumerated. The process does not start EAL again.
        unsafe {
            let mut port = sys::lr_port_next(0);
            while port != u16::MAX {
                sys::lr_port_close(port);
                port = sys::lr_port_next(port + 1);
            }
            // EAL creates the directory even when it shares nothing, and does not remove it.
            let folder = CStr::from_ptr(sys::lr_runtime_dir()).to_owned();
            sys::lr_eal_cleanup();
            // Only an empty directory is removed: a process with the same prefix that shares files keeps its
            // own.
            libc::rmdir(folder.as_ptr());
        }
    }
}

/// EAL, started. It belongs to the thread that started it, which is the main lcore.
#[derive(Debug)]
pub struct Eal {
    handle: EalHandle,
    calibration: RefCell<Calibration>,
    /// Only the main lcore may call EAL's control functions.
    _not_send: PhantomData<*const ()>,
}

impl Eal {
    /// Starts EAL with the arguments (program name first). Its messages go to standard error, and so does its
    /// output to standard output.
    ///
    /// # Errors
    /// [`EalRefused`] when EAL does not start, or was started in this process before: EAL can start only
    /// once.
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
        // EAL keeps pointers to its arguments, so they are leaked.
        let argv = argv.leak();

        // EAL's start takes a while, during which the counter can be measured at no cost.
        let first = read_clocks();
        let _redirected = StdoutToStderr::begin();
        // SAFETY: the log stream is set before EAL starts and stays for the process's life.
        unsafe { sys::lr_log_capture() };
        STARTING.store(true, Ordering::SeqCst);
        // SAFETY: registers a plain function; EAL starts once, so it is registered once.
        unsafe { libc::atexit(ended_by_eal) };
        // SAFETY: argv holds `count` NUL-terminated strings and a null pointer, all leaked; EAL starts once,
        // guarded above.
        let code = unsafe { sys::lr_eal_init(count, argv.as_mut_ptr()) };
        STARTING.store(false, Ordering::SeqCst);
        if code < 0 {
            let errno = Errno::last();
            return Err(refused(&first_logged_error(), errno));
        }
        let mut calibration = Calibration::new(stated_hz(), first, read_clocks());
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

    /// The counter's frequency known so far.
    pub fn tick_rate(&self) -> TickRate {
        self.calibration.borrow().rate()
    }

    /// Measures the counter's frequency up to now, and returns the counter's events since EAL's start. A
    /// caller compares them with an earlier result.
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

/// Exit handler. If EAL ends the process, it informs the user and sets the exit code of a failure.
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
    // SAFETY: ends the process at once; the program has not opened any port or pool yet.
    unsafe { libc::_exit(1) };
}

/// Version of the DPDK library this process runs on, such as `DPDK 22.11.11`.
pub fn version() -> String {
    // SAFETY: rte_version returns a static NUL-terminated string and needs no initialisation.
    unsafe { CStr::from_ptr(sys::lr_version()) }.to_string_lossy().into_owned()
}

/// The first message of level error or more severe that DPDK logged; empty when there was none.
pub fn first_logged_error() -> String {
    // SAFETY: see `logged`.
    unsafe { logged(sys::lr_log_first_error()) }
}

/// The beginning of DPDK's log, up to 16 KB.
pub fn early_log() -> String {
    // SAFETY: see `logged`.
    unsafe { logged(sys::lr_log_early()) }
}

/// # Safety
/// `text` is one of the shim's log buffers: static, always NUL-terminated, and only appended to. A concurrent
/// message may at worst be read in part.
unsafe fn logged(text: *const c_char) -> String {
    // SAFETY: by contract.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().trim().to_owned()
}

/// Redirects standard output to standard error while it exists: EAL prints its usage there, and standard
/// output is for results.
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
        // SAFETY: flushes C's streams, so that EAL's output is written before the descriptor is restored;
        // this process owns `saved`, which is then restored and closed.
        unsafe {
            libc::fflush(std::ptr::null_mut());
            libc::dup2(self.saved, libc::STDOUT_FILENO);
            libc::close(self.saved);
        }
    }
}
