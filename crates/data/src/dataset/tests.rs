use std::path::Path;

use image::{GrayImage, Luma, RgbImage};

use super::*;

/// Two volumes of three slices, 6 rows x 8 columns; slice i of a volume has i foreground pixels.
fn write(dir: &Path) {
    for folder in ["images", "masks", "regions"] {
        std::fs::create_dir_all(dir.join(folder)).unwrap();
    }
    let mut slices = Vec::new();
    for volume in ["a", "b"] {
        for i in 0..3u8 {
            let name = format!("{volume}_{i}");
            let image = RgbImage::from_fn(8, 6, |x, y| image::Rgb([x as u8, y as u8, i]));
            image.save(dir.join(format!("images/{name}.png"))).unwrap();
            let mut mask = GrayImage::new(8, 6);
            (0..u32::from(i)).for_each(|x| mask.put_pixel(x, 2, Luma([1])));
            mask.save(dir.join(format!("masks/{name}.png"))).unwrap();
            mask.put_pixel(7, 5, Luma([9]));
            mask.save(dir.join(format!("regions/{name}.png"))).unwrap();
            slices.push(format!(r#"{{"name": "{name}", "volume": "{volume}", "z_mm": 3.0}}"#));
        }
    }
    let index = format!(r#"{{"slices": [{}]}}"#, slices.join(","));
    std::fs::write(dir.join("dataset.json"), index).unwrap();
}

fn options(classes: usize) -> DatasetOptions {
    DatasetOptions { classes: Some(classes), ..DatasetOptions::default() }
}

fn open(dir: &Path, classes: usize) -> Result<SliceDataset> {
    SliceDataset::open(&[dir.to_path_buf()], &options(classes))
}

fn open_error(dir: &Path) -> String {
    open(dir, 1).unwrap_err().to_string()
}

#[test]
fn slices_come_in_order_with_their_volumes() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let dataset = open(dir.path(), 1).unwrap();
    assert_eq!(dataset.groups(), ["a", "b"]);
    let slice = &dataset.slices()[5];
    assert_eq!((slice.name.as_str(), slice.group.as_str()), ("b_2", "b"));
    assert_eq!((slice.height, slice.width), (6, 8));
    assert_eq!(slice.pixels, [46, 2]);
    assert!(slice.has_foreground() && !dataset.slices()[3].has_foreground());
    // Twice: the second comes from memory.
    for _ in 0..2 {
        let sample = dataset.sample(5).unwrap();
        assert_eq!((sample.image.channels, sample.image.height, sample.image.width), (3, 6, 8));
        assert_eq!(sample.image.plane(0)[7], 7.0 / 255.0);
        assert_eq!(sample.image.plane(1)[8], 1.0 / 255.0);
        assert_eq!(sample.image.plane(2)[0], 2.0 / 255.0);
        assert_eq!(sample.mask.data.iter().filter(|&&id| id == 1).count(), 2);
        assert_eq!(sample.regions.unwrap().data[47], 9);
    }
}

#[test]
fn without_an_index_each_image_is_a_volume() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    std::fs::remove_file(dir.path().join("dataset.json")).unwrap();
    std::fs::remove_dir_all(dir.path().join("regions")).unwrap();
    let dataset = open(dir.path(), 1).unwrap();
    assert_eq!(dataset.groups().len(), 6);
    assert!(dataset.sample(0).unwrap().regions.is_none());
}

#[test]
fn errors_name_the_file_and_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    assert!(open_error(path).contains("images"));

    write(path);
    GrayImage::new(9, 6).save(path.join("masks/a_1.png")).unwrap();
    let message = open_error(path);
    for part in ["masks/a_1.png", "6 x 9", "images/a_1.png", "6 x 8"] {
        assert!(message.contains(part), "{message}");
    }

    write(path);
    GrayImage::from_pixel(8, 6, Luma([2])).save(path.join("masks/b_0.png")).unwrap();
    let message = open_error(path);
    assert!(message.contains("masks/b_0.png") && message.contains("class id 2"), "{message}");
    assert!(open(path, 2).is_ok());

    write(path);
    std::fs::remove_file(path.join("masks/b_1.png")).unwrap();
    let message = open_error(path);
    assert!(message.contains("images/b_1.png") && message.contains("masks/b_1.png"), "{message}");

    write(path);
    std::fs::write(path.join("masks/b_1.png"), "text").unwrap();
    assert!(open_error(path).contains("masks/b_1.png"));

    write(path);
    std::fs::copy(path.join("images/a_0.png"), path.join("images/c_0.png")).unwrap();
    std::fs::copy(path.join("masks/a_0.png"), path.join("masks/c_0.png")).unwrap();
    std::fs::copy(path.join("regions/a_0.png"), path.join("regions/c_0.png")).unwrap();
    let message = open_error(path);
    assert!(message.contains("c_0.png") && message.contains("dataset.json"), "{message}");
}

#[test]
fn an_image_that_cannot_be_decoded_is_named_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let image = dir.path().join("images/a_0.png");
    let mut bytes = std::fs::read(&image).unwrap();
    let at = bytes.len() - 20;
    bytes[at] ^= 0xff;
    std::fs::write(&image, bytes).unwrap();
    let dataset = open(dir.path(), 1).unwrap();
    assert!(dataset.sample(0).unwrap_err().to_string().contains("a_0.png"));
}

#[test]
fn splits_keep_volumes_whole() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let dataset = open(dir.path(), 1).unwrap();
    let parts = dataset.split(&Split::Groups(vec!["a".into()])).unwrap();
    assert_eq!(parts, Parts { train: vec![3, 4, 5], validation: vec![0, 1, 2] });

    let fraction = |fraction, seed| dataset.split(&Split::Fraction { fraction, seed });
    for seed in 0..5 {
        let parts = fraction(0.3, seed).unwrap();
        assert_eq!(parts.validation.len(), 3);
        assert_eq!(parts.validation[0] / 3, parts.validation[2] / 3);
        assert_eq!(parts, fraction(0.3, seed).unwrap());
    }

    let message = |split| dataset.split(&split).unwrap_err().to_string();
    assert!(message(Split::Groups(vec!["c".into()])).contains("a, b"));
    assert!(message(Split::Groups(vec!["a".into(), "b".into()])).contains("left to train"));
    assert!(message(Split::Fraction { fraction: 1.0, seed: 0 }).contains("validation_fraction = 1"));
    for nothing in [Split::Groups(vec![]), Split::AsPrepared] {
        assert!(dataset.split(&nothing).unwrap().validation.is_empty());
    }

    let index = dir.path().join("dataset.json");
    let volumes =
        r#"{"volumes": [{"name": "b", "split": "validation"}, {"name": "a", "split": "train"}], "slices""#;
    let text = std::fs::read_to_string(&index).unwrap().replace(r#"{"slices""#, volumes);
    std::fs::write(&index, text).unwrap();
    let prepared = open(dir.path(), 1).unwrap().split(&Split::AsPrepared).unwrap();
    assert_eq!(prepared.validation, [3, 4, 5]);
}

#[test]
fn the_preprocessor_sets_channels_size_and_range() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let preprocessor = Preprocessor::from_json(
        r#"{"layout": "gray", "size": {"height": 12, "width": 16}, "do_normalize": true, "image_mean": [0.5], "image_std": [0.5]}"#,
    );
    let dirs = [dir.path().to_path_buf()];
    let options = DatasetOptions { preprocessor: preprocessor.unwrap(), ..options(1) };
    let dataset = SliceDataset::open(&dirs, &options).unwrap();
    let mut sample = dataset.sample(5).unwrap();
    assert_eq!((sample.image.channels, sample.image.height, sample.mask.width), (1, 12, 16));
    assert_eq!(sample.mask.data.iter().filter(|&&id| id == 1).count(), 8);
    assert!(sample.image.data.iter().all(|v| (0.0..0.1).contains(v)));
    dataset.normalize(&mut sample.image);
    assert!(sample.image.data.iter().all(|v| (-1.0..-0.8).contains(v)));
}

#[test]
fn several_folders_are_one_dataset() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(one.path());
    write(two.path());
    let dirs = [one.path().to_path_buf(), two.path().to_path_buf()];
    let dataset = SliceDataset::open(&dirs, &options(1)).unwrap();
    assert_eq!((dataset.slices().len(), dataset.groups().len()), (12, 2));
}
