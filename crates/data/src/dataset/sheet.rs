//! A contact sheet: many slices at a glance, with their masks.

use std::collections::BTreeSet;

use super::SliceDataset;
use crate::mask::color_of;
use crate::{Picture, Resample, Result, resize, resize_labels};

/// The sides of the square that a slice is fitted into.
const SIDE: usize = 192;
/// Pixels between slices.
const GAP: usize = 4;
/// The sheet behind the slices.
const PAPER: [u8; 3] = [32; 3];
/// Pixels that do not count.
const IGNORED_COLOR: [u8; 3] = [128; 3];

impl SliceDataset {
    /// Up to `count` of the slices `among` that show what there is: an equal part for each class and for slices
    /// without any, classes on few slices first, evenly spread. Ascending.
    ///
    /// # Panics
    /// When an index is not below the number of slices.
    pub fn choose(&self, among: &[usize], count: usize) -> Vec<usize> {
        let classes = among.iter().map(|&i| self.slices[i].pixels.len()).max().unwrap_or(0);
        let holds = |class: usize, i: usize| match class {
            0 => !self.slices[i].has_foreground(),
            class => self.slices[i].pixels.get(class).is_some_and(|&n| n > 0),
        };
        let of_kind = |class| among.iter().copied().filter(|&i| holds(class, i)).collect();
        let mut kinds: Vec<Vec<usize>> = (0..classes).map(of_kind).collect();
        kinds.retain(|slices| !slices.is_empty());
        kinds.sort_by_key(Vec::len);
        let share = count.div_ceil(kinds.len().max(1));
        let mut chosen = BTreeSet::new();
        // What is left is filled from all slices.
        for (slices, share) in kinds.into_iter().map(|kind| (kind, share)).chain([(among.to_vec(), count)]) {
            let free: Vec<usize> = slices.into_iter().filter(|i| !chosen.contains(i)).collect();
            let wanted = share.min(count - chosen.len()).min(free.len());
            chosen.extend((0..wanted).map(|k| free[(2 * k + 1) * free.len() / (2 * wanted)]));
        }
        chosen.into_iter().collect()
    }

    /// The slices `indices` side by side, about as many rows as columns, masks tinted and outlined in the colours of
    /// `palette` (as in [`Picture::overlay`]; ignored pixels are gray). Of three neighbouring slices the middle one is
    /// shown.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) or [`Error::Io`](crate::Error::Io) for a file that cannot be read.
    pub fn contact_sheet(&self, indices: &[usize], palette: &[[u8; 3]]) -> Result<Picture> {
        let columns = (1..).find(|n| n * n >= indices.len()).unwrap_or(1);
        let rows = indices.len().div_ceil(columns);
        let side = |n: usize| n * (SIDE + GAP) + GAP;
        let (height, width) = (side(rows), side(columns));
        let mut sheet = Picture { height, width, pixels: vec![PAPER; height * width] };
        let mut colors: Vec<[u8; 3]> = (0..=u8::MAX).map(|class| color_of(class, palette)).collect();
        if let Some(id) = self.ignored() {
            colors[usize::from(id)] = IGNORED_COLOR;
        }
        for (place, &index) in indices.iter().enumerate() {
            let shown = self.thumbnail(index, &colors)?;
            let top = side(place / columns) + (SIDE - shown.height) / 2;
            let left = side(place % columns) + (SIDE - shown.width) / 2;
            for (y, row) in shown.pixels.chunks_exact(shown.width).enumerate() {
                sheet.pixels[(top + y) * width + left..][..shown.width].copy_from_slice(row);
            }
        }
        Ok(sheet)
    }

    /// A slice with its mask, fitted into the square.
    fn thumbnail(&self, index: usize, colors: &[[u8; 3]]) -> Result<Picture> {
        let sample = self.sample(index)?;
        let longest = sample.image.height.max(sample.image.width);
        let fit = |n: usize| (n * SIDE / longest).max(1);
        let (height, width) = (fit(sample.image.height), fit(sample.image.width));
        let image = resize(&sample.image, height, width, Resample::Bilinear)?;
        let mask = resize_labels(&sample.mask, height, width)?;
        Picture::from_planes(&image, self.preprocessor.layout)?.overlay(&mask, colors)
    }
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma};

    use super::*;
    use crate::DatasetOptions;

    /// 20 slices of 10 x 5; the last has class 2, every other one class 1 or nothing.
    fn dataset(dir: &std::path::Path) -> SliceDataset {
        for folder in ["images", "masks"] {
            std::fs::create_dir(dir.join(folder)).unwrap();
        }
        for i in 0..20u8 {
            let name = format!("{i:02}.png");
            GrayImage::from_pixel(5, 10, Luma([100])).save(dir.join("images").join(&name)).unwrap();
            let id = if i == 19 { 2 } else { i % 2 };
            GrayImage::from_pixel(5, 10, Luma([id])).save(dir.join("masks").join(&name)).unwrap();
        }
        SliceDataset::open(&[dir.to_path_buf()], &DatasetOptions::default()).unwrap()
    }

    #[test]
    fn rare_classes_are_chosen_and_the_rest_is_spread() {
        let dir = tempfile::tempdir().unwrap();
        let dataset = dataset(dir.path());
        let all: Vec<usize> = (0..20).collect();
        let chosen = dataset.choose(&all, 6);
        assert_eq!(chosen.len(), 6);
        assert!(chosen.contains(&19), "{chosen:?}");
        let empty = chosen.iter().filter(|&&i| i % 2 == 0).count();
        assert!((2..=3).contains(&empty), "{chosen:?}");
        assert!(chosen[0] < 7 && chosen.windows(2).all(|pair| pair[0] < pair[1]), "{chosen:?}");
        assert_eq!(dataset.choose(&all, 1), [19]);
        assert_eq!(dataset.choose(&all, 50), all);
        assert_eq!(dataset.choose(&all[..19], 1), [9]);
        assert!(dataset.choose(&[], 5).is_empty());
    }

    #[test]
    fn a_sheet_shows_images_and_masks() {
        let dir = tempfile::tempdir().unwrap();
        let dataset = dataset(dir.path());
        let sheet = dataset.contact_sheet(&[0, 1, 19], &[[0; 3], [255, 0, 0]]).unwrap();
        assert_eq!((sheet.height, sheet.width), (2 * (SIDE + GAP) + GAP, 2 * (SIDE + GAP) + GAP));
        let middle = |row: usize, column: usize| {
            let at = |n: usize| n * (SIDE + GAP) + GAP + SIDE / 2;
            sheet.pixels[at(row) * sheet.width + at(column)]
        };
        assert_eq!(middle(0, 0), [100; 3]);
        // Three tenths of red.
        assert_eq!(middle(0, 1), [147, 70, 70]);
        assert_eq!((middle(1, 1), sheet.pixels[0]), (PAPER, PAPER));
        // Half as wide as high: paper beside it.
        assert_eq!(sheet.pixels[(GAP + SIDE / 2) * sheet.width + GAP + 10], PAPER);
        assert_ne!(middle(1, 0), [100; 3]);
    }
}
