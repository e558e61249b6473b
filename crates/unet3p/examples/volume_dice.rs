//! How well a predicted volume agrees with a label volume on the same grid: Dice, and false positives on axial
//! slices without the organ.
//!
//! `cargo run --release -p unet3p --example volume_dice -- PREDICTION.nii.gz LABELS.nii.gz LABEL_ID`

use std::path::Path;

use unet3p::data::{Orientation, Volume};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [prediction, reference, id] = arguments.as_slice() else {
        return Err("usage: volume_dice PREDICTION.nii.gz LABELS.nii.gz LABEL_ID".into());
    };
    let id: u16 = id.parse()?;
    let prediction = Volume::read_labels(Path::new(prediction))?;
    let reference = Volume::read_labels(Path::new(reference))?;
    if !prediction.same_grid(&reference) {
        return Err("the volumes lie on different grids".into());
    }
    // turned to RAS, slices of one height in the patient lie together
    let orientation = Orientation::of(&reference);
    let (prediction, reference) = (orientation.to_ras(&prediction), orientation.to_ras(&reference));
    let [nx, ny, _] = reference.shape;
    let (mut both, mut predicted, mut there, mut outside) = (0, 0, 0, 0);
    for (p, r) in prediction.data.chunks_exact(nx * ny).zip(reference.data.chunks_exact(nx * ny)) {
        let found = p.iter().filter(|&&p| p > 0).count();
        let organ = r.iter().filter(|&&r| r == id).count();
        both += p.iter().zip(r).filter(|&(&p, &r)| p > 0 && r == id).count();
        predicted += found;
        there += organ;
        outside += if organ == 0 { found } else { 0 };
    }
    let dice = 2.0 * both as f64 / (predicted + there) as f64;
    println!(
        "Dice {dice:.4}, {predicted} voxels predicted, {there} in the label, {outside} on slices without the organ"
    );
    Ok(())
}
