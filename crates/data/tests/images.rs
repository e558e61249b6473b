//! Image files and masks.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, Rgba};
use unet3p_data::{
    Image, LabelMap, Layout, Normalize, Picture, Preprocessor, Size, default_color, read_mask, write_mask,
};

fn save(folder: &Path, name: &str, image: DynamicImage, format: ImageFormat) -> PathBuf {
    let path = folder.join(name);
    image.save_with_format(&path, format).unwrap();
    path
}

/// Two pixels of each kind that a file may have, and what the planes are: `[first, second]` a channel.
fn kinds() -> Vec<(DynamicImage, Vec<[f32; 2]>, bool)> {
    let eight = |v: [u8; 2]| v.map(|v| f32::from(v) / 255.0);
    let sixteen = |v: [u16; 2]| v.map(|v| f32::from(v) / 65535.0);
    let rgb8 = [[10u8, 200, 30], [40, 50, 255]];
    let rgb16 = [[1000u16, 2000, 65535], [4, 5, 6]];
    let planes8 = vec![eight([10, 40]), eight([200, 50]), eight([30, 255])];
    let planes16 = vec![sixteen([1000, 4]), sixteen([2000, 5]), sixteen([65535, 6])];
    let at8 = |x: u32| rgb8[x as usize];
    let at16 = |x: u32| rgb16[x as usize];
    vec![
        (ImageBuffer::from_fn(2, 1, |x, _| Luma([at8(x)[0]])).into(), vec![eight([10, 40])], false),
        (ImageBuffer::from_fn(2, 1, |x, _| LumaA([at8(x)[0], 9])).into(), vec![eight([10, 40])], true),
        (ImageBuffer::from_fn(2, 1, |x, _| Rgb(at8(x))).into(), planes8.clone(), false),
        (
            ImageBuffer::from_fn(2, 1, |x, _| {
                let [r, g, b] = at8(x);
                Rgba([r, g, b, 0])
            })
            .into(),
            planes8,
            true,
        ),
        (ImageBuffer::from_fn(2, 1, |x, _| Luma([at16(x)[0]])).into(), vec![sixteen([1000, 4])], false),
        (ImageBuffer::from_fn(2, 1, |x, _| Rgb(at16(x))).into(), planes16.clone(), false),
        (
            ImageBuffer::from_fn(2, 1, |x, _| {
                let [r, g, b] = at16(x);
                Rgba([r, g, b, 77])
            })
            .into(),
            planes16,
            true,
        ),
    ]
}

#[test]
fn eight_and_sixteen_bits_gray_and_colour_become_the_layouts_channels() {
    let folder = tempfile::tempdir().unwrap();
    for (picture, planes, transparent) in kinds() {
        for format in [ImageFormat::Png, ImageFormat::Tiff] {
            // The TIFF encoder has no gray with transparency.
            if format == ImageFormat::Tiff && matches!(picture, DynamicImage::ImageLumaA8(_)) {
                continue;
            }
            // The name says nothing about the content.
            let path = save(folder.path(), "image.jpg", picture.clone(), format);
            for layout in [Layout::Rgb, Layout::Gray, Layout::Slices] {
                let how = Preprocessor { layout, ..Preprocessor::default() };
                let loaded = how.load_image(&path).unwrap();
                let expected: Vec<f32> = match (layout, planes.len()) {
                    (Layout::Gray, 3) => {
                        let luma =
                            |x: usize| 0.299 * planes[0][x] + 0.587 * planes[1][x] + 0.114 * planes[2][x];
                        vec![luma(0), luma(1)]
                    }
                    (Layout::Gray, _) | (_, 3) => planes.concat(),
                    _ => planes.concat().repeat(3),
                };
                assert_eq!(loaded.image, Image::new(how.channels(), 1, 2, expected).unwrap());
                assert_eq!(loaded.original_size, (1, 2));
                let says = |word: &str| loaded.warnings.iter().any(|warning| warning.contains(word));
                assert_eq!(says("transparency"), transparent);
                assert_eq!(says("luma"), layout == Layout::Gray && planes.len() == 3);
                let shown = match (layout, planes.len()) {
                    (_, 1) => [0, 0, 0],
                    (Layout::Slices, _) => [1, 1, 1],
                    _ => [0, 1, 2],
                };
                assert_eq!(loaded.preview.pixels[1], shown.map(|c| (planes[c][1] * 255.0).round() as u8));
            }
        }
    }
}

#[test]
fn jpeg_and_indexed_png_are_images_too() {
    let folder = tempfile::tempdir().unwrap();
    let gray = ImageBuffer::from_pixel(16, 8, Luma([77u8]));
    let path = save(folder.path(), "gray.png", gray.into(), ImageFormat::Jpeg);
    let loaded = Preprocessor::default().load_image(&path).unwrap();
    assert_eq!((loaded.image.channels, loaded.image.height, loaded.image.width), (3, 8, 16));
    // JPEG keeps a constant to within a level.
    assert!(loaded.image.data.iter().all(|v| (v * 255.0 - 77.0).abs() <= 1.0));

    let path = folder.path().join("indexed.png");
    write_mask(&path, &LabelMap::new(1, 1, vec![1]).unwrap(), &[[0; 3], [255, 0, 51]]).unwrap();
    assert_eq!(Preprocessor::default().load_image(&path).unwrap().image.data, [1.0, 0.0, 0.2]);
}

#[test]
fn values_are_normalised_as_the_configuration_says() {
    let folder = tempfile::tempdir().unwrap();
    let picture: DynamicImage = ImageBuffer::from_fn(2, 1, |x, _| Luma([[51u8, 153][x as usize]])).into();
    let path = save(folder.path(), "a.png", picture, ImageFormat::Png);
    let gray = Preprocessor { layout: Layout::Gray, ..Preprocessor::default() };
    let check = |preprocessor: Preprocessor, expected: [f32; 2]| {
        let found = preprocessor.load_image(&path).unwrap().image.data;
        // A few roundings of f32.
        assert!(
            found.iter().zip(expected).all(|(f, e)| (f - e).abs() <= 1e-5 * e.abs()),
            "{found:?} {expected:?}"
        );
    };
    check(gray.clone(), [0.2, 0.6]);
    check(Preprocessor { do_rescale: false, ..gray.clone() }, [51.0, 153.0]);
    check(Preprocessor { rescale_factor: 0.1, ..gray.clone() }, [5.1, 15.3]);
    let standard =
        Preprocessor { do_normalize: true, image_mean: vec![0.4], image_std: vec![0.1], ..gray.clone() };
    check(standard.clone(), [-2.0, 2.0]);
    let window =
        Preprocessor { normalize: Normalize::Window, window: Some([-200.0, 250.0].into()), ..gray.clone() };
    check(window, [0.2, 0.6]);
    check(Preprocessor { normalize: Normalize::Zscore, ..gray.clone() }, [-1.0, 1.0]);
    check(Preprocessor { normalize: Normalize::Minmax, ..gray.clone() }, [0.0, 1.0]);

    // One value per channel.
    let rgb = Preprocessor { image_mean: vec![0.2, 0.0, 0.6], ..standard };
    let rgb = Preprocessor { layout: Layout::Rgb, image_std: vec![1.0, 0.5, 2.0], ..rgb };
    let found = rgb.load_image(&path).unwrap().image.data;
    let expected = [0.0f32, 0.4, 0.4, 1.2, -0.2, 0.0];
    assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-6), "{found:?}");

    // A constant image has no spread to divide by.
    let flat: DynamicImage = ImageBuffer::from_pixel(3, 3, Luma([9u8])).into();
    let path = save(folder.path(), "flat.png", flat, ImageFormat::Png);
    for normalize in [Normalize::Zscore, Normalize::Minmax] {
        let found = Preprocessor { normalize, ..gray.clone() }.load_image(&path).unwrap().image.data;
        assert_eq!(found, [0.0; 9]);
    }
}

#[test]
fn images_are_resized_and_a_missing_pixel_size_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let picture: DynamicImage = ImageBuffer::from_pixel(1, 1, Luma([255u8])).into();
    let path = save(folder.path(), "a.png", picture, ImageFormat::Png);
    let preprocessor = Preprocessor {
        size: Some(Size { height: 4, width: 6 }),
        spacing: Some([3.0; 3]),
        ..Preprocessor::default()
    };
    let loaded = preprocessor.load_image(&path).unwrap();
    assert_eq!(loaded.image, Image::filled(3, 4, 6, 1.0));
    assert_eq!(loaded.original_size, (1, 1));
    assert_eq!((loaded.preview.height, loaded.preview.width), (1, 1));
    let says = |word: &str| loaded.warnings.iter().any(|warning| warning.contains(word));
    assert!(says("18 x 12 mm") && says("much smaller than the 4 x 6"), "{:?}", loaded.warnings);
}

#[test]
fn what_the_network_was_not_trained_on_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let ct = Preprocessor::for_slices([-200.0, 250.0], None);
    let warnings = |preprocessor: &Preprocessor, picture: DynamicImage| {
        let path = save(folder.path(), "a.png", picture, ImageFormat::Png);
        preprocessor.load_image(&path).unwrap().warnings
    };
    // Neighbouring slices differ at edges, not as a whole.
    let slices = ImageBuffer::from_fn(30, 20, |x, y| {
        let body = |shift: u32| if (x + shift) % 17 < 9 && y % 13 < 8 { 180u8 } else { 20 };
        Rgb([body(0), body(1), body(2)])
    });
    assert_eq!(warnings(&ct, slices.into()), [""; 0]);
    let skin: DynamicImage =
        ImageBuffer::from_fn(30, 20, |x, y| Rgb([200 + (x % 9) as u8, 150, 110 + (y % 7) as u8])).into();
    let noise: DynamicImage = ImageBuffer::from_fn(30, 20, |x, y| {
        let value =
            |k: u32| (x * 7919 + y * 104_729 + k * 1_299_709).wrapping_mul(2_654_435_761).to_be_bytes()[0];
        Rgb([value(0), value(1), value(2)])
    })
    .into();
    for photo in [skin, noise] {
        assert!(warnings(&ct, photo.clone())[0].contains("trained on CT"));
        let gray = Preprocessor { layout: Layout::Gray, ..ct.clone() };
        assert!(warnings(&gray, photo.clone()).iter().any(|warning| warning.contains("trained on CT")));
        assert_eq!(warnings(&Preprocessor::default(), photo), [""; 0]);
    }
    // 12 bits in 16.
    for (highest, said) in [(4095u16, true), (256, true), (255, false), (4096, false), (0, false)] {
        let picture = ImageBuffer::from_fn(2, 1, |x, _| Luma([x as u16 * highest]));
        let found = warnings(&Preprocessor::default(), picture.into());
        assert_eq!(found.iter().any(|warning| warning.contains("12 bits")), said, "{highest}: {found:?}");
        let eight = found.iter().any(|warning| warning.contains("save it with 8 bits"));
        assert_eq!(eight, highest == 255, "{highest}: {found:?}");
    }
}

#[test]
fn a_small_file_that_promises_a_large_image_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.png");
    let mut jpeg = std::io::Cursor::new(Vec::new());
    DynamicImage::from(ImageBuffer::from_pixel(8, 8, Luma([7u8])))
        .write_to(&mut jpeg, ImageFormat::Jpeg)
        .unwrap();
    let mut jpeg = jpeg.into_inner();
    // The size behind the marker of the frame, the length and the depth.
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0x20, 0, 0x40, 0]);
    let mut rows = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut rows, &[0; 100_000]).unwrap();
    let data = [chunk(b"IDAT", &rows.finish().unwrap()), chunk(b"IEND", b"")].concat();
    for bytes in [
        jpeg,
        [png_header(16384, 8192, 8, 0), data.clone()].concat(),
        [png_header(16384, 8192, 16, 6), data].concat(),
    ] {
        std::fs::write(&path, bytes).unwrap();
        for message in [read_mask(&path).unwrap_err(), Preprocessor::default().load_image(&path).unwrap_err()]
        {
            assert!(message.to_string().contains("broken or truncated"), "{message}");
        }
    }
}

/// A PNG chunk with its checksum.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    [&(data.len() as u32).to_be_bytes()[..], kind, data, &crc.sum().to_be_bytes()].concat()
}

fn png_header(width: u32, height: u32, depth: u8, color: u8) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[depth, color, 0, 0, 0]].concat();
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header)].concat()
}

#[test]
fn broken_and_hostile_files_are_refused_with_their_name() {
    let folder = tempfile::tempdir().unwrap();
    let picture: DynamicImage = ImageBuffer::from_fn(64, 64, |x, y| Luma([(x * y) as u8])).into();
    let png = std::fs::read(save(folder.path(), "x", picture.clone(), ImageFormat::Png)).unwrap();
    let jpeg = std::fs::read(save(folder.path(), "x", picture.clone(), ImageFormat::Jpeg)).unwrap();
    let tiff = std::fs::read(save(folder.path(), "x", picture, ImageFormat::Tiff)).unwrap();
    let huge = |width, height| {
        [png_header(width, height, 8, 2), chunk(b"IDAT", &[0x78, 0x9c, 1]), chunk(b"IEND", b"")].concat()
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "no PNG, JPEG or TIFF"),
        (b"I am a text file that is called image.png".to_vec(), "no PNG, JPEG or TIFF"),
        (b"GIF89a\x01\0\x01\0".to_vec(), "no PNG, JPEG or TIFF"),
        (png[..8].to_vec(), "broken or truncated"),
        (png[..png.len() / 2].to_vec(), "broken or truncated"),
        (jpeg[..20].to_vec(), "broken or truncated"),
        (jpeg[..jpeg.len() / 2].to_vec(), "broken or truncated"),
        (tiff[..tiff.len() / 2].to_vec(), "broken or truncated"),
        (huge(u32::MAX >> 1, u32::MAX >> 1), ""),
        (huge(30000, 30000), "pixels"),
        (huge(1, 40000), ""),
        (huge(0, 5), ""),
    ];
    for (i, (bytes, reason)) in cases.into_iter().enumerate() {
        let path = folder.path().join("image.png");
        std::fs::write(&path, bytes).unwrap();
        let image =
            Preprocessor::default().load_image(&path).map(|l| l.original_size).unwrap_err().to_string();
        assert!(image.contains("image.png") && image.contains(reason), "{i}: {image} / {reason}");
        let mask = read_mask(&path).unwrap_err().to_string();
        assert!(mask.contains("image.png"), "{i}: {mask}");
    }
    let missing = Preprocessor::default().load_image(Path::new("/nowhere/a.png")).unwrap_err().to_string();
    assert!(missing.contains("/nowhere/a.png"), "{missing}");
}

#[test]
fn a_stack_of_pages_is_refused_and_a_thumbnail_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stack.tif");
    for (kind, fine) in [(None, false), (Some(0u32), false), (Some(1), true)] {
        let mut file = std::fs::File::create(&path).unwrap();
        let mut encoder = tiff::encoder::TiffEncoder::new(&mut file).unwrap();
        encoder.write_image::<tiff::encoder::colortype::Gray8>(2, 1, &[1, 0]).unwrap();
        let mut page = encoder.new_image::<tiff::encoder::colortype::Gray8>(2, 1).unwrap();
        if let Some(kind) = kind {
            page.encoder().write_tag(tiff::tags::Tag::NewSubfileType, kind).unwrap();
        }
        page.write_data(&[1, 1]).unwrap();
        drop(file);
        match (read_mask(&path), Preprocessor::default().load_image(&path)) {
            (Ok(mask), Ok(_)) if fine => assert_eq!(mask.data, [1, 0]),
            (Err(mask), Err(image)) if !fine => {
                assert!(mask.to_string().contains("pages") && image.to_string().contains("stack.tif"));
            }
            other => panic!("{kind:?}: {other:?}"),
        }
    }
}

#[test]
fn masks_of_every_depth_hold_their_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.png");
    let write = |color: png::ColorType, depth: png::BitDepth, width: u32, data: &[u8]| {
        let mut encoder = png::Encoder::new(std::fs::File::create(&path).unwrap(), width, 2);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == png::ColorType::Indexed {
            // Black first, colours of no order behind it.
            encoder.set_palette((0..3 * 16).map(|i| if i < 3 { 0 } else { 250 - i }).collect::<Vec<u8>>());
        }
        encoder.write_header().unwrap().write_image_data(data).unwrap();
    };
    for color in [png::ColorType::Indexed, png::ColorType::Grayscale] {
        write(color, png::BitDepth::One, 3, &[0b1010_0000, 0b0110_0000]);
        assert_eq!(read_mask(&path).unwrap().data, [1, 0, 1, 0, 1, 1]);
        write(color, png::BitDepth::Two, 3, &[0b1101_1000, 0b0001_1100]);
        assert_eq!(read_mask(&path).unwrap().data, [3, 1, 2, 0, 1, 3]);
        write(color, png::BitDepth::Four, 3, &[0x1f, 0x20, 0x0a, 0x50]);
        assert_eq!(read_mask(&path).unwrap().data, [1, 15, 2, 0, 10, 5]);
        write(color, png::BitDepth::Eight, 2, &[1, 2, 3, 9]);
        assert_eq!(read_mask(&path).unwrap(), LabelMap::new(2, 2, vec![1, 2, 3, 9]).unwrap());
    }
    let gray = ImageBuffer::from_pixel(2, 1, Luma([200u8]));
    let tiff = save(folder.path(), "mask.tif", gray.into(), ImageFormat::Tiff);
    assert_eq!(read_mask(&tiff).unwrap().data, [200, 200]);

    // Gray saved as colour, and 16 bits.
    for image in [
        DynamicImage::from(ImageBuffer::from_pixel(2, 1, Rgb([9u8; 3]))),
        ImageBuffer::from_pixel(2, 1, Luma([9u16])).into(),
        ImageBuffer::from_pixel(2, 1, Rgb([9u16; 3])).into(),
    ] {
        for format in [ImageFormat::Png, ImageFormat::Tiff] {
            assert_eq!(read_mask(&save(folder.path(), "nine", image.clone(), format)).unwrap().data, [9, 9]);
        }
    }
}

#[test]
fn a_written_mask_has_ids_as_values_and_colours_as_palette() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.png");
    let mask = LabelMap::new(1, 3, vec![0, 2, 255]).unwrap();
    write_mask(&path, &mask, &[[0, 0, 0], [4, 5, 6]]).unwrap();
    assert_eq!(read_mask(&path).unwrap(), mask);
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(&path).unwrap()));
    let reader = decoder.read_info().unwrap();
    let palette = reader.info().palette.as_ref().unwrap();
    assert_eq!(palette.len(), 256 * 3);
    assert_eq!(palette[..9], [&[0, 0, 0, 4, 5, 6][..], &default_color(2)].concat());
    let one = LabelMap::new(1, 1, vec![0]).unwrap();
    write_mask(&path, &one, &[]).unwrap();
    assert_eq!(read_mask(&path).unwrap(), one);
    assert!(write_mask(Path::new("/nowhere/mask.png"), &one, &[]).is_err());
}

#[test]
fn an_overlay_tints_the_inside_and_outlines_each_class() {
    let picture = Picture { height: 5, width: 5, pixels: vec![[100; 3]; 25] };
    let mut mask = LabelMap::empty(5, 5);
    for y in 1..4 {
        mask.data[y * 5 + 1..y * 5 + 4].fill(1);
    }
    let red = [255, 0, 0];
    let overlay = picture.overlay(&mask, &[[0; 3], red]).unwrap();
    for (i, pixel) in overlay.pixels.iter().enumerate() {
        let expected = match (i, mask.data[i]) {
            (12, _) => [147, 70, 70],
            (_, 1) => red,
            _ => [100; 3],
        };
        assert_eq!(*pixel, expected, "{i}");
    }
    assert!(picture.overlay(&LabelMap::empty(5, 4), &[]).is_err());
}
