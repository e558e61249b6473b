//! Volumes to training slices.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use common::{RAS, affine, volume};
use unet3p_data::prepare::{
    ClassLabels, DatasetIndex, FolderOptions, Split, Validation, VolumePair, folder, match_folders,
};
use unet3p_data::{DatasetOptions, Normalize, Preprocessor, Size, SliceDataset, Volume, read_mask};

/// A 16-bit HU value is kept in 8 bits over a window of 450 HU: half a level, as a share of the window.
const HALF_A_LEVEL: f32 = 0.5 / 255.0 + 1e-6;

const LEFT_ANTERIOR: [(usize, f64); 3] = [(0, -1.0), (1, 1.0), (2, 1.0)];

/// A volume with a gradient, and a box of label 5 inside one of label 300, in `IN/images` and `IN/labels`.
fn write_person(input: &Path, name: &str, shape: [usize; 3], axes: [(usize, f64); 3]) {
    let grid = affine(axes, [1.0, 1.0, 2.0], [0.0; 3]);
    let image = volume(shape, grid, |[x, y, z]| (x * 7.0 - y * 5.0 + z * 3.0) as f32);
    let [nx, ny, nz] = shape;
    let labels = common::indices(shape)
        .map(|[i, j, k]| match () {
            () if i > 0 && i < nx / 2 && j > 1 && j < ny / 2 && k > 0 && k < nz - 1 => 5u16,
            () if i > 0 && i < nx - 1 && j > 0 && k > 0 && k < nz - 1 => 300,
            () => 0,
        })
        .collect();
    let file = format!("{name}.nii.gz");
    for sub in ["images", "labels"] {
        std::fs::create_dir_all(input.join(sub)).unwrap();
    }
    image.write(&input.join("images").join(&file)).unwrap();
    Volume::new(labels, shape, grid).unwrap().write(&input.join("labels").join(&file)).unwrap();
}

fn liver() -> FolderOptions {
    FolderOptions {
        classes: vec![ClassLabels { name: "liver".into(), labels: vec![5] }],
        ..FolderOptions::default()
    }
}

fn pairs(input: &Path) -> Vec<VolumePair> {
    match_folders(&input.join("images"), &input.join("labels")).unwrap()
}

/// Every file below a folder with its content.
fn content(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(root).unwrap().into(), std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

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
fn earlier_slices_are_kept_unless_they_may_go() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (dir.path().join("in"), dir.path().join("out"));
    write_person(&input, "a", [6, 6, 6], RAS);
    let regions = FolderOptions { regions: true, ..liver() };
    folder(&pairs(&input), &out, &regions, |_, _, _| {}).unwrap();
    let before = content(&out);
    let error = folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap_err().to_string();
    assert!(error.contains("dataset.json") && error.contains("exists"), "{error}");
    assert_eq!(content(&out), before);

    // Fewer and no regions now: nothing stale stays, and what is not ours does.
    std::fs::write(out.join("images/notes.png"), b"mine").unwrap();
    let options = FolderOptions { spacing: Some([1.0, 1.0, 6.0]), overwrite: true, ..liver() };
    let index = folder(&pairs(&input), &out, &options, |_, _, _| {}).unwrap();
    assert_eq!(index.slices.len(), 2);
    let names: Vec<PathBuf> = content(&out).into_keys().collect();
    let expected = [
        "dataset.json",
        "images/a_z0000.png",
        "images/a_z0001.png",
        "images/notes.png",
        "masks/a_z0000.png",
        "masks/a_z0001.png",
        "preprocessor_config.json",
    ];
    assert_eq!(names, expected.map(PathBuf::from));
}

#[test]
fn a_run_that_fails_leaves_the_folder_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (dir.path().join("in"), dir.path().join("out"));
    write_person(&input, "a", [6, 6, 4], RAS);
    write_person(&input, "b", [6, 6, 4], RAS);
    folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap();
    let before = content(&out);

    let truncated = input.join("labels/b.nii.gz");
    let bytes = std::fs::read(&truncated).unwrap();
    std::fs::write(&truncated, &bytes[..bytes.len() / 2]).unwrap();
    let options = FolderOptions { overwrite: true, ..liver() };
    let error = folder(&pairs(&input), &out, &options, |_, _, _| {}).unwrap_err().to_string();
    assert!(error.contains("labels/b.nii.gz"), "{error}");
    let published = |out: &Path| {
        let mut files = content(out);
        files.retain(|path, _| !path.starts_with(".unet3p-prepare"));
        files
    };
    assert_eq!(published(&out), before);

    // Into a new folder nothing is written, but for what waits for the rest.
    let fresh = dir.path().join("fresh");
    assert!(folder(&pairs(&input), &fresh, &liver(), |_, _, _| {}).is_err());
    assert_eq!(published(&fresh), BTreeMap::new());
}

#[test]
fn a_run_goes_on_from_the_volumes_that_are_done() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out, whole) = (dir.path().join("in"), dir.path().join("out"), dir.path().join("whole"));
    for name in ["a", "b"] {
        write_person(&input, name, [6, 6, 4], RAS);
    }
    folder(&pairs(&input), &whole, &liver(), |_, _, _| {}).unwrap();
    let labels = input.join("labels/b.nii.gz");
    let good = std::fs::read(&labels).unwrap();
    std::fs::write(&labels, b"cut off").unwrap();
    folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap_err();

    // A slice that is marked shows whether it was cut again.
    let marked = out.join(".unet3p-prepare/images/a_z0001.png");
    std::fs::write(&marked, b"marked").unwrap();
    std::fs::write(&labels, &good).unwrap();
    folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap();
    let (mut found, mut expected) = (content(&out), content(&whole));
    assert_eq!(found.remove(Path::new("images/a_z0001.png")), Some(b"marked".to_vec()));
    expected.remove(Path::new("images/a_z0001.png"));
    assert_eq!(found, expected);

    // Other options begin anew, and so do files that changed.
    std::fs::write(&labels, b"cut off").unwrap();
    let again = FolderOptions { overwrite: true, ..liver() };
    folder(&pairs(&input), &out, &again, |_, _, _| {}).unwrap_err();
    std::fs::write(&marked, b"marked").unwrap();
    write_person(&input, "a", [6, 6, 5], RAS);
    std::fs::write(&labels, &good).unwrap();
    let index = folder(&pairs(&input), &out, &again, |_, _, _| {}).unwrap();
    assert_eq!(index.slices.len(), 5 + 4);
    assert_ne!(std::fs::read(out.join("images/a_z0001.png")).unwrap(), b"marked");
}

#[test]
fn a_run_that_ended_while_it_moved_its_slices_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (dir.path().join("in"), dir.path().join("out"));
    write_person(&input, "a", [6, 6, 4], RAS);
    folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap();
    let expected = content(&out);

    // Back to where a kill leaves it: a folder in the place of the index stops the run after the slices.
    std::fs::remove_dir_all(&out).unwrap();
    std::fs::create_dir_all(out.join("preprocessor_config.json")).unwrap();
    folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap_err();
    assert!(out.join("images/a_z0001.png").exists() && !out.join("dataset.json").exists());
    std::fs::remove_dir(out.join("preprocessor_config.json")).unwrap();
    folder(&pairs(&input), &out, &liver(), |_, _, _| {}).unwrap();
    assert_eq!(content(&out), expected);
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
    let error = match_folders(&folders.0, &folders.1).unwrap_err().to_string();
    assert!(error.contains("no label map named a"), "{error}");
    std::fs::rename(input.join("labels/b.nii.gz"), &labels).unwrap();
    std::fs::copy(&labels, input.join("labels/c.nii.gz")).unwrap();
    let error = match_folders(&folders.0, &folders.1).unwrap_err().to_string();
    assert!(error.contains("label maps named c"), "{error}");
    std::fs::remove_file(input.join("labels/c.nii.gz")).unwrap();
    // As in a dataset of nnU-Net.
    let image = input.join("images/a_0000.nii.gz");
    std::fs::rename(input.join("images/a.nii.gz"), &image).unwrap();
    let pairs = match_folders(&folders.0, &folders.1).unwrap();
    assert_eq!(pairs, [VolumePair { name: "a".into(), image: image.clone(), labels }]);
    std::fs::copy(&image, input.join("images/a_0001.nii.gz")).unwrap();
    let error = match_folders(&folders.0, &folders.1).unwrap_err().to_string();
    assert!(error.contains("a_0001.nii.gz") && error.contains("second channel"), "{error}");
    let error = match_folders(&out, &folders.1).unwrap_err().to_string();
    assert!(error.contains("no volume"), "{error}");
    assert!(match_folders(Path::new("/nowhere"), &folders.1).unwrap_err().to_string().contains("/nowhere"));
}
