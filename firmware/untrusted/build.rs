//! Finds the linker script of the board that a target is for.

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=memory");
    println!("cargo::rustc-check-cfg=cfg(little_ram)");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let board = match &*target {
        "thumbv6m-none-eabi" => "microbit",
        "thumbv7em-none-eabihf" => "stm32f405",
        "thumbv8m.main-none-eabihf" => "an505",
        "riscv32imc-unknown-none-elf" => "virt",
        _ => {
            println!("cargo::error=no board is known for {target}");
            return;
        }
    };
    if board == "microbit" {
        println!("cargo::rustc-cfg=little_ram");
    }
    let memory = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("memory/{board}.x"));
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::copy(memory, Path::new(&out).join("memory.x")).expect("OUT_DIR is writable");
    println!("cargo::rustc-link-search={out}");
    if board == "virt" {
        println!("cargo::rustc-link-arg-bins=-Tmemory.x");
    } else {
        // Without it the linker pads sections to pages of 64 KiB.
        println!("cargo::rustc-link-arg-bins=--nmagic");
    }
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
}
