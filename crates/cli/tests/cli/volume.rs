//! Volumes: the mask lies on the volume's own grid.

use unet3p_data::Volume;

use crate::support::{Place, size_of, slices_preprocessor, tiny, tiny_cgm};

#[test]
fn the_mask_of_a_volume_has_its_shape_and_affine() {
    let place = Place::new();
    place.save_model("m", &tiny_cgm(3), &slices_preprocessor());
    let volume = place.volume("in/sub/ct.nii.gz", [20, 7, 26]);
    let run = place.line("predict -i in -o out -m m --overlay --save-probabilities");
    run.ends(0, &[]);
    assert_eq!(
        place.files("out"),
        ["predictions.json", "sub/ct_mask.nii.gz", "sub/ct_overlay.png", "sub/ct_probabilities.npy",]
    );
    let input = Volume::read(&place.path("in/sub/ct.nii.gz")).unwrap();
    let mask = Volume::read(&place.path("out/sub/ct_mask.nii.gz")).unwrap();
    assert_eq!(mask.shape, volume.shape);
    // Both went through the same f32 header fields.
    assert_eq!(mask.affine, input.affine);
    assert!(mask.data.iter().all(|&id| id == 0.0 || id == 1.0));
    // Axes i, j, k run along x, z, y: an axial picture has 26 rows (y) and 20 columns (x).
    assert_eq!(size_of(&place.path("out/sub/ct_overlay.png")), (20, 26));
    let shape = unet3p::read_npy_shape(&place.path("out/sub/ct_probabilities.npy")).unwrap();
    // On the model's grid of 3 mm: 7 slices of 1.25 mm are 3, 26 rows of 2 mm are 17, 20 columns of 1.5 mm are 10.
    assert_eq!(shape, [1, 3, 17, 10]);
    place.line("predict -i in -o tiled -m m --save-probabilities --tile 16").ends(0, &[]);
    assert_eq!(unet3p::read_npy_shape(&place.path("tiled/sub/ct_probabilities.npy")).unwrap(), shape);

    let record = place.json("out/predictions.json");
    let entry = &record["predictions"][0];
    assert_eq!(entry["size"], serde_json::json!([20, 7, 26]));
    let class = &entry["classes"][0];
    let voxels = mask.data.iter().filter(|&&id| id == 1.0).count();
    assert_eq!(class["voxels"].as_u64().unwrap() as usize, voxels);
    // The determinant of the affine's f32 entries, up to their rounding: 1.5 * 2 * 1.25 mm3.
    let ml = voxels as f64 * 3.75 / 1000.0;
    assert!((class["volume_ml"].as_f64().unwrap() - ml).abs() <= 1e-5 * ml);
    assert!(class.get("pixels").is_none());
    assert!(entry["presence"].as_f64().is_some());
    assert!((entry["spacing_mm"][1].as_f64().unwrap() - 1.25).abs() < 1e-5);
}

#[test]
fn an_uncompressed_volume_gives_a_compressed_mask_and_a_cut_one_an_error() {
    let place = Place::new();
    place.save_model("m", &tiny(3), &slices_preprocessor());
    place.volume("ct.nii", [9, 4, 5]);
    place.line("predict -i ct.nii -o out -m m").ends(0, &[]);
    assert_eq!(place.files("out"), ["ct_mask.nii.gz", "predictions.json"]);
    let whole = std::fs::read(place.path("ct.nii")).unwrap();
    place.write("cut.nii", &whole[..whole.len() - 9]);
    place.line("predict -i cut.nii ct.nii -o both -m m").ends(3, &["cut.nii", "truncated"]);
    assert_eq!(place.files("both"), ["ct_mask.nii.gz", "predictions.json"]);
}

#[test]
fn a_model_for_photographs_does_not_take_volumes() {
    let place = Place::new();
    place.model();
    place.volume("ct.nii.gz", [9, 4, 5]);
    place.line("predict -i ct.nii.gz -o out -m m").ends(1, &["ct.nii.gz", "window"]);
}
