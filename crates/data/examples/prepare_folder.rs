//! Cuts CT volumes with label maps into 2.5D training slices.
//!
//! ```text
//! cargo run -p unet3p-data --example prepare_folder -- IMAGES LABELS OUT NAME=LABEL[,LABEL]...
//! cargo run -p unet3p-data --example prepare_folder -- ct/images ct/labels slices liver=5
//! ```
//!
//! The slices have 3 mm between pixels and between neighbours, and a soft-tissue window.

use std::path::Path;
use std::process::ExitCode;

use unet3p_data::prepare::{ClassLabels, FolderOptions, folder, match_folders};

fn class(text: &str) -> Option<ClassLabels> {
    let (name, labels) = text.split_once('=')?;
    let labels = labels.split(',').map(|label| label.parse().ok()).collect::<Option<_>>()?;
    Some(ClassLabels { name: name.to_owned(), labels })
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [images, labels, out, classes @ ..] = arguments.as_slice() else {
        eprintln!("usage: prepare_folder IMAGES LABELS OUT NAME=LABEL[,LABEL]...");
        return ExitCode::from(2);
    };
    let Some(classes) = classes.iter().map(|text| class(text)).collect() else {
        eprintln!("a class is given as NAME=LABEL[,LABEL]..., such as kidneys=2,3");
        return ExitCode::from(2);
    };
    let options = FolderOptions {
        window: Some([-200.0, 250.0].into()),
        spacing: Some([3.0; 3]),
        classes,
        regions: true,
        ..FolderOptions::default()
    };
    let index = match_folders(Path::new(images), Path::new(labels), None).and_then(|found| {
        folder(&found.pairs, Path::new(out), &options, |name, i, n| eprintln!("{} of {n}: {name}", i + 1))
    });
    match index {
        Ok(index) => {
            let foreground = index.slices.iter().filter(|slice| slice.foreground).count();
            println!("{} slices, {foreground} with a class, in {out}", index.slices.len());
            index.failed.iter().for_each(|failed| eprintln!("{}", failed.error));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
