//! What is in memory is segmented as its file is.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::io::Cursor;

use candle_core::{DType, Device};
use unet3p::data::{Nifti, VolumeWriter};
use unet3p::{Image, Picture, Preprocessor, Segmenter, UNet3Plus, UNet3PlusConfig, Volume};

fn segmenter(channels: usize, how: Option<Preprocessor>) -> Segmenter {
    let config = UNet3PlusConfig::builder().in_channels(channels).base_filters(2).build().unwrap();
    let model = UNet3Plus::init(&config, 3, DType::F32, &Device::Cpu).unwrap();
    Segmenter::new("m", model, how, &Device::Cpu).unwrap()
}

/// HU that differ from voxel to voxel, on a grid that is not RAS.
fn scan(channel: usize) -> Volume {
    let grid = [[-1.5, 0.0, 0.0, 9.0], [0.0, 1.5, 0.0, -3.0], [0.0, 0.0, 4.0, 1.0], [0.0, 0.0, 0.0, 1.0]];
    let values = (0..20 * 18 * 3).map(|i| ((i * 37 + channel * 101) % 450) as f32 - 200.0).collect();
    Volume::new(values, [20, 18, 3], grid).unwrap()
}

#[test]
fn a_picture_in_memory_is_as_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let pixels: Vec<[u8; 3]> = (0..20 * 30).map(|i| [(i % 256) as u8, (i * 7 % 256) as u8, 90]).collect();
    let picture = Picture { height: 20, width: 30, pixels };
    picture.write_png(&path).unwrap();
    let segmenter = segmenter(3, Some(Preprocessor::default()));
    let of_file = segmenter.segment(&path).unwrap();
    let planes = (0..3).flat_map(|c| picture.pixels.iter().map(move |p| f32::from(p[c]) / 255.0)).collect();
    let image = Image::new(3, 20, 30, planes).unwrap();
    let stream = segmenter.segment_stream("a.png", Cursor::new(picture.to_png().unwrap())).unwrap();
    let mut batch = segmenter.segment_batch(&[image.clone(), Image::filled(1, 7, 5, 0.5)]).unwrap();
    assert_eq!((batch[1].mask.height, batch[1].mask.width), (7, 5));
    for found in [segmenter.segment_image(&image).unwrap(), stream, batch.swap_remove(0)] {
        assert_eq!(found.probabilities, of_file.probabilities);
        assert_eq!(found.picture(), of_file.picture());
    }
    let error = segmenter.segment_stream("upload", Cursor::new(b"text".to_vec())).unwrap_err().to_string();
    assert!(error.contains("upload") && error.contains("PNG"), "{error}");
    for wrong in [Image::filled(2, 8, 8, 0.0), Image::filled(1, 8, 8, f32::NAN), Image::filled(1, 0, 8, 0.0)]
    {
        let error = segmenter.segment_image(&wrong).unwrap_err().to_string();
        assert!(error.contains("red, green, blue"), "{error}");
    }
}

#[test]
fn a_volume_in_memory_is_as_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.nii.gz");
    let volume = scan(0);
    volume.write(&path).unwrap();
    let segmenter = segmenter(3, Some(Preprocessor::for_slices([-200.0, 250.0], None)));
    let (of_file, in_memory) = (
        segmenter.segment_volume_file(&path, |_, _| {}).unwrap(),
        segmenter.segment_volume(&volume, |_, _| {}).unwrap(),
    );
    assert_eq!(of_file.probabilities, in_memory.probabilities);
    let masks = ["file.nii.gz", "memory.nii.gz"].map(|name| folder.path().join(name));
    of_file.write_mask(&masks[0]).unwrap();
    in_memory.write_mask(&masks[1]).unwrap();
    let [a, b] = masks.map(|mask| Volume::read_labels(&mask).unwrap());
    assert_eq!((a.data, a.affine), (b.data, b.affine));
    Nifti::default().write_file(&in_memory.mask, &path).unwrap();
}

#[test]
fn channels_in_memory_are_as_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["t1", "t2"].map(String::from).to_vec();
    let segmenter = segmenter(2, Some(Preprocessor::for_channels(names)));
    let volumes = [scan(0), scan(1)];
    for (channel, volume) in volumes.iter().enumerate() {
        volume.write(&folder.path().join(format!("a_{channel:04}.nii"))).unwrap();
    }
    let of_files = segmenter.segment_volume_file(folder.path().join("a_0000.nii"), |_, _| {}).unwrap();
    let in_memory = segmenter.segment_channels(&volumes, |_, _| {}).unwrap();
    assert_eq!(of_files.probabilities, in_memory.probabilities);
    let error = segmenter.segment_volume(&volumes[0], |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("1 volume,") && error.contains("0000 (t1), 0001 (t2)"), "{error}");
}

#[test]
fn without_a_preprocessor_only_the_input_itself_is_taken() {
    let segmenter = segmenter(1, None);
    assert!(segmenter.segment_input(&Image::filled(1, 8, 8, 0.0)).is_ok());
    let error = segmenter.segment_image(&Image::filled(1, 8, 8, 0.0)).unwrap_err().to_string();
    assert!(error.contains("preprocessor_config.json"), "{error}");
    assert!(segmenter.segment_volume(&scan(0), |_, _| {}).is_err());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    unet3p::write_npy(&path, &[1, 8, 8], &[0.5; 64]).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let (a, b) = (segmenter.segment_npy(&path).unwrap(), segmenter.segment_npy_stream("a", bytes.as_slice()));
    assert_eq!(a[0].probabilities, b.unwrap()[0].probabilities);
    let error = segmenter.segment_npy_stream("a", &bytes[..bytes.len() - 4]).unwrap_err().to_string();
    assert!(error.contains("cut short"), "{error}");
}
