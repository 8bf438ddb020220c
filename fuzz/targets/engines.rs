//! Every engine of this machine against the definition, sum by sum, in the
//! memory that it may have and in the least.

#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use tiny_ddpm_fuzz::kernels::compare;

fuzz_target!(|bytes: &[u8]| {
    // Too few bytes say nothing.
    let _ = compare(Unstructured::new(bytes));
});
