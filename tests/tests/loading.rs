//! What a checkpoint takes in memory while it is loaded.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;

use candle_core::{DType, Device};
use unet3p_models::{UNet3Plus, UNet3PlusConfig};

/// Largest resident memory, for each byte of the file, that a process needs more than before.
const MOST: f64 = 1.2;

/// Names the model folder, in the process that loads it.
const FOLDER: &str = "UNET3P_TEST_LOADED_FOLDER";

/// The process's largest resident memory so far, in bytes; none where the system does not tell.
fn peak_rss() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

#[test]
fn the_published_network_takes_little_more_than_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let model = UNet3Plus::init(&UNet3PlusConfig::default(), 0, DType::F32, &Device::Cpu).unwrap();
    model.save(&folder, DType::F32).unwrap();
    // a process of its own: the peak of this one is over
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "loads_when_told", "--nocapture"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout).into_owned();
    println!("{text}");
    assert!(child.status.success(), "{text}");
    assert!(peak_rss().is_none() || text.contains("times as much memory"), "nothing was measured: {text}");
}

/// The other process's part; without a folder it does nothing.
#[test]
fn loads_when_told() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let bytes = std::fs::metadata(folder.join("model.safetensors")).unwrap().len() as f64;
    let before = peak_rss();
    let model = UNet3Plus::load(&folder, &Device::Cpu).unwrap();
    let after = peak_rss();
    assert_eq!(model.config(), &UNet3PlusConfig::default());
    let Some((before, after)) = before.zip(after) else {
        eprintln!("skipped: this system does not tell a process's peak memory");
        return;
    };
    println!("{:.1} MB file, {:.2} times as much memory", bytes / 1e6, (after - before) / bytes);
    assert!(after - before <= MOST * bytes, "{:.2} times the file", (after - before) / bytes);
}
