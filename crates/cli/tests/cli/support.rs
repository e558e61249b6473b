//! A place to work in, a small model, inputs, and the binary.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use candle_core::{DType, Device};
use serde_json::Value;
use unet3p_data::{LabelMap, Layout, Normalize, Preprocessor, Size, Volume};
use unet3p_models::{UNet3Plus, UNet3PlusConfig, Variant};

/// What a run of the binary left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Checks the exit code and that stderr says all of `words`.
    #[track_caller]
    pub(crate) fn ends(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {self:#?}");
        }
    }
}

/// A temporary folder with what tests put there.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A path in the folder; its parents are made.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// Runs the binary in the folder.
    #[track_caller]
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        self.run_with(&[], args)
    }

    /// Runs the binary in the folder with these environment variables, and none of the user's that say where the Hub,
    /// its cache and the way to it are.
    #[track_caller]
    pub(crate) fn run_with<S: AsRef<OsStr>>(
        &self,
        variables: &[(&str, &str)],
        args: impl IntoIterator<Item = S>,
    ) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unet3p"));
        for name in
            ["HF_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "HF_ENDPOINT", "HF_HUB_OFFLINE", "XDG_CACHE_HOME"]
        {
            command.env_remove(name);
        }
        let output = command
            .env("HF_HOME", self.0.path().join("hf"))
            .envs(variables.iter().copied())
            .args(args)
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let run = Run {
            code: output.status.code().expect("ended by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!run.stderr.contains("panicked"), "{run:#?}");
        run
    }

    /// Runs `line`, split at spaces.
    #[track_caller]
    pub(crate) fn line(&self, line: &str) -> Run {
        self.run(line.split_whitespace())
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    /// All files below a folder of the place, relative to it, sorted; temporary ones too.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let root = self.0.path().join(folder);
        let mut found = Vec::new();
        list(&root, &root, &mut found);
        found.sort();
        found
    }

    /// A gray 8-bit PNG.
    pub(crate) fn gray(&self, name: &str, width: u32, height: u32) {
        let pixel = |x: u32, y: u32| image::Luma([(x * 7 + y * 13) as u8]);
        image::GrayImage::from_fn(width, height, pixel).save(self.path(name)).unwrap();
    }

    /// The model most tests use: `m`, gray, one class, tiny.
    pub(crate) fn model(&self) {
        self.save_model("m", &tiny(1), &gray_preprocessor());
    }

    /// A mask as `predict` writes it, of rows of one digit for each pixel.
    pub(crate) fn mask(&self, name: &str, rows: &[&str]) {
        let ids = rows.iter().flat_map(|row| row.bytes().map(|digit| digit - b'0')).collect();
        let mask = LabelMap::new(rows.len(), rows[0].len(), ids).unwrap();
        unet3p_data::write_mask(&self.path(name), &mask, &[]).unwrap();
    }

    pub(crate) fn save_model(&self, name: &str, config: &UNet3PlusConfig, how: &Preprocessor) {
        let folder = self.path(name);
        fs::create_dir_all(&folder).unwrap();
        UNet3Plus::init(config, 7, DType::F32, &Device::Cpu).unwrap().save(&folder, DType::F32).unwrap();
        how.save(&folder).unwrap();
    }

    /// A volume with an affine that is neither RAS nor axis-aligned to the millimetre.
    pub(crate) fn volume(&self, name: &str, shape: [usize; 3]) -> Volume {
        let values = (0..shape.iter().product::<usize>()).map(|i| ((i * 37) % 500) as f32 - 250.0).collect();
        let affine =
            [[-1.5, 0.0, 0.1, 30.0], [0.0, 0.0, 2.0, -12.5], [0.0, 1.25, 0.0, 7.0], [0.0, 0.0, 0.0, 1.0]];
        let volume = Volume::new(values, shape, affine).unwrap();
        volume.write(&self.path(name)).unwrap();
        volume
    }
}

fn list(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(root, &path, found);
        } else {
            found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_string());
        }
    }
}

/// A network small enough for a test.
pub(crate) fn tiny(channels: usize) -> UNet3PlusConfig {
    UNet3PlusConfig::builder()
        .in_channels(channels)
        .base_filters(4)
        .label(1, "liver", [220, 60, 40])
        .build()
        .unwrap()
}

/// The same with a classification guide.
pub(crate) fn tiny_cgm(channels: usize) -> UNet3PlusConfig {
    let mut config = tiny(channels);
    config.variant = Variant::DeepSupervisionCgm;
    config
}

pub(crate) fn gray_preprocessor() -> Preprocessor {
    Preprocessor { layout: Layout::Gray, ..Preprocessor::default() }
}

/// Slices of CT at another spacing and size than the volumes of the tests have.
pub(crate) fn slices_preprocessor() -> Preprocessor {
    Preprocessor {
        layout: Layout::Slices,
        normalize: Normalize::Window,
        window: Some([-200.0, 250.0].into()),
        spacing: Some([3.0; 3]),
        size: Some(Size { height: 32, width: 16 }),
        ..Preprocessor::default()
    }
}

/// Width and height of an image file.
pub(crate) fn size_of(path: &Path) -> (u32, u32) {
    image::image_dimensions(path).unwrap()
}
