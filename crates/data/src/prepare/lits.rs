//! The layout of the Liver Tumor Segmentation benchmark (LiTS; Bilic et al. 2023, arXiv:1901.04056).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::pairs::{VOLUMES, volume_name};
use super::{ClassLabels, Validation, VolumePair};
use crate::listing::and_more;
use crate::{Error, ListedFile, Result, list_files};

/// Label of the liver in LiTS's label maps.
const LIVER: u16 = 1;
/// Label of tumours.
const TUMOR: u16 = 2;

/// What becomes of LiTS's tumours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tumors {
    /// They are liver: one class.
    Merge,
    /// A class of their own: liver is 1, tumor 2.
    Keep,
}

impl Tumors {
    /// The classes of the slices.
    pub fn classes(self) -> Vec<ClassLabels> {
        let class = |name: &str, labels: &[u16]| ClassLabels { name: name.into(), labels: labels.into() };
        match self {
            Self::Merge => vec![class("liver", &[LIVER, TUMOR])],
            Self::Keep => vec![class("liver", &[LIVER]), class("tumor", &[TUMOR])],
        }
    }
}

/// The training volumes of LiTS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lits {
    volumes: BTreeMap<u32, VolumePair>,
    left_out: Vec<String>,
}

impl Lits {
    /// The highest number of a volume that is validated on by custom: those of the benchmark's first training
    /// batch.
    pub const LAST_VALIDATION: u32 = 27;

    /// Finds `volume-N.nii` and `segmentation-N.nii` (or `.nii.gz`) in a folder and the folders inside it, as the two
    /// training batches are unpacked.
    ///
    /// # Errors
    /// [`Error::Io`] when a folder cannot be listed; [`Error::File`] when there is no volume with a segmentation, or a number
    /// is there twice.
    pub fn find(root: &Path) -> Result<Self> {
        let (mut images, mut labels) = (BTreeMap::new(), BTreeMap::new());
        collect(root, &mut images, &mut labels)?;
        if images.is_empty() {
            return Err(Error::file(root, "holds no LiTS volume (volume-N.nii or volume-N.nii.gz)"));
        }
        let missing = |of: &BTreeMap<u32, PathBuf>, there: &BTreeMap<u32, PathBuf>, name: &str| {
            let lonely = of.iter().filter(|(number, _)| !there.contains_key(number));
            let word = |(number, path): (&u32, &PathBuf)| {
                format!("{}: has no {name}-{number}.nii beside it, and is left out", path.display())
            };
            lonely.map(word).collect::<Vec<_>>()
        };
        let mut left_out = missing(&images, &labels, "segmentation");
        left_out.extend(missing(&labels, &images, "volume"));
        let pair = |(number, image)| {
            let labels = labels.remove(&number)?;
            Some((number, VolumePair { name: format!("volume-{number}"), images: vec![image], labels }))
        };
        let volumes: BTreeMap<u32, VolumePair> = images.into_iter().filter_map(pair).collect();
        if volumes.is_empty() {
            return Err(Error::file(root, left_out.join("; ")));
        }
        Ok(Self { volumes, left_out })
    }

    /// A word on each file that has no counterpart.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The volumes, by number.
    pub fn pairs(&self) -> Vec<VolumePair> {
        self.volumes.values().cloned().collect()
    }

    /// Keeps the volumes up to a number for validation.
    pub fn validation(&self, last: u32) -> Validation {
        Validation::Volumes(self.volumes.range(..=last).map(|(_, pair)| pair.name.clone()).collect())
    }
}

/// Sorts the files below a folder by what their names say.
fn collect(
    folder: &Path,
    images: &mut BTreeMap<u32, PathBuf>,
    labels: &mut BTreeMap<u32, PathBuf>,
) -> Result<()> {
    let listing = list_files(folder, VOLUMES)?;
    listing.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    let mut others: Vec<PathBuf> = Vec::new();
    for ListedFile { path, .. } in listing.files {
        let name = volume_name(&path);
        let files = match name.as_deref().and_then(|name| name.split_once('-')) {
            Some(("volume", number)) => number.parse().ok().map(|number| (number, &mut *images)),
            Some(("segmentation", number)) => number.parse().ok().map(|number| (number, &mut *labels)),
            _ => None,
        };
        let Some((number, files)) = files else {
            others.push(path);
            continue;
        };
        if let Some(other) = files.insert(number, path.clone()) {
            return Err(Error::file(&path, format!("has the same number as {}", other.display())));
        }
    }
    if let Some(first) = others.first() {
        log::warn!(
            "{}: passed over, because the name is not volume-N or segmentation-N",
            and_more(first, others.len())
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        dir
    }

    #[test]
    fn both_batches_are_found_and_split_by_number() {
        let dir = folder(&[
            "Training Batch 1/volume-3.nii",
            "Training Batch 1/segmentation-3.nii",
            "Training Batch 2/volume-28.nii.gz",
            "Training Batch 2/segmentation-28.nii",
            "Training Batch 2/volume-100.nii",
            "Training Batch 2/segmentation-100.nii.gz",
            "readme.txt",
            "other-1.nii",
        ]);
        let lits = Lits::find(dir.path()).unwrap();
        let names: Vec<String> = lits.pairs().into_iter().map(|pair| pair.name).collect();
        assert_eq!(names, ["volume-3", "volume-28", "volume-100"]);
        assert!(lits.pairs()[1].labels.ends_with("Training Batch 2/segmentation-28.nii"));
        let validation = lits.validation(Lits::LAST_VALIDATION);
        assert_eq!(validation, Validation::Volumes(vec!["volume-3".into()]));
    }

    #[test]
    fn what_does_not_belong_together_is_named() {
        let problem = |files: &[&str]| Lits::find(folder(files).path()).unwrap_err().to_string();
        assert!(problem(&["liver.nii"]).contains("volume-N.nii"));
        assert!(problem(&["volume-1.nii"]).contains("no segmentation-1.nii"));
        let files = ["volume-1.nii", "volume-2.nii", "segmentation-2.nii", "segmentation-7.nii"];
        let lits = Lits::find(folder(&files).path()).unwrap();
        assert_eq!(lits.pairs().len(), 1);
        let [volume, map] = lits.left_out() else { panic!("{:?}", lits.left_out()) };
        assert!(volume.contains("volume-1.nii: has no segmentation-1.nii"), "{volume}");
        assert!(map.contains("segmentation-7.nii: has no volume-7.nii"), "{map}");
        assert!(problem(&["a/volume-1.nii", "b/volume-1.nii.gz"]).contains("same number"));
    }
}
