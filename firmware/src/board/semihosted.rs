//! What every emulated board gets from QEMU by semihosting.

use core::mem::MaybeUninit;
use semihosting::sys::arm_compat::sys_get_cmdline_uninit;

/// The words of `-semihosting-config arg=...`, parted by spaces.
pub fn arguments(buffer: &mut [u8]) -> &str {
    // SAFETY: `MaybeUninit<u8>` has the layout of `u8`, and semihosting only
    // ever writes initialised bytes.
    let buffer = unsafe { &mut *(core::ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) };
    match sys_get_cmdline_uninit(buffer) {
        Ok(line) => core::str::from_utf8(line).unwrap_or_default(),
        Err(_) => "",
    }
}

/// Ends the emulator with status 0 or 1.
pub fn exit(success: bool) -> ! {
    semihosting::process::exit(i32::from(!success))
}
