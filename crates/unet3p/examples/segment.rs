//! Segments one image: `cargo run --release -p unet3p --example segment -- slice.png mask.png`.

use unet3p::Segmenter;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<_> = std::env::args().skip(1).collect();
    let [image, mask] = paths.as_slice() else {
        return Err("usage: segment IMAGE MASK.png".into());
    };
    let found = Segmenter::from_pretrained("liver-ct")?.segment(image)?;
    for class in &found.classes {
        println!("{}: {:.1} % of the image", class.label, 100.0 * class.fraction);
    }
    found.write_mask(mask)?;
    Ok(())
}
