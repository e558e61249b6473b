//! Where the voxels of a NIfTI file lie, and what is said where its header leaves that open.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{File, RAS, affine, placed, read, refusal, rotation, save, says, sform, sizes};
use unet3p_data::{Nifti, Volume, VolumeWriter};

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
    let (image, nifti) = Nifti::read(&save(folder.path(), "image.nii", &file.bytes())).unwrap();
    let mask = image.map(|_| 1u8);
    let path = folder.path().join("mask.nii");
    nifti.write_file(&mask, &path).unwrap();
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
fn impossible_rotations_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = |quaternion: [f32; 3], handedness: f32| {
        let mut file = File::new(true, &[30, 30, 30], 2, 8, vec![0; 27000]);
        file.i16(252, 1);
        file.f32(76, handedness);
        quaternion.into_iter().enumerate().for_each(|(i, value)| file.f32(256 + 4 * i, value));
        file
    };
    // Rounding to a few digits is none; 0 stands for 1.
    for (quaternion, handedness) in [([0.0, 1.0, 0.0], 1.0), ([0.60001, 0.8, 0.0], -1.0), ([0.0; 3], 0.0)] {
        let volume = read(&folder, &file(quaternion, handedness));
        assert!(volume.warnings.is_empty(), "{:?}", volume.warnings);
    }
    let volume = read(&folder, &file([0.9, 0.9, 0.0], 1.0));
    assert!(says(&volume, "quaternion is impossible") && says(&volume, "1.62"), "{:?}", volume.warnings);
    for (handedness, said) in [(f32::NAN, "NaN"), (-2.0, "is -2, "), (3.5, "3.5")] {
        let mut file = file([0.0; 3], handedness);
        let volume = read(&folder, &file);
        assert!(says(&volume, "pixdim[0]") && says(&volume, said), "{:?}", volume.warnings);
        assert_eq!(volume.affine[2][2], if handedness < 0.0 { -3.0 } else { 3.0 });
        // A qform that is not set says nothing.
        file.i16(252, 0);
        assert!(!says(&read(&folder, &file), "pixdim[0]"));
    }
}
