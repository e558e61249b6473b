//! How long a model folder takes to load, and how much memory, for each byte of its file:
//! `cargo run --release -p unet3p-models --example load -- [FOLDER]`. Without a folder, the paper's network with random
//! weights, 108 MB, is written to a temporary one and loaded by a second process.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Device};
use unet3p_models::{UNet3Plus, UNet3PlusConfig};

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(folder) = std::env::args_os().nth(1) {
        return load(folder.as_ref());
    }
    let folder = tempfile::tempdir()?;
    UNet3Plus::init(&UNet3PlusConfig::default(), 0, DType::F32, &Device::Cpu)?.save(&folder, DType::F32)?;
    // this process has held the network already: its peak says nothing
    let status = std::process::Command::new(std::env::current_exe()?).arg(folder.path()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{status}").into()) }
}

fn load(folder: &Path) -> Result<(), Box<dyn Error>> {
    let bytes = std::fs::metadata(folder.join("model.safetensors"))?.len() as f64;
    let (before, start) = (peak_rss(), Instant::now());
    let model = UNet3Plus::load(folder, &Device::Cpu)?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{} parameters, {:.1} MB in {seconds:.3} s", model.config().parameter_count(), bytes / 1e6);
    if let (Some(before), Some(after)) = (before, peak_rss()) {
        let more = after - before;
        println!("peak memory {:.1} MB more than before: {:.2} times the file", more / 1e6, more / bytes);
    }
    Ok(())
}

/// The process's largest resident memory so far, in bytes, where the system tells.
fn peak_rss() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()? * 1024.0)
}
