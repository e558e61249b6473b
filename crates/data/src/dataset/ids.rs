//! From the values of a mask's file to class ids.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::mask::read_raw_mask;
use crate::{Error, LabelMap, Result};

/// What pixels that do not count are marked with in a [`Sample`](crate::Sample)'s mask, where a dataset has an ignore
/// label. Class ids then go up to 254.
pub const IGNORED: u8 = 255;

/// The white of a mask that is drawn in black and white.
const WHITE: u16 = 255;
/// Values that an error lists.
const MOST_LISTED: usize = 8;

/// The class id of each value that masks may hold, such as `{ "0" = 0, "128" = 1, "255" = 2 }` in TOML.
///
/// ```
/// use unet3p_data::MaskValues;
/// let values: MaskValues = serde_json::from_str(r#"{ "0": 0, "128": 1 }"#)?;
/// assert_eq!(values, MaskValues::from_iter([(0, 0), (128, 1)]));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, u8>", into = "BTreeMap<String, u8>")]
pub struct MaskValues(BTreeMap<u16, u8>);

impl MaskValues {
    /// Whether no value is mapped.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(u16, u8)> for MaskValues {
    fn from_iter<I: IntoIterator<Item = (u16, u8)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl TryFrom<BTreeMap<String, u8>> for MaskValues {
    type Error = String;

    fn try_from(table: BTreeMap<String, u8>) -> std::result::Result<Self, String> {
        let value = |(text, id): (String, u8)| match text.parse() {
            Ok(value) => Ok((value, id)),
            Err(_) => {
                Err(format!("{text:?} is no value of a mask: whole numbers from 0 to 65535 are needed"))
            }
        };
        table.into_iter().map(value).collect()
    }
}

impl From<MaskValues> for BTreeMap<String, u8> {
    fn from(values: MaskValues) -> Self {
        values.0.into_iter().map(|(value, id)| (value.to_string(), id)).collect()
    }
}

/// Reads masks as class ids.
#[derive(Debug)]
pub(super) struct MaskReader {
    /// The highest class id; `None`: any.
    classes: Option<usize>,
    values: Option<MaskValues>,
    /// The value of pixels that do not count.
    ignore: Option<u16>,
}

impl MaskReader {
    /// Checks that the settings go together.
    pub(super) fn new(
        classes: Option<usize>,
        values: Option<MaskValues>,
        ignore: Option<u16>,
    ) -> Result<Self> {
        let most = usize::from(IGNORED) - 1;
        if let (Some(label), Some(classes)) = (ignore, classes)
            && classes > most
        {
            let allowed = format!("needs {most} classes or fewer, there are {classes}");
            return Err(Error::setting("data.ignore_label", label, allowed));
        }
        for (&value, &id) in values.iter().flat_map(|values| &values.0) {
            if ignore == Some(value) {
                let allowed = "is a value that data.mask_values maps to a class";
                return Err(Error::setting("data.ignore_label", value, allowed));
            }
            let highest = classes.unwrap_or(most);
            if usize::from(id) > highest {
                let allowed = format!("ids go from 0 (background) to {highest}");
                return Err(Error::setting(format!("data.mask_values.{value}"), id, allowed));
            }
        }
        Ok(Self { classes, values, ignore })
    }

    /// The highest class id, where it is fixed.
    pub(super) fn classes(&self) -> Option<usize> {
        self.classes
    }

    /// Whether some value is ignored.
    pub(super) fn ignores(&self) -> bool {
        self.ignore.is_some()
    }

    /// The mask of a file as class ids, ignored pixels as [`IGNORED`].
    ///
    /// # Errors
    /// [`Error::File`] naming the values that stand for no class, and those that do.
    pub(super) fn read(&self, path: &Path) -> Result<LabelMap> {
        let raw = read_raw_mask(path)?;
        let highest = raw.values.iter().copied().max().unwrap_or(0);
        let mut seen = vec![false; usize::from(highest) + 1];
        raw.values.iter().for_each(|&value| seen[usize::from(value)] = true);
        let present = || (0..=highest).filter(|&value| seen[usize::from(value)]);
        let is_binary = self.classes.is_none_or(|classes| classes == 1)
            && present().all(|value| [0, WHITE].contains(&value) || self.ignore == Some(value));
        let ids: Vec<Option<u8>> = (0..=highest).map(|value| self.id(value, is_binary)).collect();
        let wrong: Vec<u16> = present().filter(|&value| ids[usize::from(value)].is_none()).collect();
        if !wrong.is_empty() {
            return Err(Error::file(path, self.problem(&wrong)));
        }
        let data = raw.values.iter().filter_map(|&value| ids[usize::from(value)]).collect();
        LabelMap::new(raw.height, raw.width, data)
    }

    /// The class id of a value, if it stands for one.
    fn id(&self, value: u16, is_binary: bool) -> Option<u8> {
        if self.ignore == Some(value) {
            return Some(IGNORED);
        }
        match &self.values {
            Some(values) => values.0.get(&value).copied(),
            None if is_binary && value == WHITE => Some(1),
            None => u8::try_from(value).ok().filter(|&id| usize::from(id) <= self.highest()),
        }
    }

    fn highest(&self) -> usize {
        self.classes.unwrap_or(usize::from(IGNORED) - 1)
    }

    fn problem(&self, wrong: &[u16]) -> String {
        let what = if self.values.is_some() { "value" } else { "class id" };
        let plural = if wrong.len() > 1 { "s" } else { "" };
        let more = if wrong.len() > MOST_LISTED { ", ..." } else { "" };
        let found = list(&wrong[..wrong.len().min(MOST_LISTED)]);
        let allowed = match &self.values {
            Some(values) => {
                let known: Vec<u16> = values.0.keys().copied().collect();
                format!("data.mask_values maps {}", list(&known))
            }
            None => {
                let highest = self.highest();
                format!("ids go from 0 (background) to {highest}, data.mask_values maps other values to them")
            }
        };
        let ignored = self.ignore.map_or_else(String::new, |label| format!(", {label} is ignored"));
        format!("holds the {what}{plural} {found}{more}; {allowed}{ignored}")
    }
}

fn list(values: &[u16]) -> String {
    values.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Rgb};

    use super::*;

    /// Reads a mask of one row with these values, as 16-bit gray.
    fn read(reader: &MaskReader, values: &[u16]) -> Result<Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mask.png");
        let row = ImageBuffer::from_fn(values.len() as u32, 1, |x, _| Luma([values[x as usize]]));
        DynamicImage::from(row).save(&path).unwrap();
        reader.read(&path).map(|mask| mask.data)
    }

    fn reader(classes: usize, table: &[(u16, u8)], ignore: Option<u16>) -> MaskReader {
        let values = (!table.is_empty()).then(|| table.iter().copied().collect());
        MaskReader::new(Some(classes), values, ignore).unwrap()
    }

    #[test]
    fn ids_are_taken_as_they_are_and_white_is_the_only_class() {
        assert_eq!(read(&reader(3, &[], None), &[0, 3, 1, 2]).unwrap(), [0, 3, 1, 2]);
        assert_eq!(read(&reader(1, &[], None), &[0, 255, 0]).unwrap(), [0, 1, 0]);
        assert_eq!(read(&reader(1, &[], None), &[255]).unwrap(), [1]);
        let any = MaskReader::new(None, None, None).unwrap();
        assert_eq!(read(&any, &[0, 255]).unwrap(), [0, 1]);
        assert_eq!(read(&any, &[0, 254, 7]).unwrap(), [0, 254, 7]);
        // Beside ids, white is no class.
        for (classes, values) in [(1, vec![0, 1, 255]), (2, vec![0, 255])] {
            let message = read(&reader(classes, &[], None), &values).unwrap_err().to_string();
            for part in ["mask.png", "class id 255", &format!("to {classes}"), "data.mask_values"] {
                assert!(message.contains(part), "{message}");
            }
        }
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
        let message = |classes, table: &[(u16, u8)], ignore| {
            let values = Some(table.iter().copied().collect());
            MaskReader::new(Some(classes), values, ignore).unwrap_err().to_string()
        };
        assert!(message(1, &[(128, 2)], None).contains("data.mask_values.128 = 2"));
        assert!(message(1, &[(128, 1)], Some(128)).contains("data.ignore_label = 128"));
        assert!(message(255, &[], Some(7)).contains("254 classes"));
        let table = BTreeMap::from([("x".to_string(), 1)]);
        assert!(MaskValues::try_from(table).unwrap_err().contains("\"x\""));
    }

    #[test]
    fn equal_colours_are_values() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mask.png");
        let mut picture = image::RgbImage::from_pixel(2, 1, Rgb([255; 3]));
        picture.put_pixel(1, 0, Rgb([0; 3]));
        picture.save(&path).unwrap();
        assert_eq!(reader(1, &[], None).read(&path).unwrap().data, [1, 0]);
        picture.put_pixel(0, 0, Rgb([255, 0, 0]));
        picture.save(&path).unwrap();
        let message = reader(1, &[], None).read(&path).unwrap_err().to_string();
        assert!(message.contains("class ids"), "{message}");
        let tiff = dir.path().join("mask.tif");
        GrayImage::from_pixel(1, 1, Luma([1])).save(&tiff).unwrap();
        assert_eq!(reader(1, &[], None).read(&tiff).unwrap().data, [1]);
    }
}
