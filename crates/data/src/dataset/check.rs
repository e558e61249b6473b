//! Whether the files of a slice belong together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Slice;
use super::source::Entry;
use crate::decode::{Header, header};
use crate::mask::{MaskReader, Tally};
use crate::{Error, IGNORED, Layout, Preprocessor, read_mask};

/// What a look at the files of one slice tells.
pub(super) struct Look {
    entry: Entry,
    /// The size of the image.
    size: Option<(usize, usize)>,
    mask: Option<Tally>,
    problems: Vec<Error>,
    warnings: Vec<(PathBuf, String)>,
}

impl Look {
    /// Reads the heads of images, and masks; `how` tells the channels of the network's input. All that is wrong is kept.
    pub(super) fn at(entry: Entry, reader: &MaskReader, how: &Preprocessor) -> Self {
        let mut look = Self { entry, size: None, mask: None, problems: Vec::new(), warnings: Vec::new() };
        let images = look.entry.images.clone();
        // Of a colour image there may be a file for each colour.
        if how.layout == Layout::Channels || images.len() != how.channels() {
            look.keep(how.check_files(&images));
        }
        // The first image's own size counts; where it cannot be read, there is nothing to compare with.
        let mut first: Option<(&Path, Header)> = None;
        for path in &images {
            let Some(header) = look.keep(header(path)) else { continue };
            look.warnings.extend(header.orientation.note().map(|note| (path.clone(), note)));
            match first {
                Some(first) => look.compare(first, path, header.size(), header),
                None => first = Some((path, header)),
            }
        }
        look.size = first.map(|(_, header)| header.size());
        let mask = look.entry.mask.clone();
        look.mask = look.keep(reader.tally(&mask));
        let warnings = look.mask.iter_mut().flat_map(|tally| std::mem::take(&mut tally.warnings));
        look.warnings.extend(warnings.map(|warning| (mask.clone(), warning)).collect::<Vec<_>>());
        let regions = look.entry.regions.clone();
        if let Some(path) = &regions {
            look.keep(read_mask(path));
        }
        if let Some(first) = first {
            for path in std::iter::once(&mask).chain(&regions) {
                // What has no size is a problem already.
                if let Ok(header) = header(path) {
                    look.compare(first, path, header.size(), header);
                }
            }
        }
        look
    }

    /// The mask, where it could be read.
    pub(super) fn mask(&self) -> Option<(&Path, &Tally)> {
        Some((&self.entry.mask, self.mask.as_ref()?))
    }

    /// The slice, or all that is wrong with it.
    pub(super) fn slice(mut self, reader: &Arc<MaskReader>) -> Result<Slice, Vec<Error>> {
        let mask = self.mask.take();
        let pixels = mask.and_then(|tally| {
            let pixels = reader.pixels(&self.entry.mask, &tally);
            self.keep(pixels)
        });
        let Self { entry, size, problems, .. } = self;
        match (size, pixels) {
            (Some((height, width)), Some(found)) if problems.is_empty() => {
                let (pixels, ignored) = count(found, reader);
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
    fn keep<T>(&mut self, result: crate::Result<T>) -> Option<T> {
        result.map_err(|error| self.problems.push(error)).ok()
    }

    /// Names a file of another size than the image's.
    fn compare(&mut self, image: (&Path, Header), path: &Path, found: (usize, usize), header: Header) {
        let (image, of_image) = image;
        let size = of_image.size();
        if found == size {
            return;
        }
        // One of the two was turned, and the other was made before or after.
        let turned = if found == of_image.stored_size() {
            "; it fits the image only before its orientation is applied: make it of the image as viewers show it"
        } else if header.stored_size() == size {
            "; it fits the image only before its own orientation is applied: save it without one"
        } else {
            ""
        };
        let problem = format!(
            "is {} x {} (height x width), but its image {} is {} x {}{turned}",
            found.0,
            found.1,
            image.display(),
            size.0,
            size.1
        );
        self.problems.push(Error::file(path, problem));
    }
}

/// What was doubtful in the files: each text once, with the first file and the number of the others.
pub(super) fn warnings<'a>(looks: impl Iterator<Item = &'a Look>) -> Vec<String> {
    let mut found: BTreeMap<&str, (&Path, usize)> = BTreeMap::new();
    for (path, warning) in looks.flat_map(|look| &look.warnings) {
        found.entry(warning).or_insert((path, 0)).1 += 1;
    }
    let said = |(warning, (path, count)): (&str, (&Path, usize))| match count {
        1 => format!("{}: {warning}", path.display()),
        count => format!("{} and {} more: each {warning}", path.display(), count - 1),
    };
    found.into_iter().map(said).collect()
}

/// Pixels of each class id, and ignored ones.
fn count(found: Vec<(u8, usize)>, reader: &MaskReader) -> (Vec<usize>, usize) {
    let mut counts = vec![0usize; 1 + usize::from(u8::MAX)];
    found.into_iter().for_each(|(id, count)| counts[usize::from(id)] += count);
    let ignored = if reader.ignores() { std::mem::take(&mut counts[usize::from(IGNORED)]) } else { 0 };
    let highest = counts.iter().rposition(|&n| n > 0).unwrap_or(0);
    counts.truncate(1 + reader.classes().unwrap_or(highest));
    (counts, ignored)
}
