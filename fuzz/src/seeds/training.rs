//! A run of one step, and configurations of runs.

use std::fs;
use std::path::Path;

use candle_core::Device;
use unet3p_train::{Event, TrainConfig, Trainer};

use super::{Seed, images, seed};

/// A run of a small network on the dataset in `data`.
fn config(data: &Path) -> TrainConfig {
    let text = format!(
        "[data]\npaths = [{:?}]\nvalidation_groups = [\"b\"]\n\
         [model]\nin_channels = 1\nnum_classes = 2\nfilters = [1, 1, 1, 1, 1]\n\
         [train]\nsteps = 2\nbatch_size = 1\nseed = 3\n",
        data.display().to_string()
    );
    TrainConfig::from_toml(&text, &[]).expect("a sound configuration")
}

fn write_data(folder: &Path) {
    for part in ["images", "masks"] {
        fs::create_dir_all(folder.join(part)).expect("a folder of the dataset");
    }
    for name in ["a", "b"] {
        fs::write(folder.join(format!("images/{name}.png")), images::gray_png()).expect("a slice");
        fs::write(folder.join(format!("masks/{name}.png")), images::mask_png()).expect("a slice");
    }
}

/// A run's folder without a checkpoint, the dataset within.
pub fn run_folder(folder: &Path) {
    let data = folder.join("data");
    write_data(&data);
    let text = config(&data).to_toml().expect("a sound configuration");
    fs::write(folder.join("config.toml"), text).expect("the run's configuration");
}

/// The checkpoint of a run that is done.
pub fn checkpoints() -> Vec<Seed> {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, run) = (folder.path().join("data"), folder.path().join("run"));
    write_data(&data);
    let mut trainer = Trainer::new(config(&data), &run, Device::Cpu).expect("a trainer");
    trainer.run(&mut |_: &Event| {}).expect("a run");
    let file = fs::read(run.join("checkpoint.safetensors")).expect("the run's checkpoint");
    vec![seed("done.safetensors", file)]
}

/// The least and the most that a configuration may say.
pub fn configs() -> Vec<Seed> {
    let full = TrainConfig::from_toml(FULL, &[]).and_then(|config| config.to_toml());
    vec![
        seed("least.toml", "[data]\npaths = [\"slices\"]\n"),
        seed("documented.toml", FULL),
        seed("full.toml", full.expect("a sound configuration")),
    ]
}

const FULL: &str = r#"
[data]
paths = ["slices", "list.csv"]
mask_name = "{name}_mask"
mask_values = { "0" = 0, "128" = 1, "255" = 2 }
ignore_label = 7
resize = [64, 96]
image_mean = [0.5]
image_std = [0.25]
validation_fraction = 0.25
crop = [64, 64]
foreground_share = 0.5

[model]
variant = "deep_supervision"
in_channels = 3
num_classes = 3
activation = "softmax"
filters = [4, 8, 16, 32, 64]
class_names = ["liver", "tumour"]

[train]
epochs = 3
batch_size = 2
learning_rate = 0.001
ema_decay = 0.99
monitor = "dice_liver"

[train.optimizer]
name = "adam"

[train.schedule]
name = "cosine"

[augmentation.elastic]
magnitude = 1.0
spacing = 12.0
"#;
