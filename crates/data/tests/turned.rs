//! Images and masks that their files turn, and PNGs with chunks that hold no pixels.
// Helpers beside the tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{GrayImage, ImageEncoder, Luma};
use unet3p_data::{DatasetOptions, Preprocessor, SliceDataset, read_mask};

/// The EXIF block that says how an image is turned.
fn exif(orientation: u8) -> Vec<u8> {
    [b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(), &[orientation, 0, 0, 0], &[0; 4]].concat()
}

/// A PNG chunk with its checksum.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    [&(data.len() as u32).to_be_bytes()[..], kind, data, &crc.sum().to_be_bytes()].concat()
}

/// A text chunk that holds EXIF as ImageMagick writes it.
fn raw_profile(kind: &[u8; 4], keyword: &str, profile: &[u8]) -> Vec<u8> {
    let digits: Vec<String> = profile.iter().map(|byte| format!("{byte:02x}")).collect();
    let lines: Vec<String> = digits.chunks(36).map(|line| line.concat()).collect();
    let text = format!("\n{keyword}\n{:>8}\n{}\n", profile.len(), lines.join("\n"));
    let mut deflated = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut deflated, text.as_bytes()).unwrap();
    let deflated = deflated.finish().unwrap();
    let content = match kind {
        b"tEXt" => text.into_bytes(),
        b"zTXt" => [&[0], &deflated[..]].concat(),
        _ => [&[1, 0, b'e', b'n', 0, 0], &deflated[..]].concat(),
    };
    chunk(kind, &[format!("Raw profile type {keyword}\0").as_bytes(), &content].concat())
}

/// The bytes of a PNG with a chunk behind its head, or before its end.
fn png_with(image: &GrayImage, extra: &[u8], at_end: bool) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let bytes = bytes.into_inner();
    let at = if at_end { bytes.len() - 12 } else { 33 };
    [&bytes[..at], extra, &bytes[at..]].concat()
}

fn jpeg(path: &Path, image: &GrayImage, orientation: u8) {
    let mut encoder = JpegEncoder::new_with_quality(std::fs::File::create(path).unwrap(), 100);
    encoder.set_exif_metadata(exif(orientation)).unwrap();
    encoder.encode_image(image).unwrap();
}

/// 24 x 16 (width x height); the upper left block is white.
fn corner() -> GrayImage {
    GrayImage::from_fn(24, 16, |x, y| Luma([if x < 8 && y < 8 { 255 } else { 0 }]))
}

/// Where the white block of an image is seen: at the left, at the top.
fn seen(path: &Path) -> (usize, usize, bool, bool) {
    let loaded = Preprocessor::default().load_image(path).unwrap();
    let (height, width) = loaded.original_size;
    let at = |y: usize, x: usize| loaded.preview.pixels[y * width + x][0] > 200;
    assert_eq!(loaded.warnings.iter().filter(|warning| warning.contains("EXIF")).count(), 1);
    let [top, bottom] = [0, height - 1].map(|y| [at(y, 0), at(y, width - 1)]);
    (height, width, top[0] || bottom[0], top[0] || top[1])
}

#[test]
fn orientations_of_jpeg_png_and_masks_are_applied_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.png");
    for (orientation, expected) in [
        (2, (16, 24, false, true)),
        (3, (16, 24, false, false)),
        (4, (16, 24, true, false)),
        (5, (24, 16, true, true)),
        (6, (24, 16, false, true)),
        (7, (24, 16, false, false)),
        (8, (24, 16, true, false)),
    ] {
        jpeg(&path, &corner(), orientation);
        assert_eq!(seen(&path), expected, "JPEG {orientation}");
        for at_end in [false, true] {
            std::fs::write(&path, png_with(&corner(), &chunk(b"eXIf", &exif(orientation)), at_end)).unwrap();
            assert_eq!(seen(&path), expected, "PNG {orientation}");
            let mask = read_mask(&path).unwrap();
            assert_eq!((mask.height, mask.width), (expected.0, expected.1));
            assert_eq!(mask.data.first() == Some(&255), expected.2 && expected.3);
        }
        for kind in [b"tEXt", b"zTXt", b"iTXt"] {
            for (keyword, prefix) in [("exif", "Exif\0\0"), ("APP1", ""), ("exif", "")] {
                let profile = [prefix.as_bytes(), &exif(orientation)].concat();
                let text = raw_profile(kind, keyword, &profile);
                std::fs::write(&path, png_with(&corner(), &text, true)).unwrap();
                assert_eq!(seen(&path), expected, "{orientation} {}", kind.escape_ascii());
            }
        }
        // The standard's chunk counts, wherever it is.
        let both = [raw_profile(b"zTXt", "exif", &exif(9 - orientation)), chunk(b"eXIf", &exif(orientation))];
        for chunks in [both.concat(), [&both[1][..], &both[0]].concat()] {
            std::fs::write(&path, png_with(&corner(), &chunks, false)).unwrap();
            assert_eq!(seen(&path), expected);
        }
    }
}

#[test]
fn a_mask_that_fits_the_unturned_image_alone_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["images", "masks"] {
        std::fs::create_dir(dir.path().join(folder)).unwrap();
    }
    let paths = [dir.path().to_path_buf()];
    let examine = || SliceDataset::examine(&paths, &DatasetOptions::default(), |_, _| {}).unwrap();
    let mask = dir.path().join("masks/a.png");
    jpeg(&dir.path().join("images/a.jpg"), &corner(), 6);
    GrayImage::new(24, 16).save(&mask).unwrap();
    let (_, findings) = examine();
    let problem = findings.problems[0].to_string();
    for part in ["masks/a.png", "16 x 24", "24 x 16", "before its orientation is applied"] {
        assert!(problem.contains(part), "{problem}");
    }
    assert!(findings.warnings[0].contains("images/a.jpg") && findings.warnings[0].contains("90 degrees"));
    GrayImage::new(16, 24).save(&mask).unwrap();
    let (dataset, findings) = examine();
    assert!(findings.problems.is_empty(), "{:?}", findings.problems);
    let sample = dataset.sample(0).unwrap();
    assert_eq!((sample.image.height, sample.image.width), (24, 16));
    assert!(sample.image.plane(0)[8 * 16 - 1] > 0.9 && sample.image.plane(0)[0] < 0.1);
    // A mask may be turned as well.
    std::fs::write(&mask, png_with(&GrayImage::new(24, 16), &chunk(b"eXIf", &exif(6)), false)).unwrap();
    let (_, findings) = examine();
    assert!(findings.problems.is_empty() && findings.warnings.len() == 1, "{findings:?}");
    assert!(findings.warnings[0].contains("1 more"));
}

#[test]
fn chunks_without_pixels_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.png");
    let image = GrayImage::from_fn(5, 4, |x, y| Luma([(x + 5 * y) as u8]));
    let extras = [
        chunk(b"iCCP", &[7; 1000]),
        chunk(b"tEXt", b"no zero byte"),
        chunk(b"zTXt", b"a\0\0broken"),
        chunk(b"zTXt", b"Raw profile type exif\0\0broken"),
        chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 9\nzz"),
        chunk(b"iTXt", b"Raw profile type exif\0"),
        chunk(b"acTL", &[0; 3]),
        chunk(b"gAMA", &[1]),
        // A wrong checksum.
        [&8u32.to_be_bytes()[..], b"abCd", &[0; 12]].concat(),
    ];
    for extra in &extras {
        std::fs::write(&path, png_with(&image, extra, false)).unwrap();
        assert_eq!(read_mask(&path).unwrap().data, image.as_raw().as_slice());
    }
    for (extra, part) in [
        (chunk(b"PLTE", &[1, 2, 3, 4, 5]), "palette has 5 bytes"),
        (chunk(b"PLTE", &[1; 3000]), "3000 bytes"),
        (chunk(b"tRNS", &[1; 3000]), "3000 bytes"),
        (chunk(b"ABCD", &[1]), "chunk ABCD"),
        (chunk(b"IHDR", &[0; 13]), "head"),
        ([&(1u32 << 31).to_be_bytes()[..], b"tEXt"].concat(), "too early"),
    ] {
        std::fs::write(&path, png_with(&image, &extra, false)).unwrap();
        let message = Preprocessor::default().load_image(&path).unwrap_err().to_string();
        assert!(message.contains("a.png") && message.contains(part), "{message}");
    }
}
