//! WebAssembly: whoever runs it imports `print` and calls `run`.

use core::fmt::{Arguments, Write};

#[link(wasm_import_module = "host")]
unsafe extern "C" {
    /// Prints so many bytes of UTF-8 from there.
    safe fn print(at: *const u8, length: usize);
}

/// 1 if all went well; to be called once.
#[unsafe(no_mangle)]
extern "C" fn run() -> u32 {
    crate::main().into()
}

struct Host;

impl Write for Host {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        print(text.as_ptr(), text.len());
        Ok(())
    }
}

/// Prints a line.
pub fn say(line: Arguments<'_>) {
    // The host takes everything.
    let _ = writeln!(Host, "{line}");
}

/// There is a megabyte of it at least, and nothing to tell.
pub fn stack_sufficed() -> bool {
    true
}

/// Ends without success.
pub fn fail() -> ! {
    core::arch::wasm32::unreachable()
}
