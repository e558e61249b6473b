//! The targets of `unet3p-fuzz` under libFuzzer, which sees the branches that an input takes. The variable `TARGET` names
//! the reader.
#![no_main]

use std::sync::LazyLock;

use unet3p_fuzz::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("TARGET").unwrap_or_default();
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        panic!("TARGET names none of {}", names.join(", "))
    })
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = (TARGET.run)(bytes);
});
