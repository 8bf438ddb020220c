//! Says what came of it, without `core::fmt`, which can panic.

use crate::{Failure, Sampled, board};

/// A line of `name=value` words, or why there is none.
pub fn result(result: Result<Sampled, Failure>) {
    match result {
        Ok(Sampled { pixels, state }) => {
            board::write("@sampled pixels=");
            hexadecimal(pixels);
            board::write(" state=");
            hexadecimal(state);
        }
        Err(failure) => {
            board::write("@refused reason=");
            board::write(match failure {
                Failure::Blob => "blob",
                Failure::Words => "words",
                Failure::Memory => "memory",
                Failure::Settings => "settings",
                Failure::Network => "network",
            });
        }
    }
    board::write("\n");
}

fn hexadecimal(word: u32) {
    for shift in (0..32).step_by(4).rev() {
        let digit = (word >> shift & 0xf) as u8;
        board::put(match digit {
            0..=9 => b'0' + digit,
            _ => b'a' - 10 + digit,
        });
    }
}
