//! What mask files hold: palettes, colours, transparency, white for zero, compression.
// Helpers beside the tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba};
use unet3p_data::{
    DatasetOptions, LabelMap, MaskColors, MaskOptions, MaskReader, MaskValues, SliceDataset, write_mask,
};

/// An indexed PNG of one row, 8 bits a number.
fn indexed(path: &Path, palette: &[[u8; 3]], transparency: &[u8], numbers: &[u8]) {
    let mut encoder = png::Encoder::new(std::fs::File::create(path).unwrap(), numbers.len() as u32, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette(palette.concat());
    if !transparency.is_empty() {
        encoder.set_trns(transparency.to_vec());
    }
    encoder.write_header().unwrap().write_image_data(numbers).unwrap();
}

fn ids(reader: &MaskReader, path: &Path) -> Vec<u8> {
    reader.read(path).unwrap().labels.data
}

fn refused(reader: &MaskReader, path: &Path, parts: &[&str]) {
    let message = reader.read(path).unwrap_err().to_string();
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(
        message.contains(name) && parts.iter().all(|part| message.contains(part)),
        "{message} / {parts:?}"
    );
}

fn colors(pairs: &[([u8; 3], u8)]) -> MaskReader {
    let colors = Some(MaskColors::from_iter(pairs.iter().copied()));
    MaskReader::new(MaskOptions { colors, ..MaskOptions::default() }).unwrap()
}

const BLACK: [u8; 3] = [0; 3];
const WHITE: [u8; 3] = [255; 3];

#[test]
fn numbers_of_a_palette_are_ids_only_where_that_is_plausible() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mask.png");
    let plain = MaskReader::default();
    let both = ["data.mask_values", "data.mask_colors"];
    // White first, another colour first, grays that could be ids themselves.
    indexed(&path, &[WHITE, BLACK], &[], &[0, 1, 1]);
    refused(&plain, &path, &[both[0], both[1], "white"]);
    assert_eq!(ids(&colors(&[(WHITE, 1)]), &path), [1, 0, 0]);
    let values = Some(MaskValues::from_iter([(0, 1), (1, 0)]));
    let mapped = MaskReader::new(MaskOptions { values, ..MaskOptions::default() }).unwrap();
    assert_eq!(ids(&mapped, &path), [1, 0, 0]);
    indexed(&path, &[[255, 0, 0], BLACK, WHITE], &[], &[1, 2]);
    refused(&plain, &path, &[both[0], both[1], "#ff0000"]);
    indexed(&path, &[BLACK, [2; 3], [1; 3]], &[], &[0, 1, 2]);
    refused(&plain, &path, &[both[0], both[1], "number 1 is gray 2"]);
    // Black first, gray or not; the gray that is the number.
    indexed(&path, &[BLACK, WHITE, [128; 3]], &[], &[0, 1, 2]);
    assert_eq!(ids(&plain, &path), [0, 1, 2]);
    let ramp: Vec<[u8; 3]> = (0..=255).map(|value| [value; 3]).collect();
    indexed(&path, &ramp, &[], &[0, 1, 200]);
    assert_eq!(ids(&plain, &path), [0, 1, 200]);
    let labels = LabelMap::new(1, 3, vec![0, 2, 1]).unwrap();
    for palette in [vec![], vec![BLACK, [200; 3], [100; 3]]] {
        write_mask(&path, &labels, &palette).unwrap();
        assert_eq!(ids(&plain, &path), [0, 2, 1]);
    }
}

#[test]
fn a_mask_in_the_transparency_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mask.png");
    let plain = MaskReader::default();
    // A white brush on a transparent layer, a black one, and one on a layer whose hidden pixels are white.
    let opaque = [0u8, 255, 255];
    let row = |gray: [u8; 3], opacity: [u8; 3]| -> Vec<DynamicImage> {
        let wide = |v: u8| u16::from(v) * 257;
        vec![
            ImageBuffer::from_fn(3, 1, |x, _| LumaA([gray[x as usize], opacity[x as usize]])).into(),
            ImageBuffer::from_fn(3, 1, |x, _| {
                let g = gray[x as usize];
                Rgba([g, g, g, opacity[x as usize]])
            })
            .into(),
            ImageBuffer::from_fn(3, 1, |x, _| LumaA([wide(gray[x as usize]), wide(opacity[x as usize])]))
                .into(),
            ImageBuffer::from_fn(3, 1, |x, _| {
                let g = wide(gray[x as usize]);
                Rgba([g, g, g, wide(opacity[x as usize])])
            })
            .into(),
        ]
    };
    for gray in [[255; 3], [0; 3], [255, 0, 255]] {
        for image in row(gray, opaque) {
            image.save(&path).unwrap();
            refused(&plain, &path, &["alpha", "without transparency"]);
        }
    }
    indexed(&path, &[BLACK, WHITE], &[255, 0], &[1, 0, 0]);
    refused(&plain, &path, &["alpha"]);
    // An opacity that is the same everywhere is dropped; one that hides the background alone is said.
    for (opacity, said) in
        [([255; 3], ""), ([9; 3], ""), ([0; 3], "transparent everywhere"), (opaque, "dropped")]
    {
        for image in row([0, 255, 255], opacity).into_iter().take(2) {
            image.save(&path).unwrap();
            let mask = plain.read(&path).unwrap();
            assert_eq!(mask.labels.data, [0, 255, 255]);
            assert_eq!(mask.warnings.is_empty(), said.is_empty(), "{:?}", mask.warnings);
            assert!(mask.warnings.iter().all(|warning| warning.contains(said)));
        }
    }
    indexed(&path, &[BLACK, [1, 2, 3]], &[0], &[1, 0, 0]);
    assert_eq!(ids(&plain, &path), [1, 0, 0]);
}

#[test]
fn colours_are_mapped_or_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mask.png");
    let row = [BLACK, [255, 0, 0], [0, 255, 0], [255, 0, 0]];
    let wide = |color: [u8; 3]| color.map(|v| u16::from(v) * 257);
    let images: [DynamicImage; 2] = [
        ImageBuffer::from_fn(4, 1, |x, _| Rgb(row[x as usize])).into(),
        ImageBuffer::from_fn(4, 1, |x, _| Rgb(wide(row[x as usize]))).into(),
    ];
    let table = colors(&[([255, 0, 0], 2), ([0, 255, 0], 1)]);
    for (image, format) in
        images.iter().flat_map(|image| [(image, ImageFormat::Png), (image, ImageFormat::Tiff)])
    {
        image.save_with_format(&path, format).unwrap();
        assert_eq!(ids(&table, &path), [0, 2, 1, 2]);
        refused(
            &MaskReader::default(),
            &path,
            &[
                "#ff0000 (2 pixels)",
                "#00ff00 (1 pixel)",
                "data.mask_colors = { \"#00ff00\" = 1, \"#ff0000\" = 2 }",
            ],
        );
        refused(&colors(&[([255, 0, 0], 1)]), &path, &["colour #00ff00 (1 pixel)", "data.mask_colors"]);
    }
    // Black is the background unless it is mapped; a gray mask has colours too.
    assert_eq!(ids(&colors(&[(BLACK, 3), ([255, 0, 0], 1), ([0, 255, 0], 1)]), &path), [3, 1, 1, 1]);
    ImageBuffer::from_fn(2, 1, |x, _| Luma([x as u8 * 255])).save(&path).unwrap();
    assert_eq!(ids(&colors(&[(WHITE, 1)]), &path), [0, 1]);
    indexed(&path, &[WHITE, BLACK, [9, 8, 7]], &[], &[0, 1, 2]);
    assert_eq!(ids(&colors(&[(WHITE, 1), ([9, 8, 7], 4)]), &path), [1, 0, 4]);
    // More colours than a message lists.
    ImageBuffer::from_fn(20, 1, |x, _| Rgb([x as u8, 1, 0])).save(&path).unwrap();
    refused(&MaskReader::default(), &path, &["and 12 more", "smoothed edges"]);
    refused(&table, &path, &["and 12 more", "smoothed edges"]);
    // 16 bits that are no 8 bits.
    DynamicImage::from(ImageBuffer::from_fn(2, 1, |x, _| Rgb([x as u16, 0, 0]))).save(&path).unwrap();
    refused(&table, &path, &["16-bit colours (1)"]);
    // A colour may be ignored.
    let ignoring = MaskOptions {
        colors: Some(MaskColors::from_iter([([255, 0, 0], 1), ([0, 255, 0], 99)])),
        classes: Some(1),
        ignore: Some(99),
        ..MaskOptions::default()
    };
    images[0].save(&path).unwrap();
    assert_eq!(ids(&MaskReader::new(ignoring).unwrap(), &path), [0, 1, 255, 1]);
}

#[test]
fn a_jpeg_is_a_mask_only_where_its_values_survived() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mask.jpg");
    let save = |image: DynamicImage| image.save_with_format(&path, ImageFormat::Jpeg).unwrap();
    let disc = |x: u32, y: u32| if (x as i32 - 12).pow(2) + (y as i32 - 12).pow(2) < 60 { 255u8 } else { 0 };
    save(ImageBuffer::from_fn(24, 24, |x, y| Luma([disc(x, y)])).into());
    refused(&MaskReader::default(), &path, &["JPEG", "PNG"]);
    save(ImageBuffer::from_fn(24, 24, |x, y| Rgb([disc(x, y); 3])).into());
    refused(&MaskReader::default(), &path, &["JPEG", "PNG"]);
    save(RgbImage::from_fn(24, 24, |x, y| Rgb([disc(x, y), 0, 0])).into());
    refused(&colors(&[([255, 0, 0], 1)]), &path, &["JPEG", "PNG"]);
    // Whole blocks of black and of white keep their values.
    save(ImageBuffer::from_fn(16, 8, |x, _| Luma([if x < 8 { 0u8 } else { 255 }])).into());
    let mask = MaskReader::default().read(&path).unwrap();
    assert_eq!(mask.labels.data.iter().filter(|&&id| id == 255).count(), 64);
    assert!(mask.warnings[0].contains("JPEG"), "{:?}", mask.warnings);
}

/// A folder of images and masks, all of 4 x 3 pixels (width x height).
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, file: &str) -> PathBuf {
        let path = self.0.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn pair(&self, name: &str, mask: &[u8; 12]) {
        ImageBuffer::from_fn(4, 3, |x, y| Luma([(x * 9 + y) as u8]))
            .save(self.path(&format!("images/{name}.png")))
            .unwrap();
        ImageBuffer::from_fn(4, 3, |x, y| Luma([mask[(4 * y + x) as usize]]))
            .save(self.path(&format!("masks/{name}.png")))
            .unwrap();
    }

    fn open(&self, classes: Option<usize>) -> unet3p_data::Result<SliceDataset> {
        let options = DatasetOptions { classes, ..DatasetOptions::default() };
        SliceDataset::open(&[self.0.path().to_path_buf()], &options)
    }
}

#[test]
fn a_dataset_decides_once_what_255_means_and_says_it() {
    let folder = Folder::new();
    folder.pair("a", &[0, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    folder.pair("b", &[0; 12]);
    let options = DatasetOptions::default();
    let paths = [folder.0.path().to_path_buf()];
    let examine = || SliceDataset::examine(&paths, &options, |_, _| {}).unwrap();
    let (dataset, findings) = examine();
    assert_eq!(dataset.slices()[0].pixels, [11, 1]);
    assert_eq!(dataset.sample(0).unwrap().mask.data[1], 1);
    assert!(
        findings.warnings.iter().any(|w| w.contains("255 is taken for class 1")),
        "{:?}",
        findings.warnings
    );
    // Another file with another value: no file is binary any more.
    folder.pair("b", &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for classes in [None, Some(1)] {
        let message = folder.open(classes).unwrap_err().to_string();
        assert!(message.contains("masks/a.png") && message.contains("class id 255"), "{message}");
    }
    let (_, findings) = examine();
    assert_eq!((findings.problems.len(), findings.warnings.len()), (1, 0));
}

#[test]
fn images_in_folders_have_their_masks_in_folders() {
    let folder = Folder::new();
    folder.pair("0", &[0; 12]);
    folder.pair("p2/z", &[1; 12]);
    folder.pair("p2/image_1", &[1; 12]);
    std::fs::rename(folder.path("masks/p2/image_1.png"), folder.path("masks/p2/mask_1.png")).unwrap();
    std::fs::write(folder.path("images/._0.png"), "x").unwrap();
    std::fs::write(folder.path("masks/p2/._z.png"), "x").unwrap();
    let dataset = folder.open(Some(1)).unwrap();
    let names: Vec<_> = dataset.slices().iter().map(|slice| (slice.name.as_str(), slice.pixels[1])).collect();
    assert_eq!(names, [("0", 0), ("p2/image_1", 12), ("p2/z", 12)]);
    assert_eq!(dataset.groups(), ["0", "p2/image_1", "p2/z"]);
    let index = r#"{"slices": [{"name": "0", "volume": "a"}, {"name": "p2/z", "volume": "b"}, {"name": "p2/image_1", "volume": "b"}]}"#;
    std::fs::write(folder.path("dataset.json"), index).unwrap();
    assert_eq!(folder.open(Some(1)).unwrap().groups(), ["a", "b"]);
    let twice = index.replace("}]}", r#"}], "classes": [{"name": "x"}, {"name": "x"}]}"#);
    std::fs::write(folder.path("dataset.json"), twice).unwrap();
    let message = folder.open(Some(2)).unwrap_err().to_string();
    assert!(message.contains("dataset.json") && message.contains("\"x\""), "{message}");
    // Slices of volumes in folders need an index as well.
    std::fs::remove_file(folder.path("dataset.json")).unwrap();
    folder.pair("p2/a_z0001", &[0; 12]);
    assert!(folder.open(Some(1)).unwrap_err().to_string().contains("p2/a_z0001"));
}

/// A TIFF of one row of 8 bits, of this photometric interpretation.
fn tiff(path: &Path, photometric: u16, values: &[u8]) {
    let width = values.len() as u16;
    let tags =
        [(256, width), (257, 1), (258, 8), (259, 1), (262, photometric), (273, 8), (278, 1), (279, width)];
    let at = 8 + width + width % 2;
    let mut bytes = [b"II*\0".as_slice(), &u32::from(at).to_le_bytes(), values].concat();
    bytes.resize(usize::from(at), 0);
    bytes.extend((tags.len() as u16).to_le_bytes());
    for (tag, value) in tags {
        bytes.extend([tag, 3, 1, 0, value, 0].map(u16::to_le_bytes).concat());
    }
    bytes.extend([0; 4]);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn how_a_mask_with_white_for_zero_is_read_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mask.tif");
    for (photometric, is_said) in [(0, true), (1, false)] {
        tiff(&path, photometric, &[0, 255]);
        let mask = MaskReader::default().read(&path).unwrap();
        assert_eq!(mask.labels.data, [0, 255]);
        let said = mask.warnings.iter().any(|warning| warning.contains("MinIsWhite"));
        assert_eq!(said, is_said, "{:?}", mask.warnings);
        // A colour is what viewers show.
        let mask = colors(&[(WHITE, 1)]).read(&path).unwrap();
        assert_eq!(mask.labels.data, if is_said { [1, 0] } else { [0, 1] });
        assert_eq!(mask.warnings.iter().any(|warning| warning.contains("as viewers show them")), is_said);
    }
}
