//! What the emulated boards have in common: two parts of flash that are not
//! the program's, and a way to answer.

use semihosting::sys::arm_compat::sys_writec;

unsafe extern "C" {
    static _slot_start: u8;
    static _slot_end: u8;
    static _words_start: u8;
    static _words_end: u8;
}

/// The part of flash that a blob lies in, or anything else.
pub fn slot() -> &'static [u8] {
    // SAFETY: `memory.x` has nothing placed between these two.
    unsafe { part(&raw const _slot_start, &raw const _slot_end) }
}

/// The part of flash for settings: text up to a byte of 0 or of erased flash;
/// none if it is not text.
pub fn words() -> Option<&'static str> {
    // SAFETY: `memory.x` has nothing placed between these two.
    let page = unsafe { part(&raw const _words_start, &raw const _words_end) };
    let text = page.split(|byte| matches!(byte, 0 | 0xff)).next()?;
    core::str::from_utf8(text).ok()
}

/// # Safety
/// The symbols must be the bounds of a part of flash that nothing is placed in
/// and nothing writes to.
unsafe fn part(start: *const u8, end: *const u8) -> &'static [u8] {
    // SAFETY: readable and constant, as the caller says; any byte is a `u8`.
    unsafe { core::slice::from_raw_parts(start, end.addr().wrapping_sub(start.addr())) }
}

/// Writes a byte to the log.
pub fn put(byte: u8) {
    sys_writec(byte);
}

/// Writes text to the log.
pub fn write(text: &str) {
    text.bytes().for_each(put);
}

/// Ends the emulator with status 0 or 1.
pub fn exit(success: bool) -> ! {
    semihosting::process::exit(i32::from(!success))
}

#[cfg(target_arch = "arm")]
mod start {
    use cortex_m_rt::{ExceptionFrame, entry, exception};

    #[entry]
    fn start_here() -> ! {
        crate::main()
    }

    #[exception]
    unsafe fn HardFault(_: &ExceptionFrame) -> ! {
        super::write("@fault\n");
        super::exit(false)
    }
}

#[cfg(target_arch = "riscv32")]
mod start {
    use riscv_rt::{TrapFrame, entry};

    #[entry]
    fn start_here() -> ! {
        crate::main()
    }

    #[unsafe(export_name = "ExceptionHandler")]
    fn exception(_: &TrapFrame) -> ! {
        super::write("@fault\n");
        super::exit(false)
    }
}
