//! Clocks and boot id of this host.

pub use linerate_observe::clock::{monotonic_ns, process_cpu_ns, thread_cpu_ns};

/// The kernel's boot id: equal for all processes under one kernel. Empty when the kernel reports none.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// True when the counter in probes runs at one rate on all CPUs, in every power state.
pub fn invariant_counter() -> bool {
    if !cfg!(target_arch = "x86_64") {
        // Arm's generic timer is system-wide by architecture.
        return cfg!(target_arch = "aarch64");
    }
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
    // Without nonstop_tsc the counter may stop in deep idle states. A kernel that keeps its own time by it has ruled that out.
    let clock = std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let keeps_time = clock.is_ok_and(|name| name.trim() == "tsc");
    has("constant_tsc") && (has("nonstop_tsc") || keeps_time)
}
