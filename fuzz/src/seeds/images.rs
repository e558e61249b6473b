//! Pictures and masks of a few hundred pixels.

use std::io::Cursor;

use image::{ColorType, ExtendedColorType, ImageFormat};

use super::{Seed, noise, seed};
use crate::mutate::{chunk, split};

const WIDTH: u32 = 13;
const HEIGHT: u32 = 12;

/// Every format with every type of pixels that it has and we read.
pub fn pictures() -> Vec<Seed> {
    let colors = [
        ("gray", ColorType::L8),
        ("gray_alpha", ColorType::La8),
        ("rgb", ColorType::Rgb8),
        ("rgba", ColorType::Rgba8),
        ("gray16", ColorType::L16),
        ("rgb16", ColorType::Rgb16),
        ("rgba16", ColorType::Rgba16),
    ];
    let mut seeds: Vec<Seed> = colors
        .iter()
        .map(|&(name, color)| seed(&format!("{name}.png"), noisy(color, ImageFormat::Png)))
        .collect();
    for (name, color) in [colors[0], colors[2], colors[3], colors[4], colors[5]] {
        seeds.push(seed(&format!("{name}.tiff"), noisy(color, ImageFormat::Tiff)));
    }
    for (name, color) in [colors[0], colors[2]] {
        seeds.push(seed(&format!("{name}.jpg"), noisy(color, ImageFormat::Jpeg)));
    }
    seeds.push(seed("indexed.png", indexed()));
    seeds.push(seed("described.png", described()));
    seeds
}

/// What masks are kept in.
pub fn masks() -> Vec<Seed> {
    let ids: Vec<u8> = noise((WIDTH * HEIGHT) as usize).iter().map(|value| value % 3).collect();
    vec![
        seed("indexed.png", indexed()),
        seed("gray.png", mask_png()),
        seed("gray.tiff", encode(&ids, ColorType::L8, ImageFormat::Tiff)),
        seed("gray16.png", encode(&vec![0; ids.len() * 2], ColorType::L16, ImageFormat::Png)),
        seed(
            "rgb.png",
            encode(
                &ids.iter().flat_map(|&id| [id; 3]).collect::<Vec<_>>(),
                ColorType::Rgb8,
                ImageFormat::Png,
            ),
        ),
        seed(
            "gray_alpha.png",
            encode(
                &ids.iter().flat_map(|&id| [id, 255]).collect::<Vec<_>>(),
                ColorType::La8,
                ImageFormat::Png,
            ),
        ),
    ]
}

/// A picture that every network can take.
pub fn gray_png() -> Vec<u8> {
    noisy(ColorType::L8, ImageFormat::Png)
}

/// A mask for it.
pub fn mask_png() -> Vec<u8> {
    let ids: Vec<u8> = (0..WIDTH * HEIGHT).map(|pixel| (pixel % 3) as u8).collect();
    encode(&ids, ColorType::L8, ImageFormat::Png)
}

fn noisy(color: ColorType, format: ImageFormat) -> Vec<u8> {
    encode(&noise((WIDTH * HEIGHT) as usize * usize::from(color.bytes_per_pixel())), color, format)
}

fn encode(pixels: &[u8], color: ColorType, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image::write_buffer_with_format(&mut file, pixels, WIDTH, HEIGHT, ExtendedColorType::from(color), format)
        .expect("a picture of this format");
    file.into_inner()
}

/// A PNG whose pixels are indices of three colours, one of them transparent: a gray one with another header.
fn indexed() -> Vec<u8> {
    rebuilt(&mask_png(), |kind, content| match &kind {
        b"IHDR" => {
            let mut header = content.to_vec();
            header[9] = 3;
            let palette = [0, 0, 0, 255, 0, 0, 0, 255, 0];
            [chunk(kind, &header), chunk(*b"PLTE", &palette), chunk(*b"tRNS", &[0])].concat()
        }
        _ => chunk(kind, content),
    })
}

/// A PNG with chunks beside its pixels: text, a colour profile, a size, a date, EXIF as text.
fn described() -> Vec<u8> {
    let packed = crate::mutate::deflate(b"some words");
    let named = |name: &[u8]| [name, b"\0\0", &packed[..]].concat();
    // An orientation, in the digits of ImageMagick.
    let digits = "49492a0008000000010012010300010000000600000000000000";
    let exif = crate::mutate::deflate(format!("\nexif\n      26\n{digits}\n").as_bytes());
    rebuilt(&gray_png(), |kind, content| match &kind {
        b"IDAT" => [
            chunk(*b"gAMA", &45455u32.to_be_bytes()),
            chunk(*b"iCCP", &named(b"profile")),
            chunk(*b"pHYs", &[0, 0, 11, 19, 0, 0, 11, 19, 1]),
            chunk(*b"tEXt", b"Title\0a slice"),
            chunk(*b"zTXt", &named(b"Comment")),
            chunk(*b"zTXt", &[b"Raw profile type exif\0\0".as_slice(), &exif].concat()),
            chunk(*b"tIME", &[7, 233, 1, 2, 3, 4, 5]),
            chunk(kind, content),
        ]
        .concat(),
        _ => chunk(kind, content),
    })
}

fn rebuilt(png: &[u8], put: impl Fn([u8; 4], &[u8]) -> Vec<u8>) -> Vec<u8> {
    let chunks = split(png).into_iter().flat_map(|(kind, content)| put(kind, &content));
    png[..8].iter().copied().chain(chunks).collect()
}
