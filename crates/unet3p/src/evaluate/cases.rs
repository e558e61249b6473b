//! What is scored as one: a pair of files, or all slices of a volume.

use std::collections::BTreeMap;

use super::error::EvaluateError;
use super::pairs::Pair;
use super::slices::Slices;
use crate::plan::Kind;

/// One case.
#[derive(Debug)]
pub struct Case {
    /// The pair's name, or the volume's.
    pub name: String,
    /// Its files.
    pub content: Content,
    /// What is doubtful about how its files were put together.
    pub warnings: Vec<String>,
}

/// The files of a case.
#[derive(Debug)]
pub enum Content {
    /// One image or one volume; of an image, the distance in mm between its rows and between its columns, where it is
    /// known.
    Pair {
        /// Its files.
        pair: Pair,
        /// Its spacing.
        spacing: Option<[f64; 2]>,
    },
    /// Slices of one volume with their positions, from low to high, and the distance in mm between slices, rows and
    /// columns, where it is known.
    Slices {
        /// Its slices.
        slices: Vec<(usize, Pair)>,
        /// Its spacing.
        spacing: Option<[f64; 3]>,
    },
}

impl Case {
    /// A case without anything doubtful.
    pub fn new(name: String, content: Content) -> Self {
        Self { name, content, warnings: Vec::new() }
    }

    /// All its pairs.
    pub fn pairs(&self) -> impl Iterator<Item = &Pair> {
        let (single, slices) = match &self.content {
            Content::Pair { pair, .. } => (Some(pair), [].as_slice()),
            Content::Slices { slices, .. } => (None, slices.as_slice()),
        };
        single.into_iter().chain(slices.iter().map(|(_, pair)| pair))
    }

    /// How many slices it is assembled of, where it is.
    pub fn slices(&self) -> Option<usize> {
        match &self.content {
            Content::Pair { .. } => None,
            Content::Slices { slices, .. } => Some(slices.len()),
        }
    }

    pub(super) fn is_one_image(&self) -> bool {
        matches!(&self.content, Content::Pair { pair, .. } if pair.reference.kind != Kind::Volume)
    }
}

/// Puts slices of one volume together, or leaves them single where `per_slice`.
///
/// # Errors
/// [`EvaluateError`]: some of the images are listed as slices and others are not, or two slices lie at one place.
pub fn assemble(
    pairs: Vec<Pair>,
    slices: Option<&Slices>,
    per_slice: bool,
) -> Result<Vec<Case>, EvaluateError> {
    let single = |pair: Pair, spacing| Case::new(pair.name.clone(), Content::Pair { pair, spacing });
    let listed = slices.map(Slices::by_name).transpose()?.unwrap_or_default();
    let is_listed =
        |pair: &Pair| pair.reference.kind != Kind::Volume && listed.contains_key(pair.name.as_str());
    let Some(slices) = slices.filter(|_| pairs.iter().any(is_listed)) else {
        return Ok(pairs.into_iter().map(|pair| single(pair, None)).collect());
    };
    let mut cases = Vec::new();
    let mut volumes: BTreeMap<&str, Case> = BTreeMap::new();
    for pair in pairs {
        let Some((slice, volume)) = listed.get(pair.name.as_str()).filter(|_| is_listed(&pair)) else {
            let (mask, index) = (pair.reference.path, slices.path().to_path_buf());
            return Err(EvaluateError::NotListed { mask, index });
        };
        // Columns, rows, slices.
        let [x, y, z] = volume.spacing;
        if ![x, y, z].iter().all(|&distance| distance > 0.0 && distance.is_finite()) {
            return Err(EvaluateError::Spacing {
                index: slices.path().to_path_buf(),
                volume: volume.name.clone(),
                spacing: volume.spacing,
            });
        }
        if per_slice {
            cases.push(single(pair, Some([y, x])));
            continue;
        }
        let case = volumes.entry(volume.name.as_str()).or_insert_with(|| {
            let content = Content::Slices { slices: Vec::new(), spacing: Some([z, y, x]) };
            Case::new(volume.name.clone(), content)
        });
        if let Content::Slices { slices, .. } = &mut case.content {
            slices.push((slice.index, pair));
        }
    }
    cases.extend(volumes.into_values());
    for case in &mut cases {
        if let Content::Slices { slices: stack, .. } = &mut case.content {
            stack.sort_by_key(|&(position, _)| position);
            if let Some([(position, a), (_, b)]) = stack.array_windows().find(|[a, b]| a.0 == b.0) {
                return Err(EvaluateError::SamePlace {
                    index: slices.path().to_path_buf(),
                    slices: [a.name.clone(), b.name.clone()],
                    position: *position,
                    volume: case.name.clone(),
                });
            }
        }
    }
    Ok(cases)
}
