//! A configuration of a training: what is accepted can be written and read
//! again, and describes a training that can begin.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tiny_ddpm_train::config::Config;

fuzz_target!(|text: &str| {
    let config = match Config::parse(text) {
        Ok(config) => config,
        Err(error) => {
            assert!(!format!("{error:#}").is_empty());
            return;
        }
    };
    let written = config.to_toml().expect("what was read can be written");
    assert_eq!(Config::parse(&written).expect("what was written"), config);

    let (schedule, training) = (config.schedule().expect("was checked"), &config.training);
    assert!(schedule.alpha_bar(schedule.timesteps()) > 0.0);
    assert!(config.network.pixels() > 0);
    let recommended = config.recommended();
    assert!((1..=schedule.timesteps()).contains(&recommended.steps));
    for step in [0, training.warmup_steps, training.steps / 2, training.steps] {
        let rate = training.learning_rate_at(step);
        assert!((0.0..=training.learning_rate).contains(&rate), "{rate}");
    }
    assert!(training.batch.is_multiple_of(training.shards));
    assert!(training.gamma() > 0.0);
});
