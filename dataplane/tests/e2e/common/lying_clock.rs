//! A DPDK that tells a wrong frequency of the counter, as one that rounds to 10 MHz or goes by a nominal frequency does: a library that stands
//! in front of DPDK's own `rte_get_tsc_hz`. The program under test is as it always is.

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

/// Builds the library in `directory`; `per_mille` is what it tells, in thousandths of what DPDK does. To be given as `LD_PRELOAD`.
pub fn lying_clock(directory: &Path, per_mille: u32) -> PathBuf {
    let (source, library) = (directory.join("lie.c"), directory.join("lie.so"));
    std::fs::write(&source, SOURCE).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", &format!("-DPER_MILLE={per_mille}"), "-o"]).arg(&library);
    let built = compiler.arg(&source).arg("-ldl").output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    library
}
