//! `unet3p prepare folder`.

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
