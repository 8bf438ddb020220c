//! What is asked of a board is checked before anything is built.

use tiny_ddpm::Model;
use tiny_ddpm::blob::records::Record;
use tiny_ddpm::blob::{HEADER_LEN, header};
use xtask::request::{Request, read_blob};
use xtask::{DIGITS, root};

/// The digits without the row of the class table that stands for no class, as
/// `export` writes a run with `class_dropout = 0`.
fn conditional_only() -> Vec<u8> {
    let mut blob = read_blob(&root().join(DIGITS)).unwrap();
    let model = Model::load(&blob).unwrap();
    let row = 2 * usize::from(model.topology().embedding);
    let arch_hash = model.arch_hash();
    let mut end = 0;
    model.for_each_layer(|layer| {
        if let Record::Table(classes) = layer.record {
            end = classes.values.as_ptr_range().end.addr() - blob.as_ptr().addr();
        }
    });
    blob[end - row..end].fill(0);
    let (head, body) = blob.split_at_mut(HEADER_LEN);
    head.copy_from_slice(&header::seal(arch_hash, body));
    blob
}

#[test]
fn a_model_only_trained_with_a_class_is_not_guided() {
    let blob = conditional_only();
    let model = Model::load(&blob).unwrap();
    assert!(model.is_conditional_only());
    let mut request = Request::recommended(&model);
    request.guidance = 0.5;
    let error = request.check(&model).unwrap_err().to_string();
    assert!(
        error.contains("guidance 0.5") && error.contains("only trained with a class"),
        "{error}"
    );
    request.guidance = 0.0;
    request.check(&model).unwrap();
}
