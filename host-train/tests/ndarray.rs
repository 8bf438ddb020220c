//! The f32 network by two backends that share no code for tensors.

mod common;

use common::{every_layer, lively_network, predict, tiny_reference};
use tiny_ddpm_train::config::Config;
use tiny_ddpm_train::network::Backend;

#[test]
fn ndarray_predicts_what_flex_predicts() {
    let digits = Config::preset("digits").unwrap();
    for config in [digits, every_layer(), tiny_reference(10)] {
        let [flex, ndarray] = [Backend::Flex, Backend::Ndarray]
            .map(|backend| backend.device().unwrap())
            .map(|device| predict(&lively_network(&config, &device), &config, &device));
        let largest = flex.iter().fold(0f32, |largest, x| largest.max(x.abs()));
        assert!(largest > 0.1, "the network predicts next to nothing");
        for (a, b) in flex.iter().zip(&ndarray) {
            assert!((a - b).abs() <= 2e-4 * largest.max(1.0), "{a} and {b}");
        }
    }
}
