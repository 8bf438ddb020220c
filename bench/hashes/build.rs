//! Says which machine a target is for, and finds its linker scripts.

use std::path::Path;
use std::{env, fs};

fn main() {
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let (machine, memory) = match &*target {
        "thumbv6m-none-eabi" => ("microbit", "../memory/microbit.x"),
        "thumbv7m-none-eabi" | "thumbv7em-none-eabihf" => ("mps2", "../memory/mps2.x"),
        "thumbv8m.main-none-eabihf" => ("an505", "../memory/an505.x"),
        "riscv32imc-unknown-none-elf" => ("virt", "../memory/virt.x"),
        "wasm32-unknown-unknown" => ("wasm", ""),
        _ => {
            println!("cargo::error=no machine is known for {target}");
            return;
        }
    };
    println!("cargo::rustc-cfg=machine=\"{machine}\"");
    if machine == "wasm" {
        println!("cargo::rerun-if-changed=build.rs");
        return;
    }

    println!("cargo::rerun-if-changed={memory}");
    let memory = Path::new(env!("CARGO_MANIFEST_DIR")).join(memory);
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::copy(memory, Path::new(&out).join("memory.x")).expect("OUT_DIR is writable");
    println!("cargo::rustc-link-search={out}");
    match machine {
        "virt" => println!("cargo::rustc-link-arg-bins=-Tmemory.x"),
        // Without it the linker pads sections to pages of 64 KiB.
        _ => println!("cargo::rustc-link-arg-bins=--nmagic"),
    }
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
}
