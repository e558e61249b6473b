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
    place.line(LINE).ends(2, &["two"]);
    place.write("labels/two.nii.gz", "no volume");
    place.line(LINE).ends(1, &["two.nii.gz"]);
    place.write("file", "in the way");
    place.line("prepare folder --images ct --labels labels -o file --class liver=5").ends(1, &["file"]);
}

#[test]
fn a_class_is_named_once() {
    let place = Place::new();
    place
        .line("prepare folder --images i --labels l -o out --class liver=1 --class liver=2")
        .ends(2, &["liver", "twice"]);
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
    place.line("prepare lits -i lits -o other").ends(2, &["segmentation-27.nii"]);
    place.line("prepare lits -i kept -o other").ends(2, &["volume-N.nii"]);
}
