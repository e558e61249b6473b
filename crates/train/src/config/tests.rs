use unet3p_models::Variant;

use super::*;

const SMALLEST: &str = "[data]\npaths = [\"slices\"]\n";

fn message(text: &str, overrides: &[&str]) -> String {
    let overrides: Vec<String> = overrides.iter().map(|s| s.to_string()).collect();
    TrainConfig::from_toml(&format!("{SMALLEST}{text}"), &overrides).unwrap_err().to_string()
}

#[test]
fn the_resolved_configuration_reads_back() {
    let text = format!(
        "{SMALLEST}crop = [96, 112]\n[augmentation.flip]\nhorizontal = 0.5\n[loss]\nsegmentation = \"dice\"\n"
    );
    let config = TrainConfig::from_toml(&text, &[]).unwrap();
    assert_eq!(config.augmentation.flip.horizontal, 0.5);
    assert_eq!(TrainConfig::from_toml(&config.to_toml().unwrap(), &[]).unwrap(), config);
}

#[test]
fn overrides_win_over_the_file() {
    let overrides = [
        "train.batch_size=7",
        "loss.segmentation=bce",
        "augmentation.scale.range=[0.9, 1.1]",
        "model.variant = \"deep_supervision\"",
    ];
    let config = TrainConfig::from_toml(SMALLEST, &overrides.map(String::from)).unwrap();
    assert_eq!(config.train.batch_size, 7);
    assert_eq!(config.augmentation.scale.range, [0.9, 1.1]);
    assert_eq!(config.model.variant, Variant::DeepSupervision);
    assert_eq!(config.head_weights().len(), 5);
}

#[test]
fn errors_name_the_key_the_value_and_what_is_allowed() {
    assert!(message("[train]\nbatchsize = 3", &[]).contains("batchsize"));
    assert!(message("", &["train.batchsize=3"]).contains("batchsize"));
    assert!(message("", &["train.batch_size"]).contains("table.key=value"));
    assert!(message("[model]\nvariant = \"bse\"", &[]).contains("deep_supervision_cgm"));
    for (setting, parts) in [
        ("train.batch_size=0", ["train.batch_size = 0", "1 to 1024"]),
        ("data.crop=[100, 96]", ["data.crop = [100, 96]", "multiples of 16"]),
        ("train.learning_rate=-1.0", ["train.learning_rate = -1", "above 0"]),
        ("train.ema_decay=1.0", ["train.ema_decay = 1", "below 1"]),
        ("train.batch_size=1025", ["train.batch_size = 1025", "1 to 1024"]),
        ("train.statistics_batches=9223372036854775807", ["train.statistics_batches = 92", "1 to 4096"]),
        ("data.prefetch=9223372036854775807", ["data.prefetch = 92", "1 to 1024"]),
        ("data.workers=257", ["data.workers = 257", "0 to 256"]),
        ("data.crop=[8208, 16]", ["data.crop = [8208, 16]", "up to 8192"]),
        ("data.crop=[8192, 8192]", ["data.crop = [8192, 8192]", "train.batch_size (4)"]),
        ("model.filters=[65536, 65536, 65536, 65536, 65536]", ["model.filters = [65536", "parameters"]),
        ("model.encoder=resnet18", ["resnet18", "resnet34"]),
        ("model.encoder_weights=a.pth", ["model.encoder_weights = a.pth", "other than \"plain\""]),
        ("data.image_std=[0.2]", ["data.image_mean", "together with data.image_std"]),
        ("loss.heads=[-1.0]", ["loss.heads = [-1.0]", "0 or more"]),
        ("loss.heads=[0]", ["loss.heads = [0.0]", "one of them above 0"]),
        ("data.resize=[1, 1]", ["data.resize = [1, 1]", "16 to 8192"]),
        ("loss.heads=[1.0, 1.0]", ["loss.heads = [1.0, 1.0]", "1 weights"]),
        ("augmentation.blur.probability=2.0", ["augmentation.blur.probability = 2", "0 to 1"]),
        ("model.filters=[0, 1, 2, 3, 4]", ["filters", "0"]),
        ("log.images=257", ["log.images = 257", "0 to 256"]),
        ("loss.segmentation=cross_entropy", ["loss.segmentation = { name = \"cross_entropy\" }", "softmax"]),
    ] {
        let message = message("", &[setting]);
        assert!(parts.iter().all(|part| message.contains(part)), "{setting}: {message}");
    }
    let residual = message("", &["model.encoder=resnet34", "data.crop=[48, 32]"]);
    assert!(residual.contains("multiples of 32 with encoder resnet34"), "{residual}");
    let both = message("", &["train.steps=5", "train.epochs=5"]);
    assert!(both.contains("train.steps = 5") && both.contains("leave one of them out"), "{both}");
    assert!(TrainConfig::from_toml("", &[]).unwrap_err().to_string().contains("data.paths"));
    let message = message("", &["model.activation=softmax", "model.num_classes=1"]);
    assert!(message.contains("two classes"), "{message}");
}

#[test]
fn class_names_become_labels() {
    let overrides = ["model.num_classes=2", "model.class_names=[\"liver\", \"spleen\"]"].map(String::from);
    let network = TrainConfig::from_toml(SMALLEST, &overrides).unwrap().network().unwrap();
    assert_eq!(network.id2label[&2], "spleen");
    assert_eq!(network.label2color["liver"], default_color(1));
    let unnamed = TrainConfig::from_toml(SMALLEST, &overrides[..1]).unwrap();
    assert!(unnamed.network().unwrap().id2label.is_empty());
    assert_eq!(unnamed.class_names(), ["1", "2"]);
}

#[test]
fn names_tell_the_number_of_classes_and_are_told_apart() {
    let names = "model.class_names=[\"a\", \"b\"]".to_string();
    let outputs = |settings: &[&str]| {
        let settings = [&[names.as_str()], settings].concat();
        let settings: Vec<String> = settings.into_iter().map(String::from).collect();
        TrainConfig::from_toml(SMALLEST, &settings).unwrap().outputs()
    };
    assert_eq!(outputs(&[]), 2);
    assert_eq!(outputs(&["model.activation=softmax", "loss.segmentation=dice"]), 3);
    for (wrong, part) in [
        ("[\"a\", \"a\"]", "both named \"a\""),
        ("[\"a\", \"\"]", "empty name"),
        ("[\"a\\nb\"]", "line breaks"),
    ] {
        let message = message("", &[&format!("model.class_names={wrong}")]);
        assert!(message.contains("model.class_names = [") && message.contains(part), "{message}");
    }
    for (settings, part) in [
        (&["model.num_classes=1"][..], "set model.num_classes = 2 (sigmoid counts the classes without"),
        (
            &["model.num_classes=2", "model.activation=softmax"],
            "set model.num_classes = 3 (softmax counts the",
        ),
    ] {
        let message = message("", &[&[names.as_str()], settings].concat());
        assert!(message.contains("model.class_names") && message.contains(part), "{message}");
    }
}

#[test]
fn an_override_replaces_what_says_the_same() {
    let text = "[data]\npaths = [\"slices\"]\nvalidation_groups = [\"a\"]\nmask_values = { 0 = 0, 7 = 1 }\n\
                [train]\nepochs = 7\n";
    let read = |settings: &[&str]| {
        let settings: Vec<String> = settings.iter().map(|s| s.to_string()).collect();
        TrainConfig::from_toml(text, &settings).unwrap()
    };
    let replaced =
        read(&["train.steps = 9", "data.validation_fraction=0.5", "data.mask_colors={\"#ff0000\"=1}"]);
    assert_eq!((replaced.train.epochs, replaced.train.steps), (None, Some(9)));
    assert_eq!((replaced.data.validation_groups, replaced.data.validation_fraction), (None, Some(0.5)));
    assert!(replaced.data.mask_values.is_none() && replaced.data.mask_colors.is_some());
    // A key in the table of another is no other way to say it.
    let changed = read(&["train.epochs=8", "data.mask_values.9=1"]);
    assert_eq!((changed.train.epochs, changed.train.steps), (Some(8), None));
    let expected = [(0, 0), (7, 1), (9, 1)];
    assert_eq!(changed.data.mask_values, Some(expected.into_iter().collect()));
}
