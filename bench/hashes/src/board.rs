//! What a program needs of a machine: a start, an end, and a voice.

#[cfg_attr(target_arch = "arm", path = "board/arm.rs")]
#[cfg_attr(target_arch = "riscv32", path = "board/riscv.rs")]
#[cfg_attr(target_arch = "wasm32", path = "board/wasm.rs")]
mod hardware;

pub use hardware::{fail, say, stack_sufficed};
