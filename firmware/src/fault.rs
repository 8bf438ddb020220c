//! What a hard fault says, also where the stack is used up.
//!
//! The stack ends where RAM begins (`memory/`), so that one that grows too
//! large is a fault. The processor then tries to push its registers, in vain,
//! and a handler that pushed anything would fault once more, which locks the
//! processor up. So this one begins with the whole stack: what was on it,
//! nobody returns to.

use crate::{board, stack};
use core::arch::naked_asm;

/// Words that the processor pushes before the program counter.
const BEFORE_PC: usize = 6;
/// Bytes by which a function may have been about to push more than there was
/// room for: all registers, and what the processor pushes itself.
const LARGEST_PUSH: usize = 128;

/// Called by the processor, in the place of `cortex-m-rt`'s own.
///
/// # Safety
/// Only the vector table may refer to it.
#[unsafe(naked)]
#[unsafe(export_name = "HardFault")]
unsafe extern "C" fn hard_fault() -> ! {
    naked_asm!(
        "mrs r0, msp",
        "ldr r1, ={top}",
        "msr msp, r1",
        "bl {report}",
        top = sym stack::_stack_start,
        report = sym report,
    )
}

/// Says what happened; `frame` is where the stack had grown to.
extern "C" fn report(frame: usize) -> ! {
    let (room, end) = (stack::room(), stack::end());
    if frame < end + LARGEST_PUSH {
        defmt::error!("stack overflow: {=usize} bytes are not enough", room);
    } else {
        let pc = (frame as *const u32).wrapping_add(BEFORE_PC);
        // SAFETY: the frame lies in the stack, where the processor pushed it
        // before it came here.
        let pc = unsafe { pc.read_volatile() };
        defmt::error!("hard fault at {=u32:#010x}", pc);
    }
    board::exit(false)
}
