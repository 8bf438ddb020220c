//! An error as a line of text.

use std::fmt::Write;

use anyhow::Error;

/// An error with its causes, each said once.
///
/// Many libraries repeat in an error's text what its source says, so that
/// `{:#}` would print it twice.
#[must_use]
pub fn message(error: &Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.trim_end().ends_with(cause.trim_end()) {
            // Writing to a string does not fail.
            let _ = write!(text, ": {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};
    use std::io;

    #[test]
    fn a_cause_is_said_once() {
        let full = || io::Error::from_raw_os_error(28);
        let said = full().to_string();
        let plain = Error::from(full()).context("cannot write a");
        assert_eq!(message(&plain), format!("cannot write a: {said}"));

        // Tells in its text what its source says, too.
        #[derive(Debug)]
        struct Wrapper(io::Error);
        impl std::fmt::Display for Wrapper {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "wrapped: {}", self.0)
            }
        }
        impl std::error::Error for Wrapper {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let wrapped: Result<(), _> = Err(Wrapper(full()));
        let wrapped = wrapped.context("cannot write b").unwrap_err();
        assert_eq!(
            message(&wrapped),
            format!("cannot write b: wrapped: {said}")
        );

        let two = anyhow!("no space").context("disk a").context("disk");
        assert_eq!(message(&two), "disk: disk a: no space");
    }
}
