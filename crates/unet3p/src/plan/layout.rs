//! How datasets lie on the disk, ours and nnU-Net's: their folders of images and of masks, the names of images, the index.

use std::path::{Path, PathBuf};

use serde_json::Value;
use unet3p_data::prepare::DatasetIndex;
use unet3p_data::{Preprocessor, read_json};

/// Folders of images with those of their masks: ours, and nnU-Net's.
const PAIRS: [(&str, &str); 2] = [("images", "masks"), (NNUNET_IMAGES, "labelsTr")];
const NNUNET_IMAGES: &str = "imagesTr";
/// nnU-Net's images to test on, which are named as those to train on.
const NNUNET_TEST_IMAGES: &str = "imagesTs";
/// The label of nnU-Net whose pixels do not count.
const IGNORE: &str = "ignore";

/// Where the images of a dataset lie; other folders and files hold them themselves.
pub fn images(path: &Path) -> PathBuf {
    let prepared = path.join("images");
    if path.join(DatasetIndex::FILE_NAME).is_file() && prepared.is_dir() {
        return prepared;
    }
    pair(path).map_or_else(|| path.to_path_buf(), |(images, _)| images)
}

/// Where the masks of a dataset lie; other folders and files hold them themselves.
pub fn masks(path: &Path) -> PathBuf {
    pair(path).map_or_else(|| path.to_path_buf(), |(_, masks)| masks)
}

fn pair(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let pairs = PAIRS.map(|(images, masks)| (path.join(images), path.join(masks)));
    pairs.into_iter().find(|(images, masks)| images.is_dir() && masks.is_dir())
}

/// Whether images of this folder are named as nnU-Net's: CASE_0000, CASE_0001 for the channels of CASE. Those of a
/// prepared folder are where its preprocessor says so.
pub(crate) fn has_channels(folder: &Path) -> bool {
    let prepared = || {
        let above = folder.parent().map(Preprocessor::load);
        above.and_then(Result::ok).is_some_and(|how| how.files_per_case() > 1)
    };
    folder.file_name().is_some_and(|name| name == NNUNET_IMAGES || name == NNUNET_TEST_IMAGES) || prepared()
}

/// Each `dataset.json` in the folder of references and in the one above, with its path. Files that cannot be read are passed
/// over.
pub(crate) fn indices(references: &Path) -> impl Iterator<Item = (PathBuf, Value)> {
    // Made absolute, so that the folder "." has one above as well.
    let above = std::path::absolute(references).ok().and_then(|path| path.parent().map(Path::to_path_buf));
    [Some(references.to_path_buf()), above].into_iter().flatten().filter_map(|folder| {
        let path = folder.join(DatasetIndex::FILE_NAME);
        let index: Value = read_json(&path, "index of a dataset").ok()?;
        Some((path, index))
    })
}

/// The value that nnU-Net's index of these references says not to count, with the index's path.
pub fn ignored(references: &Path) -> Option<(u16, PathBuf)> {
    indices(references).find_map(|(path, index)| {
        let id = index.get("labels")?.get(IGNORE)?.as_u64()?;
        Some((u16::try_from(id).ok()?, path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_of_a_dataset_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let make = |name: &str| std::fs::create_dir_all(root.join(name)).unwrap();
        make("ours/images");
        assert_eq!(
            (images(&root.join("ours")), masks(&root.join("ours"))),
            (root.join("ours"), root.join("ours"))
        );
        make("ours/masks");
        make("nn/imagesTr");
        make("nn/labelsTr");
        assert_eq!(images(&root.join("ours")), root.join("ours/images"));
        assert_eq!(masks(&root.join("ours")), root.join("ours/masks"));
        assert_eq!(images(&root.join("nn")), root.join("nn/imagesTr"));
        assert_eq!(masks(&root.join("nn")), root.join("nn/labelsTr"));
        assert!(has_channels(&root.join("nn/imagesTr")) && !has_channels(&root.join("ours/images")));
        std::fs::write(
            root.join("nn/dataset.json"),
            r#"{"labels": {"background": 0, "liver": 1, "ignore": 2}}"#,
        )
        .unwrap();
        for references in ["nn", "nn/labelsTr"] {
            assert_eq!(ignored(&root.join(references)), Some((2, root.join("nn/dataset.json"))));
        }
        assert_eq!(ignored(&root.join("ours")), None);
    }
}
