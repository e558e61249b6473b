//! Whether the files of a slice belong together.

use std::path::Path;
use std::sync::Arc;

use super::source::Entry;
use super::{IGNORED, MaskReader, Slice};
use crate::capacity::check_tiff_lists;
use crate::{Error, LabelMap, read_mask};

/// Checks sizes and ids of one slice's files, `channels` being those of the network's input. All that is wrong is
/// said.
pub(super) fn check(entry: Entry, reader: &Arc<MaskReader>, channels: usize) -> Result<Slice, Vec<Error>> {
    let mut problems = Vec::new();
    let files = entry.images.len();
    let first = entry.images.first();
    if let Some(first) = first.filter(|_| files > 1 && files != channels) {
        let problem = format!("is one of {files} files of a case, but the network takes {channels} channels");
        problems.push(Error::file(first, problem));
    }
    let mut sizes: Vec<(&Path, (usize, usize))> = Vec::new();
    for image in &entry.images {
        sizes.extend(keep(image_size(image), &mut problems).map(|size| (image.as_path(), size)));
    }
    // The image's own size counts; where it cannot be read, there is nothing to compare with.
    let image = sizes.first().copied();
    // Files that have none are named where they are read.
    let maps = std::iter::once(&entry.mask).chain(&entry.regions);
    sizes.extend(maps.filter_map(|path| Some((path.as_path(), image_size(path).ok()?))));
    if let Some((image, size)) = image {
        problems
            .extend(sizes.iter().skip(1).filter_map(|&(path, found)| other_size(image, size, path, found)));
    }
    let mask = keep(reader.read(&entry.mask), &mut problems);
    if let Some(path) = &entry.regions {
        keep(read_mask(path), &mut problems);
    }
    match (image, mask) {
        (Some((_, (height, width))), Some(mask)) if problems.is_empty() => {
            let (pixels, ignored) = count(&mask, reader);
            Ok(Slice {
                name: entry.name,
                group: entry.group,
                height,
                width,
                pixels,
                ignored,
                images: entry.images,
                mask: entry.mask,
                regions: entry.regions,
                reader: reader.clone(),
            })
        }
        _ => Err(problems),
    }
}

/// The value, or nothing and one problem more.
fn keep<T>(result: crate::Result<T>, problems: &mut Vec<Error>) -> Option<T> {
    result.map_err(|error| problems.push(error)).ok()
}

/// Pixels of each class id, and ignored ones.
fn count(mask: &LabelMap, reader: &MaskReader) -> (Vec<usize>, usize) {
    let mut counts = vec![0usize; 1 + usize::from(u8::MAX)];
    mask.data.iter().for_each(|&id| counts[usize::from(id)] += 1);
    let ignored = if reader.ignores() { std::mem::take(&mut counts[usize::from(IGNORED)]) } else { 0 };
    let highest = counts.iter().rposition(|&n| n > 0).unwrap_or(0);
    counts.truncate(1 + reader.classes().unwrap_or(highest));
    (counts, ignored)
}

fn other_size(image: &Path, size: (usize, usize), path: &Path, found: (usize, usize)) -> Option<Error> {
    if found == size {
        return None;
    }
    let problem = format!(
        "is {} x {} (height x width), but its image {} is {} x {}",
        found.0,
        found.1,
        image.display(),
        size.0,
        size.1
    );
    Some(Error::file(path, problem))
}

/// Height and width from a file's header.
fn image_size(path: &Path) -> crate::Result<(usize, usize)> {
    check_tiff_lists(path)?;
    let reader = image::ImageReader::open(path).and_then(image::ImageReader::with_guessed_format);
    let reader = reader.map_err(|e| Error::io(path, "open", e))?;
    let (width, height) = reader.into_dimensions().map_err(|e| Error::file(path, e.to_string()))?;
    Ok((height as usize, width as usize))
}
