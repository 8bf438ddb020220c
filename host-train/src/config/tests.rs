use super::*;

/// The text of the preset.
fn smoke() -> &'static str {
    let found = PRESETS.iter().find(|(name, _)| *name == "smoke");
    found.expect("a preset").1
}

#[test]
fn presets_are_valid_and_survive_writing() {
    for (name, _) in PRESETS {
        let config = Config::preset(name).unwrap();
        assert_eq!(Config::parse(&config.to_toml().unwrap()).unwrap(), config);
    }
}

#[test]
fn the_reference_network_is_asked_for_by_name() {
    let good = PRESETS.iter().find(|(name, _)| *name == "reference");
    let good = good.unwrap().1;
    assert!(good.contains("architecture = \"reference\""));
    let config = Config::parse(good).unwrap();
    assert!(matches!(config.network, Shape::Reference(_)));
    assert_eq!(config.network.pixels(), 28 * 28);
    assert_eq!(config.recommended().guidance, 0.0);
    for (from, to, words) in [
        (
            "\"reference\"",
            "\"resnet\"",
            ["architecture = \"resnet\"", "left out"],
        ),
        ("heads = 4", "heads = 3", ["[network] heads = 3", "divide"]),
        ("heads = 4", "heads = 0", ["[network] heads = 0", "divide"]),
        ("heads = 4", "", ["missing field `heads`", "network"]),
        ("heads = 4", "hats = 4", ["unknown field `hats`", "heads"]),
        ("groups = 8", "groups = 9", ["groups = 9", "divide"]),
        ("layers = 2", "layers = 0", ["layers = 0", "1 to"]),
        (
            "image_size = 28",
            "image_size = 30",
            ["down_sample", "15 cannot be halved"],
        ),
        (
            "image_size = 28",
            "image_size = 65",
            ["image_size = 65", "1 to 64"],
        ),
        (
            "[true, true, false]",
            "[true, true]",
            ["down_sample has 2", "must be 3"],
        ),
        (
            "[256, 256, 128]",
            "[256, 256]",
            ["mid_channels ends with 256", "must be 128"],
        ),
        (
            "[256, 256, 128]",
            "[128, 128]",
            ["mid_channels starts with 128", "must be 256"],
        ),
        ("[32, 64,", "[0, 64,", ["0 channels", "1 to 1024"]),
        (
            "[32, 64, 128, 256]",
            "[256]",
            ["down_channels has 1", "2 to 9"],
        ),
        (
            "embedding = 128",
            "embedding = 127",
            ["embedding = 127", "even"],
        ),
        (
            "classes = 0",
            "classes = 300",
            ["classes = 300", "0 to 256"],
        ),
    ] {
        assert!(good.contains(from), "{from}");
        let error = format!("{:#}", Config::parse(&good.replace(from, to)).unwrap_err());
        for word in words {
            assert!(error.contains(word), "{to}: {error}");
        }
    }
    for (section, words) in [
        ("[training.qat]\nweight_bits = 8", "the reference network"),
        ("[training.distill]\nguidance = 0.5", "needs classes"),
    ] {
        let error = Config::parse(&format!("{good}\n{section}\n")).unwrap_err();
        assert!(error.to_string().contains(words), "{section}: {error:#}");
    }
    // With classes it may have a teacher.
    let with = good.replace("classes = 0", "classes = 10");
    Config::parse(&format!("{with}\n[training.distill]\nguidance = 0.5\n")).unwrap();
}

#[test]
fn learning_rate_rises_and_falls() {
    let training = Config::preset("digits").unwrap().training;
    let rate = |step| training.learning_rate_at(step) / training.learning_rate;
    assert!(rate(0) < 0.01);
    assert_eq!(rate(training.warmup_steps), 1.0);
    assert!(rate(training.steps - 1) < 1e-4);
    assert!((1..training.warmup_steps).all(|step| rate(step) > rate(step - 1)));
    assert!((training.warmup_steps + 1..training.steps).all(|step| rate(step) < rate(step - 1)));
}

#[test]
fn rounding_is_asked_for_in_a_section_of_its_own() {
    let plain = Config::preset("smoke").unwrap();
    assert_eq!(plain.training.qat, None);
    assert!(!plain.to_toml().unwrap().contains("qat"));
    let with = |line: &str| {
        let text = smoke();
        Config::parse(&format!("{text}\n[training.qat]\n{line}\n"))
    };
    let config = with("weight_bits = 4").unwrap();
    let weight_bits = WeightBits::Four;
    assert_eq!(config.training.qat, Some(QatConfig { weight_bits }));
    // What the file says of steps and learning rate stays.
    assert_eq!(config.training.steps, plain.training.steps);
    assert_eq!(Config::parse(&config.to_toml().unwrap()).unwrap(), config);
    for (line, words) in [
        ("weight_bits = 5", "5 bits: must be 8 or 4"),
        ("bits = 8", "unknown field"),
        ("", "weight_bits"),
    ] {
        let error = format!("{:#}", with(line).unwrap_err());
        assert!(error.contains(words), "{line}: {error}");
    }

    let mut asked = plain.training;
    asked.shorten();
    asked.fine_tune(Some(WeightBits::Eight), None);
    assert_eq!((asked.steps, asked.warmup_steps), (TUNING_STEPS, 0));
    let mut configured = config.training;
    let half = DistillConfig {
        guidance: 0.5,
        up_to: None,
    };
    configured.shorten();
    configured.fine_tune(Some(WeightBits::Eight), Some(half));
    assert_eq!(configured.steps, plain.training.steps);
    let weight_bits = WeightBits::Eight;
    assert_eq!(configured.qat, Some(QatConfig { weight_bits }));
    assert_eq!(configured.distill, Some(half));
    assert_eq!(asked.distill, None);
}

#[test]
fn a_teacher_is_asked_for_in_a_section_of_its_own() {
    let with = |line: &str| {
        let text = smoke();
        Config::parse(&format!("{text}\n[training.distill]\n{line}\n"))
    };
    let config = with("guidance = 0.5").unwrap();
    let everywhere = config.training.distill.unwrap();
    assert_eq!((everywhere.guidance, everywhere.up_to), (0.5, None));
    assert_eq!(everywhere.guidance_at(1000), 0.5);
    assert_eq!(Config::parse(&config.to_toml().unwrap()).unwrap(), config);
    assert_eq!(config.recommended_guidance(), 0.0);

    let config = with("guidance = 0.5\nup_to = 800").unwrap();
    let late = config.training.distill.unwrap();
    let guided = [1, 800, 801, 1000].map(|t| late.guidance_at(t));
    assert_eq!(guided, [0.5, 0.5, 0.0, 0.0]);
    assert_eq!(Config::parse(&config.to_toml().unwrap()).unwrap(), config);
    for (line, words) in [
        ("guidance = -0.5", "guidance = -0.5: must be"),
        ("guidance = 101.0", "guidance = 101: must be"),
        ("guidance = nan", "guidance = NaN: must be"),
        ("w = 0.5", "unknown field"),
        (
            "guidance = 0.5\nup_to = 0",
            "up_to = 0: must be a timestep, 1 to 1000",
        ),
        ("guidance = 0.5\nup_to = 1001", "up_to = 1001: must be"),
    ] {
        let error = format!("{:#}", with(line).unwrap_err());
        assert!(error.contains(words), "{line}: {error}");
    }
}

#[test]
fn losses_are_chosen_by_name() {
    let plain = Config::preset("smoke").unwrap();
    assert_eq!(plain.training.loss, Loss::Simple);
    assert!(!plain.to_toml().unwrap().contains("loss"));
    let with = |lines: &str| Config::parse(&smoke().replace("seed = 1", lines));
    for (lines, loss, gamma) in [
        ("seed = 1\nloss = \"simple\"", Loss::Simple, 5.0),
        ("seed = 1\nloss = \"weighted\"", Loss::Weighted, 5.0),
        ("seed = 1\nloss = \"min-snr\"", Loss::MinSnr, 5.0),
        (
            "seed = 1\nloss = \"min-snr\"\nmin_snr_gamma = 3.0",
            Loss::MinSnr,
            3.0,
        ),
    ] {
        let config = with(lines).unwrap();
        assert_eq!(
            (config.training.loss, config.training.gamma()),
            (loss, gamma)
        );
        assert_eq!(Config::parse(&config.to_toml().unwrap()).unwrap(), config);
    }
    for (lines, words) in [
        ("seed = 1\nloss = \"max\"", "unknown variant `max`"),
        ("seed = 1\nmin_snr_gamma = 3.0", "only for loss"),
        (
            "seed = 1\nloss = \"min-snr\"\nmin_snr_gamma = 0.0",
            "min_snr_gamma = 0: must be",
        ),
    ] {
        let error = format!("{:#}", with(lines).unwrap_err());
        assert!(error.contains(words), "{lines}: {error}");
    }
}

/// Each bad value and the words its message must have.
#[test]
fn bad_values_are_named() {
    let good = smoke();
    for (from, to, words) in [
        ("steps = 60", "steps = 0", ["steps = 0", "1 to"]),
        ("batch = 32", "batch = 0", ["batch = 0", "1 to"]),
        (
            "timesteps = 1000",
            "timesteps = 0",
            ["0 timesteps", "1 to 4000"],
        ),
        (
            "timesteps = 1000",
            "timesteps = 4001",
            ["4001 timesteps", "1 to 4000"],
        ),
        ("heads = 2", "heads = 5", ["5 heads", "divide"]),
        ("patch = 4", "patch = 3", ["patch 3", "divide image_size"]),
        (
            "class_dropout = 0.1",
            "class_dropout = 1.5",
            ["class_dropout = 1.5", "0 to 1"],
        ),
        (
            "learning_rate = 4e-3",
            "learning_rate = nan",
            ["learning_rate = NaN", "must be"],
        ),
        ("seed = 1", "sede = 1", ["sede", "unknown field"]),
        (
            "prediction = \"v\"",
            "prediction = \"w\"",
            ["unknown variant `w`", "epsilon"],
        ),
        (
            "shards = 2",
            "shards = 3",
            ["shards = 3", "divide batch = 32"],
        ),
    ] {
        assert!(good.contains(from), "{from}");
        let error = format!("{:#}", Config::parse(&good.replace(from, to)).unwrap_err());
        for word in words {
            assert!(error.contains(word), "{to}: {error}");
        }
    }
}

#[test]
fn how_to_sample_is_optional_and_checked() {
    let plain = Config::preset("smoke").unwrap();
    assert!(!plain.to_toml().unwrap().contains("[sampling]"));
    let found = plain.recommended();
    assert_eq!((found.steps, found.guidance, found.eta), (20, 0.5, 0.0));
    let with = |lines: &str| Config::parse(&format!("{}\n[sampling]\n{lines}\n", smoke()));
    let config = with("steps = 50\neta = 0.5\nguidance = 1.5").unwrap();
    let found = config.recommended();
    assert_eq!((found.steps, found.guidance, found.eta), (50, 1.5, 0.5));
    assert_eq!(Config::parse(&config.to_toml().unwrap()).unwrap(), config);
    assert_eq!(config.recommended_method(), Method::Ddim { eta: 0.5 });
    let found = with("steps = 1").unwrap().recommended();
    assert_eq!((found.steps, found.guidance, found.eta), (1, 0.5, 0.0));
    for (lines, words) in [
        ("steps = 0", "[sampling] steps = 0: must be 1 to"),
        (
            "steps = 1001",
            "[sampling] steps = 1001: must be 1 to the schedule's 1000",
        ),
        ("eta = 1.5", "[sampling] eta = 1.5: must be 0 to 1"),
        ("eta = nan", "[sampling] eta = NaN"),
        (
            "guidance = -1.0",
            "[sampling] guidance = -1: must be 0 to 100",
        ),
        ("guidance = inf", "[sampling] guidance = inf"),
        ("sampler = \"heun\"", "unknown field"),
    ] {
        let error = format!("{:#}", with(lines).unwrap_err());
        assert!(error.contains(words), "{lines}: {error}");
    }
    let steps = |name| Config::preset(name).unwrap().recommended().steps;
    assert_eq!(["digits", "nano", "swiss-roll"].map(steps), [20, 10, 100]);
}

#[test]
fn guidance_needs_a_network_trained_both_ways() {
    let dropout = |value: &str, more: &str| {
        let text = smoke().replace("class_dropout = 0.1", &format!("class_dropout = {value}"));
        Config::parse(&(text + more))
    };
    assert!(!dropout("0.1", "").unwrap().is_conditional_only());
    let config = dropout("0.0", "").unwrap();
    assert!(config.is_conditional_only());
    assert_eq!(config.recommended().guidance, 0.0);
    dropout("0.0", "[sampling]\nguidance = 0.0\n").unwrap();
    // A network without classes is always trained without one.
    let swiss_roll = Config::preset("swiss-roll").unwrap();
    assert!(!swiss_roll.is_conditional_only());
    let text = swiss_roll.to_toml().unwrap() + "guidance = 0.5\n";
    for (found, words) in [
        (
            dropout("0.0", "[sampling]\nguidance = 0.5\n"),
            "[training] class_dropout = 0",
        ),
        (Config::parse(&text), "[network] classes = 0"),
        (dropout("1.0", ""), "class_dropout = 1: with 1 no picture"),
    ] {
        let error = format!("{:#}", found.unwrap_err());
        assert!(error.contains(words), "{error}");
    }
}
