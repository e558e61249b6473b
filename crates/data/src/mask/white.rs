//! What 255 means in the masks of a run.

use std::path::{Path, PathBuf};

use super::reader::{MaskOptions, MaskReader, Tally};

/// The white of a mask that is drawn in black and white.
pub(super) const WHITE: u16 = 255;

/// What 255 means in the masks of a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum White {
    /// No mask holds it, or the settings say it.
    Unknown,
    /// Class 1.
    IsOne,
    /// A class id; this mask holds this value beside 0 and 255.
    IsId(PathBuf, u16),
}

impl White {
    /// Looks at all masks, each with the reader that counted it.
    pub(crate) fn of<'a>(
        readers: impl IntoIterator<Item = &'a MaskReader>,
        masks: impl Iterator<Item = (&'a Path, &'a Tally, &'a MaskReader)>,
    ) -> Self {
        let open = |reader: &MaskReader| {
            let MaskOptions { classes, values, colors, .. } = &reader.options;
            values.is_none() && colors.is_none() && classes.is_none_or(|classes| classes == 1)
        };
        if !readers.into_iter().all(open) {
            return Self::Unknown;
        }
        let (mut is_there, mut other) = (false, None);
        for (path, tally, reader) in masks {
            for &(value, _) in tally.counts.iter().filter(|(value, _)| reader.options.ignore != Some(*value))
            {
                is_there |= value == WHITE;
                if ![0, WHITE].contains(&value) && other.is_none() {
                    other = Some((path.to_path_buf(), value));
                }
            }
        }
        match other {
            _ if !is_there => Self::Unknown,
            None => Self::IsOne,
            Some((path, value)) => Self::IsId(path, value),
        }
    }

    /// What the user is told.
    pub(crate) fn note(&self) -> Option<String> {
        match self {
            Self::Unknown => None,
            Self::IsOne => Some("all masks hold nothing but 0 and 255: 255 is taken for class 1".into()),
            Self::IsId(path, value) => Some(format!(
                "255 in masks is taken for the class id 255, not for class 1, because {} holds {value}",
                path.display()
            )),
        }
    }
}
