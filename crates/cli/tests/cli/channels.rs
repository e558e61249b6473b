//! Cases with a file for each channel, from files to masks.

use std::fs;
use std::path::Path;

use unet3p_data::Volume;

use crate::support::{Place, gray_preprocessor, tiny};

const CHANNELS: [&str; 4] = ["FLAIR", "T1", "T1ce", "T2"];
/// The channel that shows the tumour.
const SHOWS: usize = 2;
const SHAPE: [usize; 3] = [24, 24, 6];
const GRID: [[f64; 4]; 4] =
    [[-1.0, 0.0, 0.0, 12.0], [0.0, 1.0, 0.0, -12.0], [0.0, 0.0, 3.0, 0.0], [0.0, 0.0, 0.0, 1.0]];

const CONFIG: &str = r#"
[data]
paths = ["slices"]

[model]
in_channels = 4
filters = [4, 8, 16]

[train]
steps = 120
batch_size = 4
learning_rate = 0.01
statistics_batches = 1

[loss]
segmentation = "dice_cross_entropy"
"#;

/// A value from 0 to 1 that looks drawn, the same for the same numbers.
fn noise(case: usize, channel: usize, voxel: usize) -> f32 {
    let mut x = (case * 7 + channel * 131 + voxel * 8191 + 1) as u64;
    for _ in 0..3 {
        x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (x >> 29);
    }
    (x >> 40) as f32 / (1 << 24) as f32
}

fn is_tumour(case: usize, voxel: usize) -> bool {
    let (x, y) = (voxel % SHAPE[0], voxel / SHAPE[0] % SHAPE[1]);
    let (left, top) = (4 + 2 * (case % 4), 6 + case % 3);
    (left..left + 9).contains(&x) && (top..top + 10).contains(&y)
}

/// A case of MR values: noise in all channels, and the tumour bright in one of them.
fn case(place: &Place, folder: &str, case: usize, order: [usize; 4]) {
    let voxels = SHAPE.iter().product::<usize>();
    for (number, channel) in order.into_iter().enumerate() {
        let values = (0..voxels).map(|voxel| {
            let tumour = channel == SHOWS && is_tumour(case, voxel);
            (200.0 * (channel + 1) as f32) * (noise(case, channel, voxel) + if tumour { 2.0 } else { 0.0 })
        });
        let volume = Volume::new(values.map(f32::round).collect(), SHAPE, GRID).unwrap();
        volume.write(&place.path(&format!("{folder}/case{case}_{number:04}.nii.gz"))).unwrap();
    }
}

fn label(case: usize) -> Volume<u8> {
    let voxels = SHAPE.iter().product::<usize>();
    Volume::new((0..voxels).map(|voxel| u8::from(is_tumour(case, voxel))).collect(), SHAPE, GRID).unwrap()
}

/// An nnU-Net dataset of volumes with four channels.
fn dataset(place: &Place, cases: usize) {
    for i in 0..cases {
        case(place, "mr/imagesTr", i, [0, 1, 2, 3]);
        label(i).write(&place.path(&format!("mr/labelsTr/case{i}.nii.gz"))).unwrap();
    }
    let names: Vec<String> =
        CHANNELS.iter().enumerate().map(|(i, name)| format!(r#""{i}": "{name}""#)).collect();
    let index = format!(
        r#"{{"channel_names": {{{}}}, "labels": {{"background": 0, "tumour": 1}}, "numTraining": {cases}, "file_ending": ".nii.gz"}}"#,
        names.join(", ")
    );
    place.write("mr/dataset.json", index);
}

const PREPARE: &str =
    "prepare folder --images mr/imagesTr --labels mr/labelsTr -o slices --class tumour=1 --validate-on case3";

/// Dice of two masks of one class.
fn dice(found: &Volume<u16>, wanted: &Volume<u8>) -> f64 {
    let both = found.data.iter().zip(&wanted.data).filter(|&(&a, &b)| a == 1 && b == 1).count();
    let each =
        found.data.iter().filter(|&&id| id == 1).count() + wanted.data.iter().filter(|&&id| id == 1).count();
    2.0 * both as f64 / each.max(1) as f64
}

fn mask(place: &Place, name: &str) -> Volume<u16> {
    Volume::read_labels(&place.path(name)).unwrap()
}

#[test]
fn four_channels_go_from_files_to_a_mask_that_lies_right() {
    let place = Place::new();
    dataset(&place, 4);
    place.line(PREPARE).ends(0, &[]);
    let files = place.files("slices");
    assert!(files.contains(&"images/case0_z0003_0002.png".to_string()), "{files:?}");
    assert_eq!(files.len(), 4 * 6 * 5 + 2);
    let how = place.json("slices/preprocessor_config.json");
    assert_eq!((&how["layout"], &how["channel_names"]), (&"channels".into(), &serde_json::json!(CHANNELS)));
    place.line("verify slices").ends(0, &[]);

    place.write("c.toml", CONFIG);
    place.line("train -c c.toml -o run").ends(0, &[]);
    let how = place.json("run/best/preprocessor_config.json");
    assert_eq!(how["channel_names"], serde_json::json!(CHANNELS));

    let described = place.line("info run");
    assert!(described.stdout.contains("channels     4: FLAIR, T1, T1ce, T2"), "{described:?}");

    // A folder, one file of a case, and a list whose columns stand in another order.
    case(&place, "new", 5, [0, 1, 2, 3]);
    place.line("predict -i new -o out -m run").ends(0, &[]);
    let found = mask(&place, "out/case5_mask.nii.gz");
    let right = dice(&found, &label(5));
    assert!(right > 0.9, "{right}");
    place.line("predict -i new/case5_0000.nii.gz -o one.nii.gz -m run --overlay").ends(0, &[]);
    assert_eq!(mask(&place, "one.nii.gz").data, found.data);
    let row: Vec<String> = [2, 0, 1, 3].iter().map(|c| format!("new/case5_000{c}.nii.gz")).collect();
    place.write("list.csv", format!("patient,T1ce,FLAIR,T1,T2\np5,{}\n", row.join(",")));
    place.line("predict -i list.csv -o listed -m run").ends(0, &[]);
    let listed = place.files("listed");
    let listed = listed.iter().find(|file| file.ends_with("_mask.nii.gz")).unwrap();
    assert_eq!(mask(&place, &format!("listed/{listed}")).data, found.data);
    // Without --overwrite nothing is done twice.
    place.line("predict -i new -o out -m run --continue").ends(0, &["1 of 1 inputs are finished"]);

    // The same files as other channels are another case.
    case(&place, "swapped", 5, [SHOWS, 1, 0, 3]);
    place.line("predict -i swapped -o out2 -m run").ends(0, &[]);
    let swapped = mask(&place, "out2/case5_mask.nii.gz");
    assert_ne!(swapped.data, found.data);
    assert!(dice(&swapped, &label(5)) < right);

    place.line("evaluate -m run").ends(0, &[]);
    let scores = place.json("run/evaluation.json");
    assert!(scores["foreground_mean"]["Dice"].as_f64().unwrap() > 0.8, "{scores:#}");
    let line = "evaluate -m run/best -i mr -r mr -o scores.json";
    place.line(line).ends(0, &[]);
    let scores = place.json("scores.json");
    assert!(scores["foreground_mean"]["Dice"].as_f64().unwrap() > 0.8, "{scores:#}");
    place.line("evaluate -m run/best -i slices -r slices -o slices.json --split validation").ends(0, &[]);
}

#[test]
fn what_is_missing_or_does_not_fit_is_named_with_case_and_channel() {
    let place = Place::new();
    dataset(&place, 4);
    let expected = "4 channels: 0000 (FLAIR), 0001 (T1), 0002 (T1ce), 0003 (T2)";
    // Prepare.
    let gone = place.path("mr/imagesTr/case1_0002.nii.gz");
    fs::rename(&gone, place.path("kept.nii.gz")).unwrap();
    let words = ["case1_0002.nii.gz: is missing", "0002 (T1ce) of the case case1", expected];
    place.line(PREPARE).ends(3, &words);
    fs::rename(place.path("kept.nii.gz"), &gone).unwrap();
    let extra = place.path("mr/imagesTr/case2_0004.nii.gz");
    fs::copy(&gone, &extra).unwrap();
    place
        .line(&format!("{PREPARE} --overwrite"))
        .ends(3, &["case2_0004.nii.gz: is a channel too many", "the case case2", expected]);
    fs::remove_file(&extra).unwrap();
    let moved = [[-1.0, 0.0, 0.0, 99.0], GRID[1], GRID[2], GRID[3]];
    let volume = Volume::read(&gone).unwrap();
    Volume::new(volume.data.clone(), SHAPE, moved).unwrap().write(&gone).unwrap();
    place
        .line(&format!("{PREPARE} --overwrite"))
        .ends(3, &["case1_0000.nii.gz", "T1ce does not lie on the first one's grid"]);
    volume.write(&gone).unwrap();
    place.line(&format!("{PREPARE} --overwrite")).ends(0, &[]);

    // Train and verify.
    place.write("c.toml", CONFIG);
    place
        .line("train -c c.toml -o run --set model.in_channels=3")
        .ends(2, &["model.in_channels = 3", expected]);
    place.line("train -c c.toml -o run --set model.in_channels=65").ends(2, &["in_channels = 65", "1 to 64"]);
    let slice = place.path("slices/images/case0_z0003_0001.png");
    fs::rename(&slice, place.path("kept.png")).unwrap();
    let words = ["case0_z0003_0001.png: is missing", "0001 (T1)", expected];
    place.line("verify slices").ends(3, &words);
    place.line("train -c c.toml -o run").ends(1, &words);
    image::GrayImage::new(20, 24).save(&slice).unwrap();
    place
        .line("verify slices")
        .ends(3, &["case0_z0003_0001.png: is 24 x 20", "case0_z0003_0000.png is 24 x 24"]);
    fs::rename(place.path("kept.png"), &slice).unwrap();

    // Predict.
    let how = unet3p_data::Preprocessor::load(&place.path("slices")).unwrap();
    place.save_model("m4", &tiny(4), &how);
    place.model();
    case(&place, "new", 5, [0, 1, 2, 3]);
    fs::remove_file(place.path("new/case5_0001.nii.gz")).unwrap();
    for input in ["new", "new/case5_0000.nii.gz"] {
        let words = ["case5_0001.nii.gz: is missing", "0001 (T1) of the case case5", expected];
        place.line(&format!("predict -i {input} -o out -m m4 --overwrite")).ends(1, &words);
    }
    place.gray("photo.png", 24, 24);
    place.line("predict -i photo.png -o out3 -m m4").ends(1, &["photo.png: is one file", expected]);
    place.write("list.csv", "image,image_1\nphoto.png,photo.png\n");
    place.line("predict -i list.csv -o out4 -m m4").ends(1, &["is one of 2 files", expected]);
    place.line("predict -i list.csv -o out5 -m m").ends(1, &["is one of 2 files", "1 channel, gray"]);
    place.write("list.csv", "FLAIR,T1,T2\nphoto.png,photo.png,photo.png\n");
    place.line("predict -i list.csv -o out6 -m m4").ends(2, &["no column named T1ce", "FLAIR, T1, T2"]);
    // Independent pictures of a model of one channel stay so.
    place.gray("series/a_0000.png", 24, 24);
    place.gray("series/a_0001.png", 24, 24);
    place.line("predict -i series -o out7 -m m").ends(0, &[]);
    assert_eq!(place.files("out7").len(), 3);
    assert_eq!(gray_preprocessor().channels(), 1);
}

#[test]
fn pictures_of_two_channels_are_trained_on_from_lists_and_nnunet_datasets() {
    let place = Place::new();
    let save = |name: &str, i: u32, bright: bool| {
        let inside = |x: u32, y: u32| (4 + i..16 + i).contains(&x) && (6..22).contains(&y);
        let value = |x, y| if bright && inside(x, y) { 200 } else { ((x * 31 + y * 17 + i) % 60) as u8 };
        image::GrayImage::from_fn(32, 32, |x, y| image::Luma([value(x, y)])).save(place.path(name)).unwrap();
    };
    let mut list = String::from("t1,t2,mask,group\n");
    for i in 0..4 {
        save(&format!("d/imagesTr/{i}_0000.png"), i, false);
        save(&format!("d/imagesTr/{i}_0001.png"), i, true);
        let inside = |x: u32, y: u32| (4 + i..16 + i).contains(&x) && (6..22).contains(&y);
        image::GrayImage::from_fn(32, 32, |x, y| image::Luma([u8::from(inside(x, y))]))
            .save(place.path(&format!("d/labelsTr/{i}.png")))
            .unwrap();
        list += &format!("imagesTr/{i}_0000.png,imagesTr/{i}_0001.png,labelsTr/{i}.png,p{i}\n");
    }
    place.write("d/list.csv", list);
    place.write(
        "d/dataset.json",
        r#"{"channel_names": {"0": "t1", "1": "t2"}, "labels": {"background": 0, "a": 1}, "file_ending": ".png"}"#,
    );
    place.write("c.toml", CONFIG);
    for (path, run) in [("d", "one"), ("d/list.csv", "two")] {
        place.line(&format!("verify {path}")).ends(0, &[]);
        let sets = format!("--set data.paths=[\"{path}\"] --set model.in_channels=2 --set train.steps=4");
        place.line(&format!("train -c c.toml -o {run} {sets}")).ends(0, &[]);
        let how = place.json(&format!("{run}/last/preprocessor_config.json"));
        assert_eq!(how["channel_names"], serde_json::json!(["t1", "t2"]));
        assert_eq!(how["normalize"], "zscore");
        place.line(&format!("predict -i d/imagesTr -o out_{run} -m {run}")).ends(0, &[]);
        assert_eq!(place.files(&format!("out_{run}")).len(), 5);
        assert!(Path::new(&place.path(&format!("out_{run}/2_mask.png"))).is_file());
    }
}

/// A model of two channels, its case of two images, and what a careless command could do to them.
#[test]
fn channels_are_neither_overwritten_nor_mistaken_for_those_of_before() {
    let place = Place::new();
    let save = |name: &str, seed: u32| {
        let value = |x: u32, y: u32| ((x * seed + y * 17 + seed) % 250) as u8;
        image::GrayImage::from_fn(32, 32, |x, y| image::Luma([value(x, y)])).save(place.path(name)).unwrap();
    };
    for i in 0..2 {
        save(&format!("d/imagesTr/{i}_0000.png"), 3 + i);
        save(&format!("d/imagesTr/{i}_0001.png"), 11 + i);
        image::GrayImage::from_fn(32, 32, |x, _| image::Luma([u8::from(x > 9)]))
            .save(place.path(&format!("d/labelsTr/{i}.png")))
            .unwrap();
    }
    let index = r#"{"channel_names": {"0": "t1", "1": "t2"}, "labels": {"background": 0, "a": 1}, "file_ending": ".png"}"#;
    place.write("d/dataset.json", index);
    place.write("c.toml", CONFIG);
    let sets = "--set data.paths=[\"d\"] --set model.in_channels=2 --set train.steps=1";
    place.line(&format!("train -c c.toml -o run {sets}")).ends(0, &[]);

    // a mask in the place of a channel, also of one that the case does not have
    for name in ["0_0001.png", "0_0002.png"] {
        let line = format!("predict -i d/imagesTr/0_0000.png -o d/imagesTr/{name} -m run --overwrite");
        place.line(&line).ends(2, &[name, "is an input"]);
    }
    // also where the name of the case has a dot
    save("dotted/v1.2_0000.png", 5);
    save("dotted/v1.2_0001.png", 7);
    place
        .line("predict -i dotted/v1.2_0000.png -o dotted/v1.2_0002.png -m run --overwrite")
        .ends(2, &["v1.2_0002.png", "is an input"]);
    // one channel named stands for the case: a change of the other one counts
    place.line("predict -i d/imagesTr/0_0000.png -o out -m run").ends(0, &[]);
    place.line("predict -i d/imagesTr/0_0000.png -o out -m run --continue").ends(0, &["finished already"]);
    let [first, second] = ["0_0000", "0_0001"].map(|name| place.path(&format!("d/imagesTr/{name}.png")));
    let spare = place.path("spare.png");
    for (from, to) in [(&first, &spare), (&second, &first), (&spare, &second)] {
        fs::rename(from, to).unwrap();
    }
    place
        .line("predict -i d/imagesTr/0_0000.png -o out -m run --continue")
        .ends(0, &["0 of 1 inputs are finished"]);
    // a mask that goes is named
    fs::remove_file(&second).unwrap();
    place.line("predict -i d/imagesTr -o out -m run --continue").ends(3, &["0_mask.png: removed"]);

    // columns by their names, and none left out
    save("d/imagesTr/0_0001.png", 11);
    for (header, said) in [
        ("image,image_0,mask", "image_0"),
        ("image,image,mask", "two columns named image"),
        ("image,Image_1,mask", "Image_1"),
    ] {
        place.write("d/l.csv", format!("{header}\nimagesTr/0_0000.png,imagesTr/0_0001.png,labelsTr/0.png\n"));
        place.line("predict -i d/l.csv -o listed -m run").ends(2, &["l.csv", said]);
    }
    // two channels need two files each
    fs::remove_file(place.path("d/imagesTr/0_0001.png")).unwrap();
    fs::remove_file(place.path("d/imagesTr/1_0001.png")).unwrap();
    place.line(&format!("train -c c.toml -o other {sets}")).ends(2, &["0_0001.png: is missing"]);
}
