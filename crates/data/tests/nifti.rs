//! NIfTI files: what they may hold, what is refused, what is written.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use common::{File, RAS, affine, gzip, random, rotation};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_data::{Error, Volume};

fn save(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn refusal(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), "scan.nii", bytes);
    match Volume::read(&path).unwrap_err() {
        error @ (Error::File { .. } | Error::Io { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

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

/// A file whose voxels of 20 mm lie where its sform says, so that there is nothing to be said of it.
fn placed(shape: &[i16], datatype: i16, bits: i16, voxels: Vec<u8>) -> File {
    let mut file = File::new(true, shape, datatype, bits, voxels);
    sizes(&mut file, [20.0; 3]);
    sform(&mut file, &affine(RAS, [20.0; 3], [0.0; 3]));
    file
}

fn sizes(file: &mut File, sizes: [f32; 3]) {
    sizes.into_iter().enumerate().for_each(|(i, size)| file.f32(80 + 4 * i, size));
}

fn sform(file: &mut File, affine: &common::Affine) {
    file.i16(254, 1);
    for (i, &value) in affine[..3].as_flattened().iter().enumerate() {
        file.f32(280 + 4 * i, value as f32);
    }
}

fn read(folder: &tempfile::TempDir, file: &File) -> Volume {
    Volume::read(&save(folder.path(), "a.nii", &file.bytes())).unwrap()
}

fn says(volume: &Volume, word: &str) -> bool {
    volume.warnings.iter().any(|warning| warning.contains(word))
}

#[test]
fn the_affine_is_the_sform_then_the_qform_then_the_voxel_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let read = |file: &File| Volume::read(&save(folder.path(), "a.nii", &file.bytes())).unwrap().affine;
    let mut file = File::new(true, &[1, 1, 1], 2, 8, vec![0]);
    // Voxel sizes alone: as nibabel reads them. A single voxel is its own centre.
    assert_eq!(read(&file), affine([(0, -1.0), (1, 1.0), (2, 1.0)], [1.0, 2.0, 3.0], [0.0; 3]));

    // A half turn about y: x and z run backwards; qfac -1 turns z once more.
    file.i16(252, 1);
    file.f32(260, 1.0);
    for (i, offset) in [4.0, 5.0, 6.0].into_iter().enumerate() {
        file.f32(268 + 4 * i, offset);
    }
    let turned = affine([(0, -1.0), (1, 1.0), (2, -1.0)], [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]);
    assert_eq!(read(&file), turned);
    file.f32(76, -1.0);
    let mirrored = affine([(0, -1.0), (1, 1.0), (2, 1.0)], [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]);
    assert_eq!(read(&file), mirrored);

    // A degenerate sform does not count, a proper one wins.
    file.i16(254, 1);
    assert_eq!(read(&file), mirrored);
    for (i, value) in [0.0, 5.0, 0.0, 1.0, 4.0, 0.0, 0.0, 2.0, 0.0, 0.0, -6.0, 3.0].into_iter().enumerate() {
        file.f32(280 + 4 * i, value);
    }
    let sform = affine([(1, 1.0), (0, 1.0), (2, -1.0)], [4.0, 5.0, 6.0], [1.0, 2.0, 3.0]);
    assert_eq!(read(&file), sform);
    // Metres.
    file.header[123] = 1;
    let scaled = affine([(1, 1.0), (0, 1.0), (2, -1.0)], [4e3, 5e3, 6e3], [1e3, 2e3, 3e3]);
    assert_eq!(read(&file), scaled);
}

#[test]
fn a_general_quaternion_is_a_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = File::new(true, &[1, 1, 1], 2, 8, vec![0]);
    file.i16(252, 1);
    // rotation() turns by the angle about z, then about x: the product of two half-angle quaternions.
    let (s, c) = 15f64.to_radians().sin_cos();
    for (i, value) in [s * c, -s * s, c * s].into_iter().enumerate() {
        file.f32(256 + 4 * i, value as f32);
    }
    let found = Volume::read(&save(folder.path(), "a.nii", &file.bytes())).unwrap().affine;
    let expected = common::product(&rotation(30.0), &affine(RAS, [1.0, 2.0, 3.0], [0.0; 3]));
    for (found, expected) in found.as_flattened().iter().zip(expected.as_flattened()) {
        // The quaternion is stored in f32.
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
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
fn a_header_without_orientation_is_read_as_nibabel_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = File::new(true, &[24, 20, 6], 2, 8, vec![0; 2880]);
    sizes(&mut file, [1.3, 1.1, 4.0]);
    let image = read(&folder, &file);
    assert!(says(&image, "left and right are unknown"), "{:?}", image.warnings);
    let sides = [1.3f32, 1.1, 4.0].map(f64::from);
    // nibabel 5.3: Nifti1Image.affine of such a file.
    let nibabel = affine([(0, -1.0), (1, 1.0), (2, 1.0)], sides, [14.95, -10.45, -10.0]);
    for (found, expected) in image.affine.as_flattened().iter().zip(nibabel.as_flattened()) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
    // Label maps that nibabel and SimpleITK write on that grid, and one by the voxel sizes alone.
    let with = |grid: &common::Affine| {
        let mut file = File::new(true, &[24, 20, 6], 2, 8, vec![0; 2880]);
        sizes(&mut file, [1.3, 1.1, 4.0]);
        sform(&mut file, grid);
        read(&folder, &file)
    };
    let own = with(&nibabel);
    assert!(image.same_grid(&own) && image.grid_reading(&own).is_none() && own.warnings.is_empty());
    let itk = with(&affine([(0, -1.0), (1, -1.0), (2, 1.0)], sides, [0.0; 3]));
    assert!(image.same_grid(&itk) && itk.same_grid(&image));
    assert!(image.grid_reading(&itk).unwrap().contains("ITK's reading of this header"));
    assert!(itk.grid_reading(&image).unwrap().contains("ITK's reading of the other's header"));
    assert!(image.same_grid(&with(&affine(RAS, sides, [0.0; 3]))));
    // Any other place is another grid.
    for grid in [affine(RAS, sides, [3.0; 3]), affine([(0, 1.0), (1, -1.0), (2, 1.0)], sides, [0.0; 3])] {
        assert!(!image.same_grid(&with(&grid)));
    }
    assert!(!own.same_grid(&itk));

    // Its mask has the same header: no code that states an orientation.
    let mask = image.map(|_| 1u8);
    let path = folder.path().join("mask.nii");
    mask.write(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap()[252..256], [0; 4]);
    assert_eq!(Volume::read(&path).unwrap().affine, image.affine);
}

#[test]
fn an_sform_without_scale_gets_that_of_pixdim() {
    let folder = tempfile::tempdir().unwrap();
    let file = |sides: [f32; 3], grid: &common::Affine| {
        let mut file = File::new(true, &[30, 30, 30], 2, 8, vec![0; 27000]);
        sizes(&mut file, sides);
        sform(&mut file, grid);
        file
    };
    let stated = [1.5, 0.5, 4.0];
    for axes in common::orientations() {
        let volume = read(&folder, &file(stated, &affine(axes, [1.0; 3], [7.0, 8.0, 9.0])));
        assert_eq!(volume.affine, affine(axes, stated.map(f64::from), [7.0, 8.0, 9.0]));
        assert!(says(&volume, "1.5 x 0.5 x 4") && says(&volume, "pixdim's is used"), "{:?}", volume.warnings);
    }
    // Where both have a scale the sform's is used; rounding is no contradiction.
    let volume = read(&folder, &file(stated, &affine(RAS, [1.5, 0.6, 4.0], [0.0; 3])));
    assert_eq!(volume.spacing(), [1.5, 0.6f32, 4.0].map(f64::from));
    assert!(says(&volume, "the sform's are used"), "{:?}", volume.warnings);
    assert!(read(&folder, &file(stated, &affine(RAS, [1.5, 0.502, 4.0], [0.0; 3]))).warnings.is_empty());
    assert!(read(&folder, &file([1.0; 3], &affine(RAS, [1.0; 3], [0.0; 3]))).warnings.is_empty());

    // Label maps of programs that believe the one or the other lie on the grid all the same.
    let image = read(&folder, &file(stated, &affine(RAS, [1.0; 3], [0.0; 3])));
    for sides in [[1.0; 3], stated] {
        let label = read(&folder, &file(sides, &affine(RAS, sides.map(f64::from), [0.0; 3])));
        assert!(image.same_grid(&label), "{sides:?}");
    }
}

#[test]
fn what_turns_a_volume_two_ways_is_said() {
    let folder = tempfile::tempdir().unwrap();
    // The qform is the identity turn: RAS.
    let both = |grid: &common::Affine| {
        let mut file = placed(&[4, 4, 4], 2, 8, vec![0; 64]);
        file.i16(252, 1);
        sform(&mut file, grid);
        read(&folder, &file)
    };
    assert!(both(&affine(RAS, [20.0; 3], [0.0; 3])).warnings.is_empty());
    let flipped = affine([(0, -1.0), (1, 1.0), (2, 1.0)], [20.0; 3], [0.0; 3]);
    let volume = both(&flipped);
    assert_eq!(volume.affine, flipped);
    assert!(says(&volume, "LAS and RAS") && says(&volume, "the sform is used"), "{:?}", volume.warnings);
    let tilted = both(&common::product(&rotation(10.0), &affine(RAS, [20.0; 3], [0.0; 3])));
    assert!(says(&tilted, "turn the axes differently"), "{:?}", tilted.warnings);
    // A label map of a program that believes the qform lies on the grid.
    assert!(volume.same_grid(&both(&affine(RAS, [20.0; 3], [0.0; 3]))));

    let mut sheared = affine(RAS, [20.0; 3], [0.0; 3]);
    sheared[1][2] = 5.0;
    assert!(says(&both(&sheared), "sheared, its axes are up to 14."), "{:?}", both(&sheared).warnings);

    // A code with nothing behind it.
    let mut file = placed(&[4, 4, 4], 2, 8, vec![0; 64]);
    file.i16(252, 1);
    (0..12).for_each(|i| file.f32(280 + 4 * i, 0.0));
    let volume = read(&folder, &file);
    assert_eq!(volume.affine, affine(RAS, [20.0; 3], [0.0; 3]));
    assert!(says(&volume, "sform is no valid transform"), "{:?}", volume.warnings);
}

#[test]
fn sizes_of_no_body_name_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let volume = |unit: u8, size: f64| {
        let mut file = File::new(true, &[37, 29, 11], 2, 8, vec![0; 37 * 29 * 11]);
        sizes(&mut file, [size as f32; 3]);
        sform(&mut file, &affine(RAS, [size; 3], [0.0; 3]));
        file.header[123] = unit;
        read(&folder, &file)
    };
    for (unit, size, words) in [
        (3, 1.3, ["code 3: micrometres", "0.0481 x 0.0377 x 0.0143"]),
        (1, 1.3, ["code 1: metres", "48100"]),
        (2, 0.01, ["code 2: millimetres", "0.37"]),
        (0, 100.0, ["code 0: unknown", "3700"]),
        // Seconds beside the unit of length.
        (10, 0.5, ["code 2: millimetres", "18.5 x 14.5 x 5.5"]),
    ] {
        let volume = volume(unit, size);
        assert!(words.iter().all(|word| says(&volume, word)), "{unit} {size}: {:?}", volume.warnings);
    }
    for (unit, size) in [(0, 1.3), (2, 1.3), (10, 5.0), (1, 0.0013), (3, 1300.0)] {
        assert!(volume(unit, size).warnings.is_empty(), "{unit} {size}: {:?}", volume(unit, size).warnings);
    }
    assert!(says(&volume(5, 1.3), "code 5 in xyzt_units, is unknown"));
}

#[test]
fn odd_voxel_sizes_are_said_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let las = |sides| affine([(0, -1.0), (1, 1.0), (2, 1.0)], sides, [0.0; 3]);
    let mut file = File::new(true, &[1, 1, 1], 2, 8, vec![0]);
    sizes(&mut file, [-11.0, 12.0, 13.0]);
    let volume = read(&folder, &file);
    assert_eq!(volume.affine, las([11.0, 12.0, 13.0]));
    assert!(says(&volume, "negative"), "{:?}", volume.warnings);
    for bad in [0.0, f32::NAN, f32::INFINITY] {
        // A slice has neighbours in the plane alone.
        sizes(&mut file, [11.0, 12.0, bad]);
        let volume = read(&folder, &file);
        assert_eq!(volume.affine, las([11.0, 12.0, 1.0]));
        assert!(says(&volume, "no thickness"), "{bad}: {:?}", volume.warnings);
        let mut file = File::new(true, &[2, 2, 2], 2, 8, vec![1; 8]);
        sizes(&mut file, [11.0, bad, 13.0]);
        assert!(refusal(&file.bytes()).contains("voxel sizes in pixdim"), "{bad}");
        sform(&mut file, &affine(RAS, [11.0, 12.0, 13.0], [0.0; 3]));
        let volume = read(&folder, &file);
        assert_eq!(volume.spacing(), [11.0, 12.0, 13.0]);
        assert!(says(&volume, "the sform's are used"), "{bad}: {:?}", volume.warnings);
    }
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
        assert!(refusal(&[&whole[..], &padding, b"x"].concat()).contains("truncated"));
        assert!(refusal(&[&whole[..], &padding, b"and more than a header"].concat()).contains("corrupt"));
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
        let image = Volume::read(&save(folder.path(), "image.nii", &file.bytes())).unwrap();
        let mut value = 0u8;
        let labels = image.map(|_| {
            value += 1;
            value
        });
        let path = folder.path().join("labels.nii");
        labels.write(&path).unwrap();
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
    }
}
