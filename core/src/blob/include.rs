//! Blobs as part of a program.

/// The bytes of a blob that is part of the program, as
/// [`include_bytes!`](core::include_bytes), at a multiple of
/// [`WEIGHT_ALIGN`](crate::blob::records::WEIGHT_ALIGN): fast kernels want it.
///
/// ```
/// static BLOB: &[u8] = tiny_ddpm::include_blob!("../../examples/digits.tddpm");
/// assert!(tiny_ddpm::Model::load(BLOB).is_ok());
/// ```
#[macro_export]
macro_rules! include_blob {
    ($path:expr $(,)?) => {{
        #[repr(C, align(16))]
        struct Aligned<T: ?Sized>(T);
        static ALIGNED: &Aligned<[u8]> = &Aligned(*::core::include_bytes!($path));
        &ALIGNED.0
    }};
}
