//! Which label map belongs to which volume.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;

use unet3p_data::prepare::{NamePatterns, match_folders};

/// The names of the pairs in folders of empty files.
fn paired(
    files: &[&str],
    images: &str,
    labels: &str,
    patterns: Option<[&str; 2]>,
) -> Result<Vec<[String; 3]>, String> {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        let path = dir.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    let names = patterns.map(|[image, labels]| NamePatterns {
        image: image.parse().unwrap(),
        labels: labels.parse().unwrap(),
    });
    let found = match_folders(&dir.path().join(images), &dir.path().join(labels), names.as_ref());
    let relative = |path: &Path| path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();
    let matched = found.map_err(|error| error.to_string())?;
    if let Some(first) = matched.left_out.first() {
        return Err(first.to_string());
    }
    Ok(matched
        .pairs
        .iter()
        .map(|pair| [pair.name.clone(), relative(&pair.images[0]), relative(&pair.labels)])
        .collect())
}

#[test]
fn names_are_paired_by_patterns_and_by_those_of_known_data_sets() {
    let btcv = ["i/img0001.nii.gz", "i/IMG0002.NII", "l/label0001.nii.gz", "l/label0002.nii"];
    assert!(paired(&btcv, "i", "l", None).unwrap_err().contains("no label map named"));
    let btcv = ["i/img0001.nii.gz", "i/img0002.NII", "l/label0001.nii.gz", "l/label0002.nii"];
    let expected = [["0001", btcv[0], btcv[2]], ["0002", btcv[1], btcv[3]]];
    assert_eq!(paired(&btcv, "i", "l", None).unwrap(), expected);
    assert_eq!(paired(&btcv, "i", "l", Some(["img{name}", "label{name}"])).unwrap(), expected);

    let kits =
        ["d/c1/imaging.nii.gz", "d/c1/segmentation.nii.gz", "d/c2/imaging.nii.gz", "d/c2/segmentation.nii"];
    let expected = [["c1", kits[0], kits[1]], ["c2", kits[2], kits[3]]];
    assert_eq!(paired(&kits, "d", "d", None).unwrap(), expected);
    // With files of other names beside them only patterns tell.
    let more = [&kits[..], &["d/c1/other.nii.gz"]].concat();
    assert!(paired(&more, "d", "d", None).unwrap_err().contains("which is which"));
    assert_eq!(paired(&more, "d", "d", Some(["{name}/imaging", "{name}/segmentation"])).unwrap(), expected);
    assert!(
        paired(&kits[..3], "d", "d", Some(["{name}/imaging", "{name}/segmentation"]))
            .unwrap_err()
            .contains("c2")
    );

    // A file that fits both patterns is what the longer one says.
    let acdc = ["d/p1.nii", "d/p1_gt.nii", "d/p2.nii", "d/p2_gt.nii"];
    let expected = [["p1", acdc[0], acdc[1]], ["p2", acdc[2], acdc[3]]];
    assert_eq!(paired(&acdc, "d", "d", None).unwrap(), expected);
    assert_eq!(paired(&acdc, "d", "d", Some(["{name}", "{name}_gt"])).unwrap(), expected);
    assert!(paired(&acdc, "d", "d", Some(["{name}", "{name}"])).unwrap_err().contains("patterns"));
    // Label maps may lie below the volumes.
    let below = ["d/a.nii", "d/labels/a.nii"];
    assert_eq!(paired(&below, "d", "d/labels", None).unwrap(), [["a", below[0], below[1]]]);
}

#[test]
fn volumes_in_folders_get_names_that_files_can_have() {
    let nested = ["i/x/1.NII.GZ", "i/y/1.nii", "l/x/1.nii.gz", "l/y/1.nii"];
    let expected = [["x_1", nested[0], nested[2]], ["y_1", nested[1], nested[3]]];
    assert_eq!(paired(&nested, "i", "l", None).unwrap(), expected);
    let clash = ["i/x/1.nii", "i/x_1.nii", "l/x/1.nii", "l/x_1.nii"];
    assert!(paired(&clash, "i", "l", None).unwrap_err().contains("both be called x_1"));
}
