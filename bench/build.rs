//! Says which emulated machine a target is for, and finds its linker scripts.

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=memory");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let machine = match &*target {
        "thumbv6m-none-eabi" | "thumbv7em-none-eabihf" => "mps2",
        "thumbv8m.main-none-eabihf" => "an505",
        "riscv32imc-unknown-none-elf" => "virt",
        _ => {
            println!("cargo::error=no emulated machine is known for {target}");
            return;
        }
    };
    println!("cargo::rustc-cfg=machine=\"{machine}\"");
    let instructions = target.split(['-', '.']).next().unwrap_or_default();
    println!("cargo::rustc-cfg=instructions=\"{instructions}\"");

    let memory = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("memory/{machine}.x"));
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::copy(memory, Path::new(&out).join("memory.x")).expect("OUT_DIR is writable");
    println!("cargo::rustc-link-search={out}");
    if machine == "virt" {
        println!("cargo::rustc-link-arg-bins=-Tmemory.x");
    } else {
        // Without it the linker pads sections to pages of 64 KiB.
        println!("cargo::rustc-link-arg-bins=--nmagic");
    }
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
}
