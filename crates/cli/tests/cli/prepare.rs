//! `unet3p prepare`.

use unet3p_data::Volume;

use crate::support::Place;

/// Two volumes with label maps; label 5 fills a block.
fn volumes(place: &Place) {
    for name in ["one", "two"] {
        let volume = place.volume(&format!("ct/{name}.nii.gz"), [12, 6, 10]);
        let mut labels = vec![0u8; volume.data.len()];
        labels[200..400].fill(5);
        Volume::new(labels, volume.shape, volume.affine)
            .unwrap()
            .write(&place.path(&format!("labels/{name}.nii.gz")))
            .unwrap();
    }
}

const LINE: &str = "prepare folder --images ct --labels labels -o slices --class liver=5";

#[test]
fn volumes_become_slices_split_by_volume() {
    let place = Place::new();
    volumes(&place);
    let run = place.line(&format!("{LINE} --size 32x32 --validate-on two --regions"));
    run.ends(0, &[]);
    assert!(run.stdout.contains("two: 6 slices of 32x32"), "{}", run.stdout);
    assert!(run.stdout.contains("validation"), "{}", run.stdout);
    let files = place.files("slices");
    assert_eq!(files.len(), 3 * 12 + 2, "{files:?}");
    assert!(files.contains(&"masks/one_z0005.png".to_string()), "{files:?}");
    let index = place.json("slices/dataset.json");
    assert_eq!(index["volumes"][1]["split"], "validation");

    place.line(LINE).ends(2, &["slices", "--overwrite"]);
    place.line(&format!("{LINE} --overwrite --size 16x32")).ends(0, &[]);
}

#[test]
fn wrong_settings_and_unreadable_volumes() {
    let place = Place::new();
    volumes(&place);
    let cases: [(&str, &str); 6] = [
        ("--class spleen", "NAME=ID"),
        ("--window 250,-200", "LOW,HIGH"),
        ("--spacing 0", "millimetres"),
        ("--size big", "HEIGHTxWIDTH"),
        ("--validation 1.5", "share"),
        ("--validate-on three", "three"),
    ];
    for (flags, word) in cases {
        place.line(&format!("{LINE} {flags}")).ends(2, &[word]);
    }
    place
        .line("prepare folder --images labels/none --labels labels -o slices --class liver=5")
        .ends(2, &["labels/none"]);
    std::fs::remove_file(place.path("labels/two.nii.gz")).unwrap();
    // The others are prepared all the same.
    place.line(LINE).ends(3, &["ct/two.nii.gz: has no label map named two", "--overwrite"]);
    place.write("labels/two.nii.gz", "no volume");
    place.line(&format!("{LINE} --overwrite")).ends(3, &["two.nii.gz"]);
    place.write("file", "in the way");
    place.line("prepare folder --images ct --labels labels -o file --class liver=5").ends(1, &["file"]);
}

#[test]
fn a_class_is_named_once() {
    let place = Place::new();
    place
        .line("prepare folder --images i --labels l -o out --class liver=1 --class liver=2")
        .ends(2, &["liver", "twice"]);
    volumes(&place);
    for (class, problem) in
        [("a\nb=3", "line breaks"), (" =3", "empty name"), ("liver =3", "spaces at its ends")]
    {
        let args: Vec<&str> = LINE.split_whitespace().chain(["--class", class]).collect();
        place.run(args).ends(2, &["class 2", problem]);
    }
}

#[test]
fn lits_is_split_by_number_and_its_tumours_are_merged_or_kept() {
    let place = Place::new();
    for (number, batch) in [(3, "one"), (27, "one"), (28, "two")] {
        let volume = place.volume(&format!("lits/{batch}/volume-{number}.nii"), [12, 6, 10]);
        let mut labels = vec![0u8; volume.data.len()];
        labels[200..400].fill(1);
        labels[300..350].fill(2);
        let labels = Volume::new(labels, volume.shape, volume.affine).unwrap();
        labels.write(&place.path(&format!("lits/{batch}/segmentation-{number}.nii"))).unwrap();
    }
    let run = place.line("prepare lits -i lits -o merged");
    run.ends(0, &[]);
    assert!(run.stdout.contains("volume-3: 6 slices of 320x320"), "{}", run.stdout);
    let splits = |folder: &str| {
        let index = place.json(&format!("{folder}/dataset.json"));
        let volumes = index["volumes"].as_array().unwrap().iter();
        volumes.map(|volume| volume["split"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    // by name: volume-27, volume-28, volume-3
    assert_eq!(splits("merged"), ["validation", "train", "validation"]);
    let ids = |folder: &str| {
        let mask = image::open(place.path(&format!("{folder}/masks/volume-3_z0003.png"))).unwrap();
        mask.to_luma8().into_raw().into_iter().collect::<std::collections::BTreeSet<u8>>()
    };
    assert_eq!(ids("merged"), [0, 1].into());

    let keep = "prepare lits -i lits -o kept --tumor keep --crop 16x16 --normalize minmax --validate-to 3";
    place.line(keep).ends(0, &[]);
    assert_eq!(ids("kept"), [0, 1, 2].into());
    assert_eq!(splits("kept"), ["train", "train", "validation"]);
    assert_eq!(place.json("kept/preprocessor_config.json")["normalize"], "minmax");
    place.line(keep).ends(2, &["kept", "--overwrite"]);

    std::fs::remove_file(place.path("lits/one/segmentation-27.nii")).unwrap();
    place.line("prepare lits -i lits -o other").ends(3, &["has no segmentation-27.nii"]);
    place.line("prepare lits -i kept -o other").ends(2, &["volume-N.nii"]);
}

#[test]
fn a_bad_pair_does_not_end_the_preparation_of_the_others() {
    let place = Place::new();
    volumes(&place);
    let good = std::fs::read(place.path("labels/two.nii.gz")).unwrap();
    place.write("labels/two.nii.gz", "no volume");
    place.line(LINE).ends(3, &["labels/two.nii.gz", "1 inputs failed"]);
    let index = place.json("slices/dataset.json");
    assert_eq!(index["volumes"].as_array().unwrap().len(), 1);
    assert_eq!(index["failed"][0]["name"], "two");
    place.line(&format!("{LINE} --size 8x8")).ends(2, &["--overwrite"]);
    // Mended, the same command makes up for it.
    std::fs::write(place.path("labels/two.nii.gz"), good).unwrap();
    place.line(LINE).ends(0, &[]);
    let index = place.json("slices/dataset.json");
    assert_eq!(index["volumes"].as_array().unwrap().len(), 2);
    assert_eq!(index.get("failed"), None);
    assert!(!place.path("slices/.unet3p-prepare").exists());

    for name in ["one", "two"] {
        place.write(&format!("labels/{name}.nii.gz"), "no volume");
    }
    place
        .line("prepare folder --images ct --labels labels -o none --class liver=5")
        .ends(1, &["labels/one.nii.gz", "labels/two.nii.gz"]);
    assert!(place.files("none").is_empty());
}

#[test]
fn label_maps_that_lost_their_affine_take_the_images_grid_where_told() {
    let place = Place::new();
    for number in [1, 28] {
        let volume = place.volume(&format!("lits/volume-{number}.nii"), [12, 10, 10]);
        let mut labels = vec![0u8; volume.data.len()];
        labels[200..400].fill(1);
        let lost = [[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]];
        let affine = if number == 28 { lost } else { volume.affine };
        let labels = Volume::new(labels, volume.shape, affine).unwrap();
        labels.write(&place.path(&format!("lits/segmentation-{number}.nii"))).unwrap();
    }
    // A warning is said under -q as well, and is in the index.
    place
        .line("prepare lits -i lits -o image --size 32x32 -q")
        .ends(0, &["volume-28", "image's grid is taken"]);
    let index = place.json("image/dataset.json");
    let said = |volume: usize| index["volumes"][volume]["warnings"].to_string().contains("image's grid");
    assert!(said(1) && !said(0), "{index}");
    place
        .line("prepare lits -i lits -o refused --size 32x32 --grid refuse")
        .ends(3, &["segmentation-28.nii", "--grid image"]);
    let folder = "prepare folder --images lits --labels lits --class liver=1";
    place.line(&format!("{folder} -o f")).ends(3, &["segmentation-28.nii", "--grid image"]);
    place.line(&format!("{folder} -o g --grid image")).ends(0, &["image's grid is taken"]);
}

#[test]
fn names_are_paired_by_patterns() {
    let place = Place::new();
    for case in ["c1", "c2"] {
        let volume = place.volume(&format!("kits/{case}/IMG.NII.GZ"), [12, 10, 10]);
        let labels = volume.map(|&value| u8::from(value > 0.0));
        labels.write(&place.path(&format!("kits/{case}/seg.nii.gz"))).unwrap();
    }
    let line = "prepare folder --images kits --labels kits -o slices --class c=1";
    place.line(line).ends(2, &["which is which", "--image-name"]);
    place.line(&format!("{line} --image-name IMG")).ends(2, &["{name}"]);
    let patterns = "--image-name {name}/IMG --label-name {name}/seg";
    place.line(&format!("{line} {patterns} --validate-on c2")).ends(0, &[]);
    assert!(place.path("slices/masks/c1_z0003.png").exists());
}

#[test]
fn voxels_of_an_impossible_size_are_refused_with_the_header_to_blame() {
    let place = Place::new();
    let mut volume = place.volume("ct/one.nii.gz", [8, 8, 8]);
    volume.affine =
        [[383.0, 0.0, 0.0, 0.0], [0.0, 383.0, 0.0, 0.0], [0.0, 0.0, 383.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
    Volume::new(volume.data.clone(), volume.shape, volume.affine)
        .unwrap()
        .write(&place.path("ct/one.nii.gz"))
        .unwrap();
    let labels = vec![5u8; 512];
    Volume::new(labels, volume.shape, volume.affine)
        .unwrap()
        .write(&place.path("labels/one.nii.gz"))
        .unwrap();
    place.line(&format!("{LINE} --spacing 3")).ends(1, &["ct/one.nii.gz", "383 x 383 x 383 mm", "header"]);
}
