//! From the values of a mask's file to class ids: one reader for training, checks and scores.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::raw::{MOST_LISTED, RawMask};
use super::table::{MaskColors, MaskValues, hex};
use super::white::{WHITE, White};
use crate::{Error, LabelMap, Result};

/// What pixels that do not count are marked with in a mask, where there is an ignore label. Class ids then go up to
/// 254.
pub const IGNORED: u8 = 255;

/// How the values of masks become class ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MaskOptions {
    /// The highest class id; `None`: any.
    pub classes: Option<usize>,
    /// The class ids of values; `None`: values are ids, and white may be the only class (see [`MaskReader::decide`]).
    pub values: Option<MaskValues>,
    /// The class ids of colours; `None`: masks of colours are refused.
    pub colors: Option<MaskColors>,
    /// The value (or, with `colors`, the id) of pixels that do not count.
    pub ignore: Option<u16>,
}

/// A mask and what was doubtful in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// Class ids, ignored pixels as [`IGNORED`].
    pub labels: LabelMap,
    /// What was dropped, turned or doubtful, for the user to know. The file is not named.
    pub warnings: Vec<String>,
}

/// Reads masks as class ids: PNG and TIFF of up to 16 bits with gray values or a palette, gray saved as RGB, and
/// colours where [`MaskOptions::colors`] maps them.
///
/// A mask has the values that are stored, whatever viewers show for them, and is turned as its orientation says, as
/// images are.
///
/// ```
/// use unet3p_data::{LabelMap, MaskOptions, MaskReader, write_mask};
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("mask.png");
/// # write_mask(&path, &LabelMap::new(1, 3, vec![0, 255, 255])?, &[])?;
/// let mut reader = MaskReader::new(MaskOptions { classes: Some(1), ..MaskOptions::default() })?;
/// assert!(reader.read(&path).is_err());
/// let said = reader.decide(&[path.clone()]).unwrap();
/// assert!(said.contains("255"));
/// assert_eq!(reader.read(&path)?.labels.data, [0, 1, 1]);
/// # Ok::<(), unet3p_data::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct MaskReader {
    pub(super) options: MaskOptions,
    /// The highest class id.
    highest: usize,
    /// Whether 255 stands for class 1.
    white_is_one: bool,
}

/// How many pixels have each value of a mask's file.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(super) counts: Vec<(u16, usize)>,
    are_ids: bool,
    pub(crate) warnings: Vec<String>,
}

impl MaskReader {
    /// Checks that the settings go together.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the key of the configuration.
    pub fn new(options: MaskOptions) -> Result<Self> {
        let most = usize::from(IGNORED) - 1;
        if let (Some(label), Some(classes)) = (options.ignore, options.classes)
            && classes > most
        {
            let allowed = format!("needs {most} classes or fewer, there are {classes}");
            return Err(Error::setting("data.ignore_label", label, allowed));
        }
        if options.values.is_some() && options.colors.is_some() {
            let allowed =
                "cannot be given together with data.mask_values: masks have either colours or values";
            return Err(Error::setting("data.mask_colors", "{...}", allowed));
        }
        let any = if options.ignore.is_some() { most } else { usize::from(u8::MAX) };
        let highest = options.classes.unwrap_or(any);
        let wrong = |id: u8| usize::from(id) > highest;
        let allowed = format!("ids go from 0 (background) to {highest}");
        for (&value, &id) in options.values.iter().flat_map(|values| &values.0) {
            if options.ignore == Some(value) {
                let allowed = "is a value that data.mask_values maps to a class";
                return Err(Error::setting("data.ignore_label", value, allowed));
            }
            if wrong(id) {
                return Err(Error::setting(format!("data.mask_values.{value}"), id, allowed));
            }
        }
        for (&color, &id) in options.colors.iter().flat_map(|colors| &colors.0) {
            if wrong(id) && options.ignore != Some(u16::from(id)) {
                return Err(Error::setting(format!("data.mask_colors.{:?}", hex(color)), id, allowed));
            }
        }
        Ok(Self { options, highest, white_is_one: false })
    }

    /// Where any class may be, only those up to `highest`.
    pub(crate) fn up_to(mut self, highest: usize) -> Self {
        self.highest = self.highest.min(highest);
        self
    }

    /// The highest class id, where it is fixed.
    pub(crate) fn classes(&self) -> Option<usize> {
        self.options.classes
    }

    /// Whether some value is ignored.
    pub(crate) fn ignores(&self) -> bool {
        self.options.ignore.is_some()
    }

    /// Decides what 255 means, from all masks of a run: where nothing but 0 and 255 (and the ignore label) is in any of
    /// them, and there is one class at most and no table, 255 is class 1; else it is the class id 255, or an error where
    /// there are fewer classes. Until this is called it is the id. Files that cannot be read are passed over: reading
    /// them is an error later.
    ///
    /// Returns what the user is to be told, if any mask holds 255.
    pub fn decide(&mut self, files: &[PathBuf]) -> Option<String> {
        let white = self.white(&self.tallies(files));
        self.settle(&white);
        white.note()
    }

    /// Decides what 255 means in masks that are compared with each other, such as predictions and references: as
    /// [`MaskReader::decide`], but where the masks of one side hold nothing but 0 and 255, those of the other may hold 0
    /// and 1.
    ///
    /// ```
    /// use unet3p_data::{LabelMap, MaskReader, write_mask};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let [one, white] = ["one.png", "white.png"].map(|name| dir.path().join(name));
    /// # write_mask(&one, &LabelMap::new(1, 2, vec![0, 1])?, &[])?;
    /// # write_mask(&white, &LabelMap::new(1, 2, vec![255, 0])?, &[])?;
    /// let mut reader = MaskReader::default();
    /// assert!(reader.decide_between([&[one.clone()], &[white.clone()]]).unwrap().contains("class 1"));
    /// assert_eq!(reader.read(&white)?.labels.data, [1, 0]);
    /// // On one side, 1 and 255 are two classes.
    /// assert!(reader.decide_between([&[one, white.clone()], &[]]).unwrap().contains("class id 255"));
    /// assert_eq!(reader.read(&white)?.labels.data, [255, 0]);
    /// # Ok::<(), unet3p_data::Error>(())
    /// ```
    pub fn decide_between(&mut self, sides: [&[PathBuf]; 2]) -> Option<String> {
        let tallies = sides.map(|files| self.tallies(files));
        let whites = [self.white(&tallies[0]), self.white(&tallies[1])];
        let no_class_beside = |tallies: &[(&PathBuf, Tally)]| {
            let counted =
                tallies.iter().flat_map(|(path, tally)| tally.counts.iter().map(move |&(v, _)| (path, v)));
            let other =
                counted.into_iter().find(|&(_, value)| value > 1 && self.options.ignore != Some(value));
            other.map_or(White::IsOne, |(path, value)| White::IsId(path.to_path_buf(), value))
        };
        let white = match whites {
            [id @ White::IsId(..), _] | [_, id @ White::IsId(..)] => id,
            [White::IsOne, White::Unknown] => no_class_beside(&tallies[1]),
            [White::Unknown, White::IsOne] => no_class_beside(&tallies[0]),
            [both, _] => both,
        };
        self.settle(&white);
        match white {
            White::IsOne => {
                Some("255 is taken for class 1: masks that hold it hold nothing else but 0".into())
            }
            white => white.note(),
        }
    }

    /// The values of all files that can be read.
    fn tallies<'a>(&self, files: &'a [PathBuf]) -> Vec<(&'a PathBuf, Tally)> {
        files.par_iter().filter_map(|path| Some((path, self.tally(path).ok()?))).collect()
    }

    /// What 255 means in these files.
    fn white(&self, tallies: &[(&PathBuf, Tally)]) -> White {
        White::of([self], tallies.iter().map(|(path, tally)| (path.as_path(), tally, self)))
    }

    /// Reads 255 as decided.
    pub(crate) fn settle(&mut self, white: &White) {
        self.white_is_one = matches!(white, White::IsOne);
    }

    /// The mask of a file as class ids.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be opened; [`Error::File`] for one that is broken, or holds values or colours
    /// that stand for no class, naming them and those that do, or whose values may mean something else: see the guide on
    /// masks.
    pub fn read(&self, path: &Path) -> Result<Mask> {
        let raw = self.raw(path)?;
        let highest = raw.values.iter().copied().max().unwrap_or(0);
        let mut seen = vec![false; usize::from(highest) + 1];
        raw.values.iter().for_each(|&value| seen[usize::from(value)] = true);
        let table: Vec<Option<u8>> = (0..=highest).map(|value| self.id(value, raw.are_ids)).collect();
        self.check(path, (0..=highest).filter(|&value| seen[usize::from(value)]), raw.are_ids)?;
        let data = raw.values.iter().filter_map(|&value| table[usize::from(value)]).collect();
        Ok(Mask { labels: LabelMap::new(raw.height, raw.width, data)?, warnings: raw.warnings })
    }

    fn raw(&self, path: &Path) -> Result<RawMask> {
        RawMask::read(path, self.options.colors.as_ref(), self.options.values.is_some())
    }

    /// The values of a file, counted.
    pub(crate) fn tally(&self, path: &Path) -> Result<Tally> {
        let RawMask { values, are_ids, warnings, .. } = self.raw(path)?;
        let highest = values.iter().copied().max().unwrap_or(0);
        let mut counts = vec![0usize; usize::from(highest) + 1];
        values.iter().for_each(|&value| counts[usize::from(value)] += 1);
        let counts = (0..=highest).zip(counts).filter(|&(_, count)| count > 0).collect();
        Ok(Tally { counts, are_ids, warnings })
    }

    /// Pixels of each class id, those of [`IGNORED`] included.
    ///
    /// # Errors
    /// As [`MaskReader::read`], for the file `path` that was counted.
    pub(crate) fn pixels(&self, path: &Path, tally: &Tally) -> Result<Vec<(u8, usize)>> {
        self.check(path, tally.counts.iter().map(|&(value, _)| value), tally.are_ids)?;
        let id = |&(value, count): &(u16, usize)| Some((self.id(value, tally.are_ids)?, count));
        Ok(tally.counts.iter().filter_map(id).collect())
    }

    /// Names values that stand for no class.
    fn check(&self, path: &Path, values: impl Iterator<Item = u16>, are_ids: bool) -> Result<()> {
        let wrong: Vec<u16> = values.filter(|&value| self.id(value, are_ids).is_none()).collect();
        if wrong.is_empty() { Ok(()) } else { Err(Error::file(path, self.problem(&wrong))) }
    }

    /// The class id of a value, if it stands for one.
    fn id(&self, value: u16, is_id: bool) -> Option<u8> {
        if self.options.ignore == Some(value) {
            return Some(IGNORED);
        }
        match &self.options.values {
            Some(values) if !is_id => values.0.get(&value).copied(),
            _ if self.white_is_one && value == WHITE => Some(1),
            _ => u8::try_from(value).ok().filter(|&id| usize::from(id) <= self.highest),
        }
    }

    fn problem(&self, wrong: &[u16]) -> String {
        let values = self.options.values.as_ref();
        let what = if values.is_some() { "value" } else { "class id" };
        let plural = if wrong.len() > 1 { "s" } else { "" };
        let more = if wrong.len() > MOST_LISTED { ", ..." } else { "" };
        let found = list(&wrong[..wrong.len().min(MOST_LISTED)]);
        let allowed = match values {
            Some(values) => {
                let known: Vec<u16> = values.0.keys().copied().collect();
                format!("data.mask_values maps {}", list(&known))
            }
            None => format!(
                "ids go from 0 (background) to {}, data.mask_values maps other values to them",
                self.highest
            ),
        };
        let ignored = self.options.ignore.map_or_else(String::new, |label| format!(", {label} is ignored"));
        let only_class = self.options.classes.is_none_or(|classes| classes == 1);
        let white = if values.is_none() && only_class && !self.white_is_one && wrong.contains(&WHITE) {
            "; 255 is class 1 where no mask of the run holds other values than 0 and 255"
        } else {
            ""
        };
        format!("holds the {what}{plural} {found}{more}; {allowed}{ignored}{white}")
    }
}

impl Default for MaskReader {
    /// Values are class ids from 0 to 255.
    fn default() -> Self {
        Self { options: MaskOptions::default(), highest: usize::from(u8::MAX), white_is_one: false }
    }
}

fn list(values: &[u16]) -> String {
    values.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageBuffer, Luma};

    use super::*;

    /// Writes a mask of one row with these values, as 16-bit gray.
    fn save(dir: &Path, name: &str, values: &[u16]) -> PathBuf {
        let path = dir.join(name);
        let row = ImageBuffer::from_fn(values.len() as u32, 1, |x, _| Luma([values[x as usize]]));
        DynamicImage::from(row).save(&path).unwrap();
        path
    }

    fn read(reader: &MaskReader, values: &[u16]) -> Result<Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let path = save(dir.path(), "mask.png", values);
        let mut reader = reader.clone();
        reader.decide(std::slice::from_ref(&path));
        reader.read(&path).map(|mask| mask.labels.data)
    }

    fn options(classes: usize, table: &[(u16, u8)], ignore: Option<u16>) -> MaskOptions {
        let values = (!table.is_empty()).then(|| table.iter().copied().collect());
        MaskOptions { classes: Some(classes), values, ignore, ..MaskOptions::default() }
    }

    fn reader(classes: usize, table: &[(u16, u8)], ignore: Option<u16>) -> MaskReader {
        MaskReader::new(options(classes, table, ignore)).unwrap()
    }

    #[test]
    fn ids_are_taken_as_they_are_and_white_is_the_only_class() {
        assert_eq!(read(&reader(3, &[], None), &[0, 3, 1, 2]).unwrap(), [0, 3, 1, 2]);
        assert_eq!(read(&reader(1, &[], None), &[0, 255, 0]).unwrap(), [0, 1, 0]);
        assert_eq!(read(&reader(1, &[], None), &[255]).unwrap(), [1]);
        let any = MaskReader::new(MaskOptions::default()).unwrap();
        assert_eq!(read(&any, &[0, 255]).unwrap(), [0, 1]);
        assert_eq!(read(&any, &[0, 254, 7]).unwrap(), [0, 254, 7]);
        assert_eq!(read(&any, &[0, 255, 7]).unwrap(), [0, 255, 7]);
        // Beside ids, white is no class.
        for (classes, values) in [(1, vec![0, 1, 255]), (2, vec![0, 255])] {
            let message = read(&reader(classes, &[], None), &values).unwrap_err().to_string();
            for part in ["mask.png", "class id 255", &format!("to {classes}"), "data.mask_values"] {
                assert!(message.contains(part), "{message}");
            }
        }
    }

    #[test]
    fn what_255_means_is_decided_over_all_files() {
        let dir = tempfile::tempdir().unwrap();
        let white = save(dir.path(), "white.png", &[0, 255]);
        let both = save(dir.path(), "both.png", &[1, 255]);
        let missing = dir.path().join("missing.png");
        let ids = |reader: &MaskReader, path: &Path| reader.read(path).unwrap().labels.data;
        let mut reader = MaskReader::default();
        let note = reader.decide(&[white.clone(), missing.clone()]).unwrap();
        assert!(note.contains("class 1"), "{note}");
        assert_eq!(ids(&reader, &white), [0, 1]);
        // The same reader decides anew.
        let note = reader.decide(&[white.clone(), both.clone(), missing]).unwrap();
        assert!(note.contains("class id 255") && note.contains("both.png holds 1"), "{note}");
        assert_eq!((ids(&reader, &white), ids(&reader, &both)), (vec![0, 255], vec![1, 255]));
        // An ignored value is no other value; without 255 there is nothing to say.
        let mut ignoring = MaskReader::new(options(1, &[], Some(1))).unwrap();
        assert!(ignoring.decide(std::slice::from_ref(&both)).unwrap().contains("class 1"));
        assert_eq!(ids(&ignoring, &both), [IGNORED, 1]);
        assert_eq!(ignoring.decide(&[save(dir.path(), "none.png", &[0, 1])]), None);
    }

    #[test]
    fn a_table_maps_values_and_names_those_it_lacks() {
        let reader = reader(2, &[(0, 0), (1000, 1), (7, 2), (8, 2)], None);
        assert_eq!(read(&reader, &[1000, 7, 0, 8]).unwrap(), [1, 2, 0, 2]);
        let message = read(&reader, &[0, 9, 1001]).unwrap_err().to_string();
        assert!(
            message.contains("the values 9, 1001") && message.contains("maps 0, 7, 8, 1000"),
            "{message}"
        );
    }

    #[test]
    fn ignored_pixels_are_marked() {
        assert_eq!(read(&reader(2, &[], Some(200)), &[0, 200, 2]).unwrap(), [0, IGNORED, 2]);
        assert_eq!(read(&reader(1, &[], Some(255)), &[0, 255, 1]).unwrap(), [0, IGNORED, 1]);
        assert_eq!(read(&reader(1, &[], Some(128)), &[0, 128, 255]).unwrap(), [0, IGNORED, 1]);
        assert_eq!(read(&reader(1, &[(0, 0), (9, 1)], Some(4)), &[9, 4, 0]).unwrap(), [1, IGNORED, 0]);
        let message = read(&reader(1, &[], Some(4)), &[5]).unwrap_err().to_string();
        assert!(message.contains("4 is ignored"), "{message}");
    }

    #[test]
    fn settings_that_do_not_go_together_are_named() {
        let message = |options| MaskReader::new(options).unwrap_err().to_string();
        assert!(message(options(1, &[(128, 2)], None)).contains("data.mask_values.128 = 2"));
        assert!(message(options(1, &[(128, 1)], Some(128))).contains("data.ignore_label = 128"));
        assert!(message(options(255, &[], Some(7))).contains("254 classes"));
        let colors = |id| Some(MaskColors::from_iter([([255, 0, 16], id)]));
        let colored = MaskOptions { colors: colors(2), ..options(1, &[], None) };
        assert!(message(colored.clone()).contains("data.mask_colors.\"#ff0010\" = 2"));
        assert!(MaskReader::new(MaskOptions { ignore: Some(2), ..colored }).is_ok());
        let both = MaskOptions { colors: colors(1), ..options(1, &[(1, 1)], None) };
        assert!(message(both).contains("data.mask_values"));
    }
}
