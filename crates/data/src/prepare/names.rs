//! What the names of volumes and label maps have in common.

use std::fmt;
use std::str::FromStr;

use super::pairs::VOLUMES;
use crate::Error;
use crate::listing::ending_len;

/// What stands for the name of a case in a pattern.
const NAME: &str = "{name}";

/// How the name of a file without its ending holds the name of its case: `img{name}`, `{name}/imaging`.
///
/// A pattern with a `/` is for the path below the listed folder. One without is for the file's name alone; folders on
/// the way are a part of the case's name.
///
/// ```
/// use unet3p_data::prepare::NamePattern;
/// let pattern: NamePattern = "{name}/imaging".parse()?;
/// assert_eq!(pattern.name_in("case_00001/imaging").as_deref(), Some("case_00001"));
/// assert_eq!(pattern.name_in("case_00001/segmentation"), None);
/// # Ok::<(), unet3p_data::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    before: String,
    after: String,
}

impl NamePattern {
    /// The name of the case of a file, given by its path below the listed folder with `/` between folders and without
    /// its ending; nothing where the pattern does not fit.
    pub fn name_in(&self, stem: &str) -> Option<String> {
        let whole = self.before.contains('/') || self.after.contains('/');
        let file = if whole { 0 } else { stem.rfind('/').map_or(0, |slash| slash + 1) };
        let (folder, file) = stem.split_at(file);
        let name = file.strip_prefix(&self.before)?.strip_suffix(&self.after)?;
        (!name.is_empty()).then(|| format!("{folder}{name}"))
    }

    /// How much of a name the pattern prescribes.
    pub(super) fn literal(&self) -> usize {
        self.before.len() + self.after.len()
    }
}

impl FromStr for NamePattern {
    type Err = Error;

    /// # Errors
    /// [`Error::Setting`] for a text that does not hold `{name}` once.
    fn from_str(text: &str) -> Result<Self, Error> {
        let pattern = &text[..text.len() - ending_len(text, VOLUMES.endings).unwrap_or(0)];
        match pattern.split_once(NAME) {
            Some((before, after)) if !after.contains(NAME) => {
                Ok(Self { before: before.to_owned(), after: after.to_owned() })
            }
            _ => Err(Error::setting("name pattern", text, "{name} is needed once in it, as in img{name}")),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{NAME}{}", self.before, self.after)
    }
}

/// The patterns of the images and of the label maps of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePatterns {
    /// Of the images.
    pub image: NamePattern,
    /// Of the label maps.
    pub labels: NamePattern,
}

impl NamePatterns {
    /// Those of data sets that many people use: of the abdomen (BTCV), kidneys (KiTS), liver (LiTS), heart (ACDC), brain.
    pub(super) fn common() -> impl Iterator<Item = Self> {
        let pattern =
            |before: &str, after: &str| NamePattern { before: before.to_owned(), after: after.to_owned() };
        let around = [("img", "label"), ("image", "label"), ("volume-", "segmentation-")]
            .map(|(image, labels)| Self { image: pattern(image, ""), labels: pattern(labels, "") });
        let behind = [
            ("/imaging", "/segmentation"),
            ("/image", "/label"),
            ("_image", "_label"),
            ("_image", "_mask"),
            ("", "_seg"),
            ("", "_mask"),
            ("", "_label"),
            ("", "_labels"),
            ("", "_gt"),
        ]
        .map(|(image, labels)| Self { image: pattern("", image), labels: pattern("", labels) });
        around.into_iter().chain(behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_tell_the_name_of_the_case() {
        let name = |pattern: &str, stem: &str| pattern.parse::<NamePattern>().unwrap().name_in(stem);
        assert_eq!(name("img{name}", "img0001").as_deref(), Some("0001"));
        assert_eq!(name("img{name}.nii.gz", "day/img0001").as_deref(), Some("day/0001"));
        assert_eq!(name("{name}_seg.NII", "a_b_seg").as_deref(), Some("a_b"));
        assert_eq!(name("{name}/imaging", "a/b/imaging").as_deref(), Some("a/b"));
        for (pattern, stem) in
            [("img{name}", "img"), ("img{name}", "x/label1"), ("{name}/imaging", "imaging")]
        {
            assert_eq!(name(pattern, stem), None, "{pattern} {stem}");
        }
        for wrong in ["", "img", "{name}{name}", "{name}/{name}", "{Name}"] {
            let error = wrong.parse::<NamePattern>().unwrap_err().to_string();
            assert!(error.contains("{name}"), "{error}");
        }
    }
}
