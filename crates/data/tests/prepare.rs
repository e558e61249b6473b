//! Volumes to training slices.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{LEFT_ANTERIOR, RAS, affine, content, liver, pairs, volume, write_person};
use unet3p_data::prepare::{
    ClassLabels, DatasetIndex, FolderOptions, LabelGrid, Split, Validation, VolumePair, folder, match_folders,
};
use unet3p_data::{DatasetOptions, Normalize, Preprocessor, Size, SliceDataset, Volume, read_mask};

/// A 16-bit HU value is kept in 8 bits over a window of 450 HU: half a level, as a share of the window.
const HALF_A_LEVEL: f32 = 0.5 / 255.0 + 1e-6;

#[test]
fn slices_are_what_prediction_makes_of_the_volume() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (dir.path().join("in"), dir.path().join("out"));
    write_person(&input, "a", [20, 16, 8], LEFT_ANTERIOR);
    let options = FolderOptions { spacing: Some([2.0, 2.0, 2.0]), regions: true, ..liver() };
    let index = folder(&pairs(&input), &out, &options, |_, _, _| {}).unwrap();
    assert_eq!(DatasetIndex::load(&out).unwrap(), index);
    assert_eq!((index.volumes[0].shape, index.volumes[0].native_shape), ([10, 8, 8], [20, 16, 8]));
    assert_eq!(index.volumes[0].native_orientation, "LAS");
    assert_eq!(index.slices.len(), 8);

    // Another program that finds only the folder does the same to a volume as was done here.
    let preprocessor = Preprocessor::load(&out).unwrap();
    let native = Volume::read(&input.join("images/a.nii.gz")).unwrap();
    let prepared = preprocessor.prepare_volume(&native).unwrap();
    for (z, slice) in index.slices.iter().enumerate() {
        assert_eq!((slice.name.as_str(), slice.index), (format!("a_z{z:04}").as_str(), z));
        let file = out.join("images").join(format!("{}.png", slice.name));
        let (found, wanted) = (preprocessor.load_image(&file).unwrap().image, prepared.slice(z).unwrap());
        assert_eq!((found.channels, found.height, found.width), (3, 8, 10));
        let worst = found.data.iter().zip(&wanted.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= HALF_A_LEVEL, "{worst}");

        let mask = read_mask(&out.join("masks").join(format!("{}.png", slice.name))).unwrap();
        let inside = z > 0 && z < 7;
        assert_eq!(slice.foreground, inside);
        assert_eq!(mask.data.contains(&1), inside);
        assert!(mask.data.iter().all(|&id| id <= 1));
        let regions = read_mask(&out.join("regions").join(format!("{}.png", slice.name))).unwrap();
        let ids: BTreeSet<u8> = regions.data.into_iter().collect();
        assert_eq!(ids, if inside { [0, 5, 255].into() } else { [0].into() });
    }
}

#[test]
fn masks_lie_where_the_image_says() {
    let dir = tempfile::tempdir().unwrap();
    for (n, axes) in common::orientations().into_iter().enumerate() {
        let (input, out) = (dir.path().join(format!("in{n}")), dir.path().join(format!("out{n}")));
        let grid = affine(axes, [1.0; 3], [0.0; 3]);
        // A label exactly where the image is bright.
        let image = volume([5, 4, 3], grid, |[x, y, z]| if x - 2.0 * y + z > 1.0 { 250.0 } else { -200.0 });
        let labels = image.map(|&v| if v > 0.0 { 5u8 } else { 0 });
        for (folder, write) in [("images", true), ("labels", false)] {
            std::fs::create_dir_all(input.join(folder)).unwrap();
            let path = input.join(folder).join("a.nii");
            if write { image.write(&path).unwrap() } else { labels.write(&path).unwrap() }
        }
        for slice in folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap().slices {
            let file = |folder: &str| out.join(folder).join(format!("{}.png", slice.name));
            let shown = Preprocessor::load(&out).unwrap().load_image(&file("images")).unwrap().image;
            let mask = read_mask(&file("masks")).unwrap();
            assert!(mask.data.iter().zip(shown.plane(1)).all(|(&id, &v)| f32::from(id) == v), "{axes:?}");
        }
    }
}

#[test]
fn volumes_are_never_split() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in");
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        write_person(&input, name, [6, 6, 4], RAS);
    }
    let pairs = pairs(&input);
    let run = |name: &str, validation| {
        let out = dir.path().join(name);
        let mut seen = Vec::new();
        let options = FolderOptions { validation, ..liver() };
        let index = folder(&pairs, &out, &options, |name, i, n| seen.push((name.to_owned(), i, n))).unwrap();
        assert_eq!(seen.len(), 5);
        assert_eq!(seen[4], ("e".into(), 4, 5));
        let kept: Vec<String> = index
            .volumes
            .iter()
            .filter(|volume| volume.split == Split::Validation)
            .map(|volume| volume.name.clone())
            .collect();
        assert!(index.slices.iter().all(|slice| slice.name.starts_with(&slice.volume)));
        (kept, content(&out))
    };
    let share = |share, seed| Validation::Share { share, seed };
    assert_eq!(run("named", Validation::Volumes(vec!["d".into(), "b".into()])).0, ["b", "d"]);
    assert_eq!(run("none", share(0.0, 1)).0.len(), 0);
    assert_eq!(run("little", share(0.01, 1)).0.len(), 1);
    assert_eq!(run("much", share(0.99, 1)).0.len(), 4);
    let (first, files) = run("first", share(0.4, 1));
    assert_eq!(first.len(), 2);
    // The same run gives the same files; another seed draws others sooner or later.
    assert_eq!(run("again", share(0.4, 1)), (first.clone(), files));
    assert!((2..20).any(|seed| run(&format!("seed{seed}"), share(0.4, seed)).0 != first));

    let unknown = FolderOptions { validation: Validation::Volumes(vec!["x".into()]), ..liver() };
    let error = folder(&pairs, &dir.path().join("unknown"), &unknown, |_, _, _| {}).unwrap_err();
    assert!(error.to_string().contains("x"), "{error}");
}

#[test]
fn a_canvas_crops_and_pads_about_the_centre_and_a_size_resamples() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in");
    write_person(&input, "a", [20, 6, 4], RAS);
    let run = |name: &str, options: FolderOptions| {
        let out = dir.path().join(name);
        folder(&pairs(&input), &out, &options, |_, _, _| {}).unwrap();
        let image =
            Preprocessor::load(&out).unwrap().load_image(&out.join("images/a_z0002.png")).unwrap().image;
        let mask = read_mask(&out.join("masks/a_z0002.png")).unwrap();
        assert_eq!((mask.height, mask.width), (image.height, image.width));
        (image, mask)
    };
    let (whole, whole_mask) = run("whole", liver());
    let canvas = Some(Size { height: 10, width: 12 });
    let (fitted, fitted_mask) = run("canvas", FolderOptions { canvas, ..liver() });
    assert_eq!((fitted.height, fitted.width), (10, 12));
    for y in 0..10 {
        for x in 0..12 {
            let inside = (2..8).contains(&y);
            let source = |y: usize, x: usize| (y - 2) * 20 + x + 4;
            let (value, id) =
                if inside { (whole.plane(1)[source(y, x)], whole_mask.data[source(y, x)]) } else { (0.0, 0) };
            assert_eq!((fitted.plane(1)[y * 12 + x], fitted_mask.data[y * 12 + x]), (value, id), "{y} {x}");
        }
    }
    let size = Some(Size { height: 12, width: 10 });
    let (sized, _) = run("size", FolderOptions { size, ..liver() });
    assert_eq!((sized.height, sized.width), (12, 10));
}

#[test]
fn classes_gather_labels_and_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (dir.path().join("in"), dir.path().join("out"));
    write_person(&input, "a", [8, 8, 4], RAS);
    let class = |name: &str, labels: &[u16]| ClassLabels { name: name.into(), labels: labels.to_vec() };
    let classes = vec![class("rest", &[300, 7]), class("liver", &[5])];
    folder(&pairs(&input), &out, &FolderOptions { classes, ..liver() }, |_, _, _| {}).unwrap();
    let ids: BTreeSet<u8> = read_mask(&out.join("masks/a_z0001.png")).unwrap().data.into_iter().collect();
    assert_eq!(ids, [0, 1, 2].into());

    for (classes, reason) in [
        (vec![], "from 1 to 255"),
        (vec![class("a", &[])], "at least one label"),
        (vec![class("a", &[0])], "above 0"),
        (vec![class("a", &[1]), class("b", &[2, 1])], "one class each"),
    ] {
        let options = FolderOptions { classes, overwrite: true, ..liver() };
        let error = folder(&pairs(&input), &out, &options, |_, _, _| {}).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    // Bad options are found before anything is removed.
    assert!(DatasetIndex::load(&out).is_ok());
}

#[test]
fn a_label_map_with_another_affine_takes_the_images_grid_where_told() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out, whole) = (dir.path().join("in"), dir.path().join("out"), dir.path().join("whole"));
    write_person(&input, "a", [6, 6, 4], LEFT_ANTERIOR);
    folder(&pairs(&input), &whole, &liver(), |_, _, _| {}).unwrap();
    let path = input.join("labels/a.nii.gz");
    let labels = Volume::read_labels(&path).unwrap();
    // What a tool that lost the affine writes.
    Volume::new(labels.data, labels.shape, affine(RAS, [1.0; 3], [1.0; 3])).unwrap().write(&path).unwrap();
    let refusal = folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap_err().to_string();
    for word in ["labels/a.nii.gz", "LAS", "RAS", "--grid image"] {
        assert!(refusal.contains(word), "{refusal}");
    }
    let options = FolderOptions { grid: LabelGrid::Image, ..liver() };
    let index = folder(&pairs(&input), &out, &options, |_, _, _| {}).unwrap();
    let warnings = &index.volumes[0].warnings;
    let said = |w: &String| w.starts_with("label map: its affine") && w.ends_with("image's grid is taken");
    assert!(warnings.iter().any(said), "{warnings:?}");
    assert_eq!(
        std::fs::read(out.join("masks/a_z0002.png")).unwrap(),
        std::fs::read(whole.join("masks/a_z0002.png")).unwrap()
    );
    // Another shape is another volume.
    Volume::new(vec![0u8; 120], [6, 5, 4], affine(RAS, [1.0; 3], [0.0; 3])).unwrap().write(&path).unwrap();
    assert!(folder(&pairs(&input), &dir.path().join("o"), &options, |_, _, _| {}).is_err());
}

#[test]
fn slices_of_volumes_in_folders_lie_beside_the_others() {
    let dir = tempfile::tempdir().unwrap();
    write_person(dir.path(), "x", [6, 6, 4], RAS);
    for side in ["images", "labels"] {
        let deep = dir.path().join(side).join("deep");
        std::fs::create_dir(&deep).unwrap();
        std::fs::rename(dir.path().join(side).join("x.nii.gz"), deep.join("x.nii.gz")).unwrap();
    }
    let out = dir.path().join("out");
    let index = folder(&pairs(dir.path()), &out, &liver(), |_, _, _| {}).unwrap();
    assert_eq!(index.slices[3].name, "deep_x_z0003");
    assert!(out.join("masks/deep_x_z0003.png").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8_are_told() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    write_person(dir.path(), "a", [6, 6, 4], RAS);
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.nii");
    std::fs::write(dir.path().join("images").join(name), "").unwrap();
    let found = match_folders(&dir.path().join("images"), &dir.path().join("labels"), None).unwrap();
    assert_eq!(found.pairs.len(), 1);
    assert!(found.left_out[0].to_string().contains("not UTF-8"), "{:?}", found.left_out);
}

#[test]
fn minmax_stretches_each_slice_and_leaves_a_constant_one_at_0() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (dir.path().join("in"), dir.path().join("out"));
    write_person(&input, "a", [6, 6, 6], RAS);
    let image = input.join("images/a.nii.gz");
    let mut volume = Volume::read(&image).unwrap();
    volume.data[..36].fill(-1000.0);
    volume.write(&image).unwrap();
    let options = FolderOptions { normalize: Normalize::Minmax, ..liver() };
    folder(&pairs(&input), &out, &options, |_, _, _| {}).unwrap();
    let preprocessor = Preprocessor::load(&out).unwrap();
    let options = DatasetOptions { classes: Some(1), preprocessor, ..DatasetOptions::default() };
    let dataset = SliceDataset::open(&[out], &options).unwrap();
    let mut image = dataset.sample(1).unwrap().image;
    dataset.normalize(&mut image);
    let range = |plane: &[f32]| plane.iter().fold((f32::MAX, f32::MIN), |(l, h), &v| (l.min(v), h.max(v)));
    assert_eq!(image.data.chunks(36).map(range).collect::<Vec<_>>(), [(0.0, 0.0), (0.0, 1.0), (0.0, 1.0)]);
}

#[test]
fn slices_without_their_index_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (dir.path().join("in"), dir.path().join("out"));
    write_person(&input, "a", [6, 6, 4], RAS);
    folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap();
    let preprocessor = Preprocessor::load(&out).unwrap();
    let options = DatasetOptions { classes: Some(1), preprocessor, ..DatasetOptions::default() };
    let open = || SliceDataset::open(std::slice::from_ref(&out), &options);
    assert_eq!(open().unwrap().groups(), ["a"]);
    // Each slice would be a person of its own, and one person lie on both sides of a split.
    std::fs::remove_file(out.join("dataset.json")).unwrap();
    let error = open().unwrap_err().to_string();
    assert!(
        error.contains("dataset.json") && error.contains("prepare") && error.contains("a_z0000"),
        "{error}"
    );
}

#[test]
fn volumes_and_label_maps_must_belong_together() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (dir.path().join("in"), dir.path().join("out"));
    write_person(&input, "a", [6, 6, 4], RAS);
    let labels = input.join("labels/a.nii.gz");
    let refusal = |labels: Volume<u8>| {
        labels.write(&input.join("labels/a.nii.gz")).unwrap();
        let options = FolderOptions { overwrite: true, ..liver() };
        folder(&pairs(&input), &out, &options, |_, _, _| {}).unwrap_err().to_string()
    };
    let grid = affine(RAS, [1.0, 1.0, 2.0], [0.0; 3]);
    let smaller = refusal(Volume::new(vec![0; 120], [6, 5, 4], grid).unwrap());
    let moved =
        refusal(Volume::new(vec![0; 144], [6, 6, 4], affine(RAS, [1.0, 1.0, 2.0], [1.0; 3])).unwrap());
    for message in [smaller, moved] {
        assert!(message.contains("labels/a.nii.gz") && message.contains("grid"), "{message}");
    }
    // No index: the folder does not pass for a finished one.
    assert!(DatasetIndex::load(&out).is_err());

    std::fs::rename(&labels, input.join("labels/b.nii.gz")).unwrap();
    let folders = (input.join("images"), input.join("labels"));
    let error = match_folders(&folders.0, &folders.1, None).unwrap_err().to_string();
    assert!(error.contains("no label map named a"), "{error}");
    std::fs::rename(input.join("labels/b.nii.gz"), &labels).unwrap();
    std::fs::copy(&labels, input.join("labels/c.nii.gz")).unwrap();
    let matched = match_folders(&folders.0, &folders.1, None).unwrap();
    let [left_out] = &matched.left_out[..] else { panic!("{matched:?}") };
    assert!(left_out.to_string().contains("has no volume named c"), "{left_out}");
    assert_eq!(matched.pairs.len(), 1);
    std::fs::remove_file(input.join("labels/c.nii.gz")).unwrap();
    // As in a dataset of nnU-Net.
    let image = input.join("images/a_0000.nii.gz");
    std::fs::rename(input.join("images/a.nii.gz"), &image).unwrap();
    let pairs = match_folders(&folders.0, &folders.1, None).unwrap().pairs;
    assert_eq!(pairs, [VolumePair { name: "a".into(), images: vec![image.clone()], labels }]);
    std::fs::copy(&image, input.join("images/a_0001.nii.gz")).unwrap();
    let matched = match_folders(&folders.0, &folders.1, None).unwrap();
    assert_eq!((matched.pairs[0].images.len(), matched.channels), (2, vec!["0000".into(), "0001".into()]));
    let error = match_folders(&out, &folders.1, None).unwrap_err().to_string();
    assert!(error.contains("no volume"), "{error}");
    assert!(
        match_folders(Path::new("/nowhere"), &folders.1, None).unwrap_err().to_string().contains("/nowhere")
    );
}
