//! What can be said on the command line of several subcommands.

use std::num::NonZeroUsize;

use clap::{ArgAction, Args};
use unet3p_models::{Encoder, Variant};

use crate::device::DeviceChoice;

/// Options of every subcommand.
#[derive(Debug, Args)]
#[command(next_help_heading = "General options")]
pub(crate) struct Global {
    /// Where to compute: auto, cpu, cuda, cuda:N or metal
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    pub(crate) device: DeviceChoice,
    /// Number of CPU threads [default: all cores]
    #[arg(long, global = true, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Use only the cache for models of the Hugging Face Hub, as with HF_HUB_OFFLINE=1
    #[arg(long, global = true)]
    pub(crate) offline: bool,
    /// Print nothing but warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print more about what is done; twice for still more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// A size in pixels: `N` for both sides, or `HEIGHTxWIDTH`.
pub(crate) fn parse_size(text: &str) -> Result<(usize, usize), String> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    let side = |text: &str| text.parse().ok().filter(|n| (1..=65536).contains(n));
    match (side(height), side(width)) {
        (Some(height), Some(width)) => Ok((height, width)),
        _ => Err("use N or HEIGHTxWIDTH, sides from 1 to 65536".to_string()),
    }
}

/// A variant by its name.
pub(crate) fn parse_variant(text: &str) -> Result<Variant, String> {
    serde_json::from_value(serde_json::Value::String(text.to_string()))
        .map_err(|_| "use base, deep_supervision or deep_supervision_cgm".to_string())
}

/// An encoder by its name.
pub(crate) fn parse_encoder(text: &str) -> Result<Encoder, String> {
    let found = Encoder::ALL.into_iter().find(|encoder| encoder.to_string() == text);
    found.ok_or_else(|| format!("use {}", Encoder::ALL.map(|encoder| encoder.to_string()).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse_size("320"), Ok((320, 320)));
        assert_eq!(parse_size("64x96"), Ok((64, 96)));
        for wrong in ["", "0", "x", "64x", "-1", "1x2x3"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
