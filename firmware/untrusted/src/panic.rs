//! A panic handler that does not link.
//!
//! It calls a function that nobody defines. While nothing in the program can
//! panic, nothing calls the handler, the linker drops it, and the function is
//! not missed. A single `panic!`, index or `unwrap` that the compiler cannot
//! prove away makes the link fail, with this function's name.
//!
//! `cargo xtask test` also looks for panic machinery in what was linked.
//!
//! To find out where it comes from, let it link, and look who calls
//! `core::panicking`, or what it was inlined into:
//!
//! ```text
//! cargo build --release --target thumbv7em-none-eabihf --features lenient \
//!     --config profile.release.debug=1
//! llvm-objdump -d -C -l target/thumbv7em-none-eabihf/release/tiny-ddpm-untrusted
//! ```

use core::panic::PanicInfo;

#[cfg(not(feature = "lenient"))]
#[panic_handler]
fn panicked(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn something_in_this_firmware_can_panic() -> !;
    }
    // SAFETY: there is no such function, so no program that calls it.
    unsafe { something_in_this_firmware_can_panic() }
}

/// Tells the place, so that the program has all that a panic can bring along.
#[cfg(feature = "lenient")]
#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    crate::board::write(info.location().map_or("", |place| place.file()));
    crate::board::exit(false)
}

/// Shows that the check can fail: indexes with what only the blob knows.
#[cfg(feature = "spoiled")]
#[expect(clippy::indexing_slicing, reason = "it is what must be noticed")]
pub fn spoil(slot: &[u8], steps: u16) {
    crate::board::put(slot[usize::from(steps)]);
}

/// Nothing, but where the check is shown to fail.
#[cfg(not(feature = "spoiled"))]
pub fn spoil(_: &[u8], _: u16) {}
