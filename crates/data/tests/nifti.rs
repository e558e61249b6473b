//! NIfTI files: what they may hold, what is refused, what is written.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{File, RAS, affine, gzip, placed, random, read, refusal, rotation, save, says};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_data::{Nifti, Volume, VolumeReader, VolumeWriter};

#[test]
fn every_voxel_type_is_read_in_both_byte_orders_and_scaled() {
    let folder = tempfile::tempdir().unwrap();
    let values = [0i8, 1, 100, 127, 5, 7];
    macro_rules! check {
        ($type:ty, $code:literal) => {
            for little in [true, false] {
                let bytes = |v: &i8| {
                    let v = *v as $type;
                    if little { v.to_le_bytes().to_vec() } else { v.to_be_bytes().to_vec() }
                };
                let voxels: Vec<u8> = values.iter().flat_map(bytes).collect();
                let mut file = File::new(little, &[1, 2, 3], $code, size_of::<$type>() as i16 * 8, voxels);
                file.f32(112, 2.0);
                file.f32(116, -10.0);
                // Compression is recognised by content, whatever the name says.
                for (name, bytes) in [("a.nii", file.bytes()), ("b.nii", gzip(&file.bytes()))] {
                    let volume = Volume::read(&save(folder.path(), name, &bytes)).unwrap();
                    assert_eq!(volume.shape, [1, 2, 3]);
                    assert_eq!(volume.data, values.map(|v| 2.0 * f32::from(v) - 10.0), stringify!($type));
                }
            }
        };
    }
    check!(u8, 2);
    check!(i16, 4);
    check!(i32, 8);
    check!(f32, 16);
    check!(f64, 64);
    check!(i8, 256);
    check!(u16, 512);
    check!(u32, 768);
    check!(i64, 1024);
    check!(u64, 1280);
}

#[test]
fn without_a_slope_values_are_as_stored() {
    let folder = tempfile::tempdir().unwrap();
    for slope in [0.0, f32::NAN, f32::INFINITY] {
        for intercept in [7.0, f32::NAN, f32::INFINITY] {
            let volume = read(&folder, &scaled(slope, intercept));
            assert_eq!(volume.data, [3.0, 4.0]);
            assert!(says(&volume, "as they are stored"), "{slope} {intercept}: {:?}", volume.warnings);
        }
    }
    for (slope, intercept) in [(0.0, 0.0), (1.0, 0.0), (2.0, -7.0)] {
        assert!(!says(&read(&folder, &scaled(slope, intercept)), "slope"));
    }
}

#[test]
fn a_slope_without_an_intercept_multiplies_alone() {
    let folder = tempfile::tempdir().unwrap();
    for intercept in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let volume = read(&folder, &scaled(2.0, intercept));
        assert_eq!(volume.data, [6.0, 8.0]);
        assert!(says(&volume, "nothing is added") && says(&volume, "slope 2"), "{:?}", volume.warnings);
    }
}

/// Two voxels, 3 and 4, with a scaling.
fn scaled(slope: f32, intercept: f32) -> File {
    let mut file = placed(&[1, 1, 2], 2, 8, vec![3, 4]);
    file.f32(112, slope);
    file.f32(116, intercept);
    file
}

#[test]
fn extensions_and_axes_of_one_entry_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = File::new(true, &[2, 1, 1, 1, 1], 2, 8, vec![8, 9]);
    file.extension = vec![1; 52];
    file.f32(108, 400.0);
    let volume = Volume::read(&save(folder.path(), "a.nii", &file.bytes())).unwrap();
    assert_eq!((volume.data, volume.shape), (vec![8.0, 9.0], [2, 1, 1]));
    // Two axes are a volume of one slice; an offset of 0 means the smallest.
    let mut file = File::new(true, &[2, 1], 2, 8, vec![8, 9]);
    file.f32(108, 0.0);
    let volume = Volume::read(&save(folder.path(), "a.nii", &file.bytes())).unwrap();
    assert_eq!((volume.data, volume.shape), (vec![8.0, 9.0], [2, 1, 1]));
}

#[test]
fn voxels_that_are_not_finite_become_the_lowest() {
    let folder = tempfile::tempdir().unwrap();
    let voxels: Vec<u8> =
        [1.0f32, f32::NAN, -5.0, f32::INFINITY].iter().flat_map(|v| v.to_le_bytes()).collect();
    let file = File::new(true, &[2, 2, 1], 16, 32, voxels);
    let volume = Volume::read(&save(folder.path(), "a.nii", &file.bytes())).unwrap();
    assert_eq!(volume.data, [1.0, -5.0, -5.0, -5.0]);
    assert!(says(&volume, "2 voxels are not finite and are read as -5"), "{:?}", volume.warnings);
    // Finite in the file, but not in single precision.
    let voxels: Vec<u8> = [1.0f64, 1e300, -5.0, f64::NAN].iter().flat_map(|v| v.to_le_bytes()).collect();
    let volume = read(&folder, &placed(&[2, 2, 1], 64, 64, voxels));
    assert_eq!(volume.data, [1.0, -5.0, -5.0, -5.0]);
    assert!(says(&volume, "2 voxels") && says(&volume, "(1 of them exceed"), "{:?}", volume.warnings);
    for value in [f32::NAN, f32::NEG_INFINITY] {
        let voxels: Vec<u8> = [value; 4].iter().flat_map(|v| v.to_le_bytes()).collect();
        let message = refusal(&File::new(true, &[2, 2, 1], 16, 32, voxels).bytes());
        assert!(message.contains("no voxel with a finite value"), "{message}");
    }
}

#[test]
fn labels_are_scaled_and_padding_is_background() {
    let folder = tempfile::tempdir().unwrap();
    let labels = |file: &File| Volume::read_labels(&save(folder.path(), "a.nii", &file.bytes()));
    // Labels 0 to 4 as a tool stores them that scales to 8 bits: 64 stands for 1, and is 1.0039.
    let mut file = placed(&[5, 1, 1], 2, 8, vec![0, 64, 128, 191, 255]);
    file.f32(112, 4.0 / 255.0);
    let found = labels(&file).unwrap();
    assert_eq!(found.data, [0, 1, 2, 3, 4]);
    assert!(found.warnings.iter().any(|warning| warning.contains("rounded")), "{:?}", found.warnings);
    file.f32(112, 0.1);
    assert!(labels(&file).unwrap_err().to_string().contains("whole numbers"));
    file.f32(112, 3.0);
    file.f32(116, 1.0);
    assert_eq!(labels(&file).unwrap().data, [1, 193, 385, 574, 766]);
    let voxels: Vec<u8> = [f32::NAN, 1.0, 2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let found = labels(&placed(&[3, 1, 1], 16, 32, voxels)).unwrap();
    assert_eq!(found.data, [0, 1, 2]);
    assert!(found.warnings[0].contains("1 voxels are not finite and are read as 0"), "{:?}", found.warnings);
}

#[test]
fn what_is_no_volume_is_refused_with_the_reason() {
    let good = File::new(true, &[2, 2, 2], 2, 8, vec![1; 8]);
    let change = |f: &dyn Fn(&mut File)| {
        let mut file = File::new(true, &[2, 2, 2], 2, 8, vec![1; 8]);
        f(&mut file);
        file.bytes()
    };
    let whole = good.bytes();
    let gz = gzip(&random(5000, 1).iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
    let truncated_gz = {
        let voxels: Vec<u8> = random(1000, 2).iter().flat_map(|v| v.to_le_bytes()).collect();
        let file = gzip(&File::new(true, &[10, 10, 10], 16, 32, voxels).bytes());
        file[..file.len() / 2].to_vec()
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "truncated"),
        (b"just some text".to_vec(), "truncated, or no NIfTI"),
        ([b'x'; 500].to_vec(), "not a NIfTI-1 file"),
        (whole[..200].to_vec(), "truncated"),
        (whole[..350].to_vec(), "truncated"),
        (whole[..357].to_vec(), "5 of 8 voxels"),
        (gz, "not a NIfTI-1 file"),
        (truncated_gz, "truncated"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\0garbage garbage garbage".to_vec(), "corrupt"),
        (change(&|f| f.i32(0, 540)), "NIfTI-2"),
        (change(&|f| f.header[344..348].copy_from_slice(b"ni1\0")), ".hdr/.img"),
        (change(&|f| f.header[344..348].copy_from_slice(b"what")), "magic"),
        (change(&|f| f.i16(40, 0)), "dimensions"),
        (change(&|f| f.i16(42, 0)), "extents"),
        (change(&|f| f.i16(42, -4)), "extents"),
        (change(&|f| f.i16(70, 32)), "Complex64"),
        (change(&|f| f.i16(70, 128)), "Rgb24"),
        (change(&|f| f.i16(70, 9999)), "9999"),
        (change(&|f| f.f32(108, f32::NAN)), "byte NaN"),
        (change(&|f| f.f32(108, -1.0)), "byte -1"),
        (change(&|f| f.f32(108, 1e30)), "byte 1"),
        (change(&|f| f.f32(80, 0.0)), "affine"),
        (File::new(true, &[2, 2, 2, 3], 2, 8, vec![1; 24]).bytes(), "single 3D volume"),
        // Headers that promise what is not there: nothing of that size is allocated.
        (File::new(true, &[1000, 1000, 1000], 64, 64, vec![1; 8]).bytes(), "1 of 1000000000 voxels"),
        (File::new(true, &[32767, 32767, 32767], 64, 64, vec![1; 8]).bytes(), "at most"),
    ];
    for (bytes, reason) in cases {
        let message = refusal(&bytes);
        assert!(message.contains("scan.nii") && message.contains(reason), "{message} / {reason}");
    }
    let missing = Volume::read(Path::new("/nowhere/scan.nii")).unwrap_err().to_string();
    assert!(missing.contains("/nowhere/scan.nii"), "{missing}");
}

#[test]
fn a_compressed_volume_is_checked_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii.gz");
    let volume = Volume::new(random(60, 3), [3, 4, 5], affine(RAS, [1.0; 3], [0.0; 3])).unwrap();
    volume.write(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let refusal = |bytes: &[u8]| {
        let message = Volume::read(&save(folder.path(), "b.nii.gz", bytes)).unwrap_err().to_string();
        assert!(message.contains("b.nii.gz"), "{message}");
        message
    };
    // The last eight bytes are checksum and length: all voxels are there without them.
    for cut in 1..=8 {
        assert!(refusal(&whole[..whole.len() - cut]).contains("truncated"), "{cut}");
    }
    for place in 1..=8 {
        let mut bytes = whole.clone();
        let at = bytes.len() - place;
        bytes[at] ^= 1;
        assert!(refusal(&bytes).contains("corrupt"), "{place}");
    }
    assert!(refusal(&[&whole[..], b"and more than a header of it"].concat()).contains("corrupt"));
    // Several streams in a row are one, as bgzip writes them.
    let empty = [31, 139, 8, 0, 0, 0, 0, 0, 0, 255, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let two = save(folder.path(), "c.nii.gz", &[&whole[..], &empty].concat());
    assert_eq!(Volume::read(&two).unwrap().data, volume.data);
    // Zero bytes behind a stream, or between two, are padding. A buffer's length and more of them are, too.
    for zeros in [1, 511, 512, 70_000] {
        let padding = vec![0; zeros];
        for parts in [[&whole[..], &padding, &[], &[]], [&whole[..], &padding, &empty, &padding]] {
            let padded = save(folder.path(), "d.nii.gz", &parts.concat());
            assert_eq!(Volume::read(&padded).unwrap().data, volume.data, "{zeros}");
        }
        for trailing in [b"x".as_slice(), b"and more than a header", &[0x1f, 0x8c]] {
            let message = refusal(&[&whole[..], &padding, trailing].concat());
            let bytes = format!("{} bytes that are not gzip's follow", trailing.len());
            assert!(message.contains(&bytes) && message.contains("compress it anew"), "{message}");
        }
        assert!(refusal(&[&whole[..], &padding, &[0x1f, 0x8b, 8]].concat()).contains("truncated"));
    }
    // The voxels may be cut in any place into streams.
    let plain = save(folder.path(), "e.nii", &[]);
    volume.write(&plain).unwrap();
    let bytes = std::fs::read(&plain).unwrap();
    for cut in [1, 100, 348, 352, 400] {
        let parts = [gzip(&bytes[..cut]), vec![0; 5], gzip(&bytes[cut..])].concat();
        assert_eq!(
            Volume::read(&save(folder.path(), "f.nii.gz", &parts)).unwrap().data,
            volume.data,
            "{cut}"
        );
    }
}

#[test]
fn no_header_makes_the_reader_panic() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let good = File::new(true, &[2, 3, 2], 4, 16, vec![1; 24]).bytes();
    for _ in 0..1000 {
        let mut bytes = good.clone();
        for _ in 0..rng.random_range(1..6) {
            let place = rng.random_range(0..356);
            bytes[place] = rng.random();
        }
        // Only that it returns is asked for: some of these are proper volumes.
        let _ = Volume::read(&save(folder.path(), "a.nii", &bytes));
    }
}

#[test]
fn labels_are_whole_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let write = |values: [f32; 2]| {
        let path = folder.path().join("labels.nii.gz");
        Volume::new(values.to_vec(), [2, 1, 1], affine(RAS, [1.0; 3], [0.0; 3]))
            .unwrap()
            .write(&path)
            .unwrap();
        Volume::read_labels(&path)
    };
    assert_eq!(write([0.0, 65535.0]).unwrap().data, [0, 65535]);
    for bad in [0.5, -1.0, 65536.0] {
        let message = write([1.0, bad]).unwrap_err().to_string();
        assert!(message.contains(&bad.to_string()) && message.contains("whole numbers"), "{message}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let grid = common::product(&rotation(20.0), &affine(RAS, [0.5, 1.0, 4.0], [-3.0, 2.0, 9.0]));
    let volume = Volume::new(random(60, 3), [3, 4, 5], grid).unwrap();
    for name in ["a.nii", "a.nii.gz"] {
        let path = folder.path().join(name);
        volume.write(&path).unwrap();
        let back = Volume::read(&path).unwrap();
        assert_eq!(back.data, volume.data);
        assert!(back.same_grid(&volume));
        assert_eq!(std::fs::read(&path).unwrap().starts_with(&[0x1f, 0x8b]), name.ends_with("gz"));
    }
    // Files get ordinary permissions, and nothing else is left in the folder.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    assert!(volume.write(Path::new("/nowhere/a.nii")).unwrap_err().to_string().contains("/nowhere/a.nii"));
}

#[test]
fn a_stream_is_read_as_a_file_is() {
    let folder = tempfile::tempdir().unwrap();
    let volume = Volume::new(vec![3u8, 0, 1, 2], [2, 2, 1], affine(RAS, [1.0, 2.0, 3.0], [4.0; 3])).unwrap();
    for name in ["a.nii", "a.nii.gz"] {
        let path = folder.path().join(name);
        volume.write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let (read, writer) = Nifti::default().read_volume(Path::new(name), &mut bytes.as_slice()).unwrap();
        assert_eq!(read, Volume::read(&path).unwrap());
        assert_eq!(Volume::read_labels_from(Path::new(name), bytes.as_slice()).unwrap().data, [3, 0, 1, 2]);
        let mut written = Vec::new();
        writer.write_labels(&volume, name.ends_with("gz"), &mut written).unwrap();
        assert_eq!(written, bytes);
        let cut = Nifti::read_from(Path::new("upload"), &bytes[..bytes.len() - 1]).unwrap_err().to_string();
        assert!(cut.contains("upload") && cut.contains("truncated"), "{cut}");
    }
    let mut broken = volume;
    broken.data.truncate(1);
    let error = Nifti::default().write(&broken, false, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("1 voxels of shape"), "{error}");
}

#[test]
fn a_label_volume_keeps_the_header_of_its_image() {
    let folder = tempfile::tempdir().unwrap();
    for little in [true, false] {
        let mut file = File::new(little, &[2, 1, 1], 4, 16, vec![0; 4]);
        file.f32(112, 3.0);
        file.f32(116, 1.0);
        file.i16(252, 1);
        file.f32(264, 0.5);
        file.header[123] = 10;
        file.header[148..156].copy_from_slice(b"a person");
        let (image, nifti) = Nifti::read(&save(folder.path(), "image.nii", &file.bytes())).unwrap();
        let mut value = 0u8;
        let labels = image.map(|_| {
            value += 1;
            value
        });
        let path = folder.path().join("labels.nii");
        nifti.write_file(&labels, &path).unwrap();
        let back = Volume::read(&path).unwrap();
        assert_eq!((back.data.as_slice(), back.affine), (&[1.0, 2.0][..], image.affine));
        let bytes = std::fs::read(&path).unwrap();
        let mut expected = file;
        expected.i16(70, 2);
        expected.i16(72, 8);
        expected.f32(112, 1.0);
        expected.f32(116, 0.0);
        expected.voxels = vec![1, 2];
        assert_eq!(bytes, expected.bytes());
        // Another grid has a header of its own, and what came from memory has one too.
        let moved = Volume::new(vec![1u8, 2], [2, 1, 1], affine(RAS, [1.0; 3], [5.0; 3])).unwrap();
        for format in [nifti, Nifti::default()] {
            format.write_file(&moved, &path).unwrap();
            assert_eq!(Volume::read(&path).unwrap().affine, moved.affine);
        }
    }
}
