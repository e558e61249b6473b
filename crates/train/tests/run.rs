//! Runs of the trainer from a folder of slices to model folders.
// Helpers beside the tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use candle_core::{DType, Device};
use common::{config, run, write_discs};
use image::{GrayImage, Luma};
use unet3p_data::Preprocessor;
use unet3p_models::UNet3Plus;
use unet3p_train::{Best, Error, Event, TrainConfig, Trainer};

#[test]
fn all_variants_learn() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    write_discs(&data);
    for (variant, loss) in [
        ("base", "dice_cross_entropy"),
        ("deep_supervision", "hybrid"),
        ("deep_supervision_cgm", "dice_cross_entropy"),
    ] {
        let settings = [format!("model.variant={variant}"), format!("loss.segmentation={loss}")];
        let config = config(&data, &settings.each_ref().map(String::as_str));
        let out = dir.path().join(variant);
        let (summary, epochs) = run(config, out.clone());
        assert_eq!(summary.steps, 40);
        // Two steps an epoch: 20 epochs, a validation every fifth.
        let dice: Vec<f64> = epochs.iter().filter_map(|e| e.validation.as_ref()?.mean_dice()).collect();
        assert_eq!((epochs.len(), dice.len()), (20, 4));
        assert!(epochs[19].loss < 0.6 * epochs[0].loss, "{variant}: {} {}", epochs[0].loss, epochs[19].loss);
        let Best { value: best, epoch } = summary.best.unwrap();
        assert!(best > 0.85, "{variant}: {dice:?}");
        assert_eq!(epochs.iter().rev().find(|e| e.is_best).unwrap().epoch, epoch);

        let lines = std::fs::read_to_string(out.join("metrics.csv")).unwrap();
        assert_eq!(lines.lines().count(), 21);
        let presence = if variant == "deep_supervision_cgm" { "presence_auc," } else { "" };
        assert!(lines.starts_with(&format!(
            "epoch,step,learning_rate,loss,gradient_norm,images_per_second,validation_loss,dice,{presence}dice_1,\
             false_positives_1\n"
        )));
        let text = std::fs::read_to_string(out.join("config.toml")).unwrap();
        assert_eq!(TrainConfig::from_toml(&text, &[]).unwrap().train.steps, Some(40));
        for folder in ["best", "last"] {
            let model = UNet3Plus::load(out.join(folder), &Device::Cpu).unwrap();
            assert_eq!(model.config().filters, [4, 8, 16, 32, 64]);
            Preprocessor::load(&out.join(folder)).unwrap();
            let card = std::fs::read_to_string(out.join(folder).join("README.md")).unwrap();
            for part in
                ["---\nlibrary_name: unet3p\npipeline_tag: image-segmentation\n", "Not for clinical use"]
            {
                assert!(card.contains(part), "{part}: {card}");
            }
            assert!(
                card.contains("| training | 8 | `a` |") && card.contains("| validation | 8 | `b` |"),
                "{card}"
            );
            assert!(folder != "best" || card.contains(&format!("{best:.4} in the mean")), "{best}: {card}");
        }
    }
}

/// Networks of other depths train with a loss for each of their heads, and are resumed as they are.
#[test]
fn every_depth_trains_with_all_its_heads() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    write_discs(&data);
    for (filters, heads) in [("[4, 8, 16]", 3), ("[4, 8, 8, 16]", 4), ("[2, 4, 4, 8, 8, 8]", 6)] {
        for variant in ["deep_supervision", "deep_supervision_cgm"] {
            let settings = [
                format!("model.filters={filters}"),
                format!("model.variant={variant}"),
                "loss.segmentation=dice_cross_entropy".into(),
                "train.steps=3".into(),
            ];
            let out = dir.path().join(format!("{variant}{heads}"));
            let (_, epochs) = run(config(&data, &settings.each_ref().map(String::as_str)), out.clone());
            assert!(epochs[0].loss.is_finite());
            let model = UNet3Plus::load(out.join("last"), &Device::Cpu).unwrap();
            assert_eq!(model.config().filters.len(), heads);
        }
    }
}

/// Other encoders learn, normalise as they are told, and their models say so.
#[test]
fn encoders_learn() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    write_discs(&data);
    for (encoder, filters) in [("vgg11_bn", "[4, 8, 16, 32, 32]"), ("resnet34", "[4, 4, 8, 16, 32]")] {
        let settings = [
            format!("model.encoder={encoder}"),
            format!("model.filters={filters}"),
            "data.image_mean=[0.5]".into(),
            "data.image_std=[0.25]".into(),
            "loss.segmentation=dice_cross_entropy".into(),
        ];
        let out = dir.path().join(encoder);
        let (summary, epochs) = run(config(&data, &settings.each_ref().map(String::as_str)), out.clone());
        assert!(epochs[19].loss < 0.6 * epochs[0].loss, "{encoder}: {} {}", epochs[0].loss, epochs[19].loss);
        assert!(summary.best.unwrap().value > 0.8, "{encoder}: {:?}", summary.best);
        let model = UNet3Plus::load(out.join("best"), &Device::Cpu).unwrap();
        assert_eq!(model.config().encoder.to_string(), encoder);
        let preprocessor = Preprocessor::load(&out.join("best")).unwrap();
        assert!(preprocessor.do_normalize && preprocessor.image_mean == [0.5], "{preprocessor:?}");
    }
    let settings = ["model.encoder=resnet34", "model.encoder_weights=resnet34.pth", "train.steps=1"];
    let awaiting = Trainer::new(config(&data, &settings), dir.path().join("awaiting"), Device::Cpu);
    let error = awaiting.unwrap().run(&mut |_: &Event| ()).unwrap_err().to_string();
    assert!(error.contains("model.encoder_weights = resnet34.pth"), "{error}");
}

#[test]
fn the_same_seed_gives_the_same_weights_whatever_the_number_of_workers() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    write_discs(&data);
    let weights = |name: &str, settings: &[&str]| {
        let settings = [&["train.steps=7", "model.variant=deep_supervision_cgm"], settings].concat();
        run(config(&data, &settings), dir.path().join(name));
        std::fs::read(dir.path().join(name).join("last/model.safetensors")).unwrap()
    };
    let one = weights("one", &["data.workers=1"]);
    for workers in ["data.workers=0", "data.workers=3"] {
        assert!(one == weights(workers, &[workers, "data.prefetch=1"]), "{workers}");
    }
    assert!(one != weights("other", &["train.seed=4"]));
}

#[test]
fn without_validation_the_best_model_is_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    write_discs(&data);
    let out = dir.path().join("run");
    let settings =
        ["train.steps=5", "data.validation_groups=[]", "train.ema_decay=0.0", "data.crop=[16, 48]"];
    let (summary, epochs) = run(config(&data, &settings), out.clone());
    assert_eq!(summary.best, None);
    // Four steps an epoch, and one more.
    assert_eq!(epochs.iter().map(|e| e.step).collect::<Vec<_>>(), [4, 5]);
    let file = |folder: &str| std::fs::read(out.join(folder).join("model.safetensors")).unwrap();
    assert!(file("best") == file("last"));
}

#[test]
fn softmax_and_gray_images() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    write_discs(&data);
    let settings = [
        "model.activation=softmax",
        "model.num_classes=2",
        "model.in_channels=1",
        "model.class_names=[\"disc\"]",
        "loss.segmentation=cross_entropy",
        "train.steps=3",
    ];
    run(config(&data, &settings), dir.path().join("run"));
    let model = UNet3Plus::load(dir.path().join("run/last"), &Device::Cpu).unwrap();
    assert_eq!(model.config().id2label[&1], "disc");
    assert_eq!(model.parameters().dtype(), DType::F32);
}

#[test]
fn a_loss_that_is_not_a_number_names_the_batch() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    write_discs(&data);
    let settings = ["train.learning_rate=1e30", "train.warm_up=0", "train.clip_norm=0.0"];
    let mut trainer = Trainer::new(config(&data, &settings), dir.path().join("run"), Device::Cpu).unwrap();
    let error = trainer.run(&mut |_: &Event| {}).unwrap_err();
    assert!(matches!(&error, Error::NotFinite { files, .. } if files.len() == 4), "{error}");
    assert!(error.to_string().contains("a_"), "{error}");
    let record = std::fs::read_to_string(dir.path().join("run/failed_batch.json")).unwrap();
    assert!(record.contains("\"a_") && record.contains("\"step\""), "{record}");
}

#[test]
fn what_does_not_fit_is_said_before_the_first_step() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    write_discs(&data);
    let out = dir.path().join("run");
    let message = |settings: &[&str]| {
        let trainer = Trainer::new(config(&data, settings), out.clone(), Device::Cpu);
        trainer.err().unwrap().to_string()
    };
    let found = message(&["model.in_channels=2"]);
    assert!(found.contains("model.in_channels = 2"), "{found}");
    assert!(message(&["data.validation_groups=[\"c\"]"]).contains("a, b"));
    assert!(message(&["data.paths=[\"nowhere\"]"]).contains("nowhere"));
    run(config(&data, &["train.steps=1"]), out.clone());
    assert!(message(&[]).contains("holds a run already"));
}

#[test]
fn folders_of_one_run_agree() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let paths = format!("data.paths=[{:?}, {:?}]", one.display().to_string(), two.display().to_string());
    let open = |settings: &[&str]| {
        let settings = [&[paths.as_str()], settings].concat();
        Trainer::new(config(&one, &settings), dir.path().join("run"), Device::Cpu)
    };
    let differ = || {
        let error = open(&[]).err().unwrap();
        let text = error.to_string();
        assert!(matches!(error, Error::Setting { .. }), "{text}");
        assert!([&one, &two].iter().all(|dir| text.contains(&dir.display().to_string())), "{text}");
        text
    };
    write_discs(&one);
    write_discs(&two);
    Preprocessor::default().save(&one).unwrap();
    open(&[]).unwrap();
    let resized = unet3p_data::Size { height: 48, width: 48 };
    Preprocessor { size: Some(resized), ..Preprocessor::default() }.save(&two).unwrap();
    assert!(differ().contains("preprocessor_config.json"));
    Preprocessor::default().save(&two).unwrap();

    let index = std::fs::read_to_string(one.join("dataset.json")).unwrap();
    let named = |name: &str| index.replacen('{', &format!(r#"{{"classes": [{{"name": "{name}"}}], "#), 1);
    std::fs::write(one.join("dataset.json"), named("disc")).unwrap();
    open(&[]).unwrap();
    std::fs::write(two.join("dataset.json"), named("ring")).unwrap();
    assert!(differ().contains("classes"));
    std::fs::write(two.join("dataset.json"), index.replacen('{', r#"{"classes": 1, "#, 1)).unwrap();
    let broken = open(&[]).err().unwrap().to_string();
    assert!(broken.contains(&two.join("dataset.json").display().to_string()), "{broken}");
}

#[test]
fn a_folder_without_images_is_a_wrong_setting() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["images", "masks"] {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    let error = Trainer::new(config(dir.path(), &[]), dir.path().join("run"), Device::Cpu).err().unwrap();
    assert!(matches!(&error, Error::Setting { key, .. } if key == "data.paths"), "{error}");
}

#[test]
fn a_run_that_saved_nothing_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data"), dir.path().join("run"));
    write_discs(&data);
    let settings = ["train.learning_rate=1e30", "train.warm_up=0", "train.clip_norm=0.0"];
    let mut trainer = Trainer::new(config(&data, &settings), out.clone(), Device::Cpu).unwrap();
    trainer.run(&mut |_: &Event| {}).unwrap_err();
    // It holds the folder as long as it lives.
    let second = Trainer::new(config(&data, &[]), out.clone(), Device::Cpu).err().unwrap();
    assert!(matches!(second, Error::RunInUse(_)), "{second}");
    drop(trainer);
    run(config(&data, &["train.steps=1"]), out.clone());
    let again = Trainer::new(config(&data, &[]), out, Device::Cpu).err().unwrap();
    assert!(matches!(again, Error::RunExists(_)), "{again}");
}

#[test]
fn a_run_goes_on_to_more_steps_as_if_it_had_been_asked_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    write_discs(&data);
    for optimizer in ["adamw", "adam", "sgd"] {
        let settings = |steps: usize| {
            let optimizer = format!("train.optimizer={optimizer}");
            let steps = format!("train.steps={steps}");
            let fixed = ["train.schedule=constant", "train.warm_up=1", "model.variant=deep_supervision_cgm"]
                .map(String::from);
            [vec![optimizer, steps], fixed.to_vec()].concat()
        };
        let config = |steps| {
            let settings = settings(steps);
            config(&data, &settings.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let (whole, parts) = (dir.path().join(format!("{optimizer}-whole")), dir.path().join(optimizer));
        let (_, all) = run(config(5), whole.clone());
        run(config(3), parts.clone());
        let mut resumed = Trainer::resume(&parts, &["train.steps=5".into()], Device::Cpu).unwrap();
        assert_eq!((resumed.steps_done(), resumed.plan().steps), (3, 5));
        let summary = resumed.run(&mut |_: &Event| {}).unwrap();
        assert_eq!((summary.steps, summary.stopped_early), (5, false));
        drop(resumed);
        let read = |dir: &Path| std::fs::read(dir.join("last/model.safetensors")).unwrap();
        assert!(read(&whole) == read(&parts), "{optimizer}");
        // A run that is done has nothing left to do.
        let mut done = Trainer::resume(&parts, &[], Device::Cpu).unwrap();
        assert_eq!(done.run(&mut |_: &Event| {}).unwrap().best, summary.best);
        assert_eq!(all.len(), 3);
    }
}

#[test]
fn a_run_stops_when_validations_stop_to_improve() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    write_discs(&data);
    let out = dir.path().join("run");
    // So small a rate that no mask changes: the first validation stays the best.
    let settings = [
        "train.learning_rate=1e-12",
        "train.validate_every=1",
        "train.patience=3",
        "train.ema_decay=0.0",
        "train.monitor=dice_disc",
        "model.class_names=[\"disc\"]",
    ];
    let (summary, epochs) = run(config(&data, &settings), out.clone());
    assert!(summary.stopped_early && summary.steps < 40, "{summary:?}");
    let best = summary.best.unwrap().epoch;
    assert_eq!(epochs.len(), best + 3);
    assert!(epochs[best - 1].is_best && epochs[best..].iter().all(|epoch| !epoch.is_best));
    let error = Trainer::new(config(&data, &["train.monitor=dice_ring"]), dir.path().join("x"), Device::Cpu);
    let error = error.err().unwrap().to_string();
    assert!(error.contains("train.monitor") && error.contains("dice_1"), "{error}");
}

#[test]
fn gradients_are_accumulated_over_batches() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    write_discs(&data);
    let settings = ["train.accumulate=4", "train.batch_size=2", "train.steps=2", "train.clip_norm=0.0"];
    let (summary, epochs) = run(config(&data, &settings), dir.path().join("run"));
    // Eight slices are one step.
    assert_eq!((summary.steps, epochs.len()), (2, 2));
}

#[test]
fn a_frozen_encoder_keeps_its_weights_whatever_gates_the_loss() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    write_discs(&data);
    for gate in ["predicted", "target", "none"] {
        let gate = format!("loss.gate={gate}");
        let settings = [
            gate.as_str(),
            "model.variant=deep_supervision_cgm",
            "train.steps=3",
            "train.ema_decay=0.0",
            "model.freeze_encoder=true",
        ];
        let (config, out) = (config(&data, &settings), dir.path().join(&gate));
        run(config.clone(), out.clone());
        let trained = UNet3Plus::load(out.join("last"), &Device::Cpu).unwrap();
        let start = UNet3Plus::init(trained.config(), 3, DType::F32, &Device::Cpu).unwrap();
        let values = |tensor: &candle_core::Var| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let start = start.parameters().trainable();
        for ((name, a), (_, b)) in trained.parameters().trainable().iter().zip(start) {
            let is_encoder = name.starts_with("encoder.");
            assert!(!is_encoder || values(a) == values(&b), "{gate}: {name} moved");
            // A closed gate may leave the decoder as it was, the module itself always learns.
            assert!(!name.starts_with("cgm.") || values(a) != values(&b), "{gate}: {name} did not move");
        }
    }
}

#[test]
fn a_list_with_other_values_is_trained_on_resized_without_what_is_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    write_discs(&data);
    // White discs on black, and a gray frame whose pixels do not count.
    let mut lines = vec!["image,mask,group,split".to_string()];
    for (i, volume) in ["a", "b"].into_iter().flat_map(|volume| (0..8).map(move |i| (i, volume))) {
        let path = data.join(format!("masks/{volume}_{i}.png"));
        let mask = image::open(&path).unwrap().into_luma8();
        let value = |x, y| match mask.get_pixel(x, y).0 {
            _ if y == 0 => 128,
            [0] => 0,
            _ => 255,
        };
        GrayImage::from_fn(32, 32, |x, y| Luma([value(x, y)])).save(&path).unwrap();
        let split = if volume == "a" { "train" } else { "validation" };
        lines.push(format!("images/{volume}_{i}.png,masks/{volume}_{i}.png,{volume},{split}"));
    }
    let list = data.join("list.csv");
    std::fs::write(&list, lines.join("\n")).unwrap();
    let text = format!(
        "[data]\npaths = [{:?}]\nresize = [24, 40]\nshuffle = false\n\
         mask_values = {{ \"0\" = 0, \"255\" = 1 }}\nignore_label = 128\n\
         [model]\nfilters = [4, 8, 16, 32, 64]\n\
         [train]\nsteps = 40\nlearning_rate = 0.01\nwarm_up = 5\nema_decay = 0.9\nstatistics_batches = 4\n\
         validate_every = 20\n",
        list.display().to_string()
    );
    let read = |settings: &[String]| TrainConfig::from_toml(&text, settings);
    let out = dir.path().join("run");
    let (summary, _) = run(read(&[]).unwrap(), out.clone());
    assert!(summary.best.unwrap().value > 0.8, "{summary:?}");
    let preprocessor = Preprocessor::load(&out.join("last")).unwrap();
    assert_eq!(preprocessor.size, Some(unet3p_data::Size { height: 24, width: 40 }));
    let resolved = std::fs::read_to_string(out.join("config.toml")).unwrap();
    assert_eq!(TrainConfig::from_toml(&resolved, &[]).unwrap().data.crop, Some([32, 48]));

    let refused = |setting: &str| {
        let config = read(&[setting.to_string()]).unwrap();
        Trainer::new(config, dir.path().join("other"), Device::Cpu).err().unwrap().to_string()
    };
    let message = refused("data.ignore_label=127");
    assert!(message.contains("a_0.png") && message.contains("the value 128"), "{message}");
    assert!(refused("data.mask_values={ \"255\" = 2 }").contains("data.mask_values.255 = 2"));
    let spaced = Preprocessor::for_slices([-200.0, 250.0], Some([3.0; 3]));
    spaced.save(&data).unwrap();
    assert!(refused("model.num_classes=1").contains("data.resize = [24, 40]"));
    for (setting, part) in
        [("data.mask_values={}", "data.mask_values = {}"), ("data.mask_name=mask", "{name}")]
    {
        let message = read(&[setting.to_string()]).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}
