//! Build script of dpdk-sys: finds libdpdk, compiles the C shim and generates its bindings.

use std::env;
use std::panic;
use std::path::PathBuf;
use std::process::{Command, exit};

const OLDEST_DPDK: &str = "22.11";

fn main() {
    let shim = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("shim");
    let out = PathBuf::from(env::var("OUT_DIR").unwrap_or_default());
    for file in ["shim.h", "shim.c"] {
        println!("cargo:rerun-if-changed={}", shim.join(file).display());
    }

    if let Err(error) = pkg_config::Config::new().atleast_version(OLDEST_DPDK).probe("libdpdk") {
        fail(&format!(
            "DPDK {OLDEST_DPDK} or later was not found by pkg-config.\n\
             On Debian and Ubuntu: apt-get install libdpdk-dev pkg-config\n\n{error}"
        ));
    }
    let cflags = dpdk_cflags();

    let mut compiler = cc::Build::new();
    compiler.file(shim.join("shim.c")).include(&shim).opt_level(3).warnings(true);
    for flag in &cflags {
        compiler.flag(flag);
    }
    if let Err(error) = compiler.try_compile("linerate_shim") {
        fail(&format!(
            "the C shim over DPDK's inline functions does not compile.\n\
             On Debian and Ubuntu: apt-get install gcc libdpdk-dev\n\n{error}"
        ));
    }

    let builder = bindgen::Builder::default()
        .header(shim.join("shim.h").display().to_string())
        .clang_args(&cflags)
        .allowlist_function("lr_.*")
        .allowlist_type("lr_.*")
        .allowlist_var("LR_.*")
        // Of DPDK's own types only these two cross the border, as pointers.
        .allowlist_recursively(false)
        .raw_line("use crate::mbuf::{rte_mbuf, rte_mempool};")
        .use_core()
        .prepend_enum_name(false)
        .layout_tests(true)
        .generate_comments(true);
    // bindgen panics when it cannot load libclang; a missing package deserves a plain sentence instead.
    panic::set_hook(Box::new(|_| {}));
    let bindings = panic::catch_unwind(panic::AssertUnwindSafe(|| builder.generate()));
    let _ = panic::take_hook();
    match bindings {
        Ok(Ok(bindings)) => {
            if let Err(error) = bindings.write_to_file(out.join("bindings.rs")) {
                fail(&format!("the generated bindings cannot be written to {}: {error}", out.display()));
            }
        }
        Ok(Err(error)) => fail(&format!("bindgen cannot read DPDK's headers: {error}")),
        Err(panic) => fail(&format!(
            "libclang, which generates the bindings to DPDK, was not found.\n\
             On Debian and Ubuntu: apt-get install libclang-dev\n\n{}",
            panic.downcast_ref::<String>().map_or("", String::as_str)
        )),
    }
}

/// The compiler flags of libdpdk, all of them: the pkg-config crate hands on include paths and definitions only, and DPDK's
/// headers need `-include rte_config.h` and `-march` too.
fn dpdk_cflags() -> Vec<String> {
    println!("cargo:rerun-if-env-changed=PKG_CONFIG");
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    match Command::new(&program).args(["--cflags", "libdpdk"]).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
        }
        Ok(output) => {
            fail(&format!("{program} --cflags libdpdk: {}", String::from_utf8_lossy(&output.stderr)))
        }
        Err(error) => fail(&format!(
            "{program} cannot be run: {error}. On Debian and Ubuntu: apt-get install pkg-config"
        )),
    }
}

fn fail(message: &str) -> ! {
    eprintln!("\nerror: {message}\n");
    exit(1);
}
