//! A library that replaces DPDK's `rte_get_tsc_hz` by one that returns a wrong frequency, as a DPDK does that rounds to 10 MHz or uses a nominal
//! frequency. The program under test is unchanged.

use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

uint64_t rte_get_tsc_hz(void)
{
    uint64_t (*real)(void) = (uint64_t (*)(void))dlsym(RTLD_NEXT, "rte_get_tsc_hz");
    return real() / 1000 * PER_MILLE;
}
"#;

/// Builds the library in `directory`, for `LD_PRELOAD`; its frequency is `per_mille` thousandths of DPDK's.
pub fn wrong_clock(directory: &Path, per_mille: u32) -> PathBuf {
    let (source, library) = (directory.join("wrong_clock.c"), directory.join("wrong_clock.so"));
    std::fs::write(&source, SOURCE).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", &format!("-DPER_MILLE={per_mille}"), "-o"]).arg(&library);
    let built = compiler.arg(&source).arg("-ldl").output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    library
}
