//! One input to its outputs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use unet3p::plan::{Item, Kind, Outputs, case_files};
use unet3p::record::{ClassShare, Done, Stamp, text};
use unet3p::{Segmentation, Segmenter};

use crate::failure::caught;
use crate::report;

/// Why an input has no outputs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Segment(#[from] unet3p::Error),
    #[error(transparent)]
    Picture(#[from] unet3p_data::Error),
    #[error("{}: cannot create the folder: {source}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    /// A fault of this program, or of a decoder that it uses.
    #[error("{}: the program stopped at this input, which is a fault of the program; please report it with the file", .0.display())]
    Stopped(PathBuf),
    #[error("{}: changed while it was segmented; run again", .0.display())]
    Changed(PathBuf),
}

/// Segments one input and writes its outputs below `folder`: one mask, or one for each image of an array. When it
/// fails, or panics, none of its outputs remains, neither what it has written nor what an earlier run has: a mask under its
/// name would pass for its own.
pub(crate) fn segment(segmenter: &Segmenter, item: &Item, folder: &Path) -> Result<Vec<Done>, Error> {
    let path = &item.input.path;
    let outputs = || item.outputs.iter().flat_map(Outputs::files);
    let earlier: Vec<_> = outputs().filter(|file| file.symlink_metadata().is_ok()).collect();
    let done = caught(path, || segment_and_write(segmenter, item, folder))
        .unwrap_or_else(|| Err(Error::Stopped(path.clone())));
    if done.is_err() {
        // A file that cannot be removed could be written: it is whole, and the error that matters is named.
        outputs().for_each(|file| drop(fs::remove_file(file)));
        for file in earlier {
            log::warn!("{}: removed, as its input {} failed this time", file.display(), path.display());
        }
    }
    done
}

fn segment_and_write(segmenter: &Segmenter, item: &Item, folder: &Path) -> Result<Vec<Done>, Error> {
    let path = &item.input.path;
    let start = Instant::now();
    // Before it is read: what is changed meanwhile counts as changed.
    let stamps = Stamp::of(&item.input.files);
    let files = case_files(&item.input, segmenter.preprocessor())?;
    let mut done = match (item.input.kind, item.outputs.as_slice()) {
        (Kind::Volume, [outputs]) => vec![volume(segmenter, (path, &files), outputs, folder)?],
        (Kind::Image, [outputs]) => {
            vec![image(path, segmenter.segment_files(&files)?, outputs, folder)?]
        }
        (_, all) => {
            let found = segmenter.segment_npy(path)?;
            // The outputs were planned from the array's header.
            if found.len() != all.len() {
                return Err(Error::Changed(path.clone()));
            }
            found
                .into_iter()
                .zip(all)
                .map(|(found, outputs)| image(path, found, outputs, folder))
                .collect::<Result<Vec<_>, _>>()?
        }
    };
    let seconds = start.elapsed().as_secs_f64() / done.len().max(1) as f64;
    for (index, done) in done.iter_mut().enumerate() {
        done.seconds = seconds;
        done.files.clone_from(&stamps);
        done.index = item.numbered.then_some(index);
    }
    Ok(done)
}

fn image(path: &Path, found: Segmentation, outputs: &Outputs, folder: &Path) -> Result<Done, Error> {
    make_parent(&outputs.mask)?;
    found.write_mask(&outputs.mask)?;
    if let Some(overlay) = &outputs.overlay {
        found.overlay()?.write_png(overlay)?;
    }
    if let Some(probabilities) = &outputs.probabilities {
        found.write_probabilities(probabilities)?;
    }
    Ok(Done {
        input: text(path),
        files: Vec::new(),
        index: None,
        outputs: outputs.relative_to(folder),
        size: vec![found.mask.height, found.mask.width],
        spacing_mm: None,
        classes: ClassShare::of_image(&found.classes),
        presence: found.presence,
        present: found.present,
        warnings: found.warnings,
        seconds: 0.0,
    })
}

fn volume(
    segmenter: &Segmenter,
    (path, files): (&Path, &[PathBuf]),
    outputs: &Outputs,
    folder: &Path,
) -> Result<Done, Error> {
    let bar = report::bar(0, "slices");
    let found = segmenter.segment_volume_files(files, |done, slices| {
        bar.set_length(slices as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let found = found?;
    make_parent(&outputs.mask)?;
    found.write_mask(&outputs.mask)?;
    if let Some(overlay) = &outputs.overlay {
        found.overlay()?.write_png(overlay)?;
    }
    if let Some(probabilities) = &outputs.probabilities {
        found.write_probabilities(probabilities)?;
    }
    Ok(Done {
        input: text(path),
        files: Vec::new(),
        index: None,
        outputs: outputs.relative_to(folder),
        size: found.mask.shape.to_vec(),
        spacing_mm: Some(found.mask.spacing()),
        classes: ClassShare::of_volume(&found.classes, found.voxel_mm3()),
        presence: found.presence,
        present: found.present,
        warnings: found.warnings,
        seconds: 0.0,
    })
}

/// Folders are walked recursively: an output may lie in a folder that is not there yet.
fn make_parent(path: &Path) -> Result<(), Error> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    fs::create_dir_all(parent).map_err(|source| Error::Folder { path: parent.to_path_buf(), source })
}

/// The line that tells what was found and where it lies.
pub(crate) fn summary(done: &Done, folder: &Path) -> String {
    let mut line = format!("{} -> {}", done.input, folder.join(&done.outputs.mask).display());
    for class in &done.classes {
        line.push_str(&format!(", {class}"));
    }
    if let Some(presence) = done.presence {
        line.push_str(&format!(", presence {presence:.2}"));
    }
    line
}
