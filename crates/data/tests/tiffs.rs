//! TIFFs of every kind that is read, and of those that are refused.
// Helpers beside the tests unwrap as the tests do.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_data::{Layout, Preprocessor, read_mask};

const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const ORIENTATION: u16 = 274;
const SAMPLES: u16 = 277;
const PLANAR: u16 = 284;
const PREDICTOR: u16 = 317;
const COLOR_MAP: u16 = 320;
const EXTRA: u16 = 338;
const FORMAT: u16 = 339;

/// A TIFF, tag by tag.
#[derive(Clone)]
struct Tiff {
    big: bool,
    little: bool,
    height: usize,
    width: usize,
    /// Rows and columns of tiles, or rows of strips.
    tiles: Option<(usize, usize)>,
    rows: usize,
    tags: Vec<(u16, Vec<u64>)>,
    chunks: Vec<Vec<u8>>,
}

impl Tiff {
    fn new(height: usize, width: usize, tags: &[(u16, u64)], chunks: Vec<Vec<u8>>) -> Self {
        let tags = tags.iter().map(|&(tag, value)| (tag, vec![value])).collect();
        Self { big: false, little: true, height, width, tiles: None, rows: height, tags, chunks }
    }

    fn number(&self, value: u64, len: usize) -> Vec<u8> {
        let bytes = value.to_le_bytes()[..len].to_vec();
        if self.little { bytes } else { bytes.into_iter().rev().collect() }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut tags = self.tags.clone();
        tags.extend([(256, vec![self.width as u64]), (257, vec![self.height as u64])]);
        let (word, head) = if self.big { (8, 16) } else { (4, 8) };
        let mut offsets = Vec::new();
        let mut data = Vec::new();
        for chunk in &self.chunks {
            offsets.push((head + data.len()) as u64);
            data.extend(chunk);
        }
        let sizes = self.chunks.iter().map(|chunk| chunk.len() as u64).collect();
        match self.tiles {
            Some((rows, columns)) => {
                tags.extend([
                    (322, vec![columns as u64]),
                    (323, vec![rows as u64]),
                    (324, offsets),
                    (325, sizes),
                ]);
            }
            None => tags.extend([(273, offsets), (278, vec![self.rows as u64]), (279, sizes)]),
        }
        tags.sort();
        let mut directory = self.number(tags.len() as u64, if self.big { 8 } else { 2 });
        for (tag, values) in &tags {
            // All as 32-bit numbers, but for the colour map.
            let (kind, size) = if *tag == COLOR_MAP || *tag == BITS { (3, 2) } else { (4, 4) };
            directory.extend(self.number(u64::from(*tag), 2));
            directory.extend(self.number(kind, 2));
            directory.extend(self.number(values.len() as u64, word));
            let mut held: Vec<u8> = values.iter().flat_map(|&value| self.number(value, size)).collect();
            if held.len() > word {
                let at = head + data.len();
                data.extend(&held);
                held = self.number(at as u64, word);
            }
            held.resize(word, 0);
            directory.extend(held);
        }
        directory.extend(self.number(0, word));
        let at = self.number((head + data.len()) as u64, word);
        let start = if self.little { *b"II" } else { *b"MM" };
        let mut file = start.to_vec();
        file.extend(self.number(if self.big { 43 } else { 42 }, 2));
        if self.big {
            file.extend([self.number(8, 2), self.number(0, 2)].concat());
        }
        [file, at, data, directory].concat()
    }
}

fn random(count: usize, highest: u32, seed: u64) -> Vec<u16> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(0..=highest) as u16).collect()
}

/// Samples of a chunk's row as bytes.
fn pack(row: &[u16], bits: usize, little: bool) -> Vec<u8> {
    match bits {
        16 => row.iter().flat_map(|v| if little { v.to_le_bytes() } else { v.to_be_bytes() }).collect(),
        bits => {
            let mut packed = vec![0u8; (row.len() * bits).div_ceil(8)];
            for (i, value) in row.iter().enumerate() {
                packed[i * bits / 8] |= (*value as u8) << (8 - bits - i * bits % 8);
            }
            packed
        }
    }
}

/// Each sample minus the one a pixel before.
fn predicted(row: &[u16], together: usize, bits: usize) -> Vec<u16> {
    let mask = u16::MAX >> (16 - bits);
    let before = |i: usize| if i < together { 0 } else { row[i - together] };
    (0..row.len()).map(|i| row[i].wrapping_sub(before(i)) & mask).collect()
}

fn compress(data: &[u8], kind: u64) -> Vec<u8> {
    match kind {
        5 => {
            // A clear code before every 200 bytes, each a code of 9 bits: no code ever gets longer.
            let codes = data
                .chunks(200)
                .flat_map(|part| std::iter::once(256u16).chain(part.iter().map(|&byte| u16::from(byte))));
            let (mut out, mut held, mut bits) = (Vec::new(), 0u32, 0);
            for code in codes.chain([257, 0]) {
                (held, bits) = (held << 9 | u32::from(code), bits + 9);
                while bits >= 8 {
                    out.push((held >> (bits - 8)) as u8);
                    bits -= 8;
                }
            }
            out
        }
        8 => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        32773 => data.chunks(100).flat_map(|part| [&[part.len() as u8 - 1][..], part].concat()).collect(),
        _ => data.to_vec(),
    }
}

/// The samples `[height][width][samples]` cut into chunks and packed.
fn encode(
    values: &[u16],
    base: &Tiff,
    samples: usize,
    bits: usize,
    compression: u64,
    planar: bool,
    predict: bool,
) -> Tiff {
    let (rows, columns) = base.tiles.unwrap_or((base.rows, base.width));
    let (together, planes) = if planar { (1, samples) } else { (samples, 1) };
    let mut chunks = Vec::new();
    for plane in 0..planes {
        for top in (0..base.height).step_by(rows) {
            for left in (0..base.width).step_by(columns) {
                let end = if base.tiles.is_some() { top + rows } else { base.height.min(top + rows) };
                let mut data = Vec::new();
                for y in top..end {
                    let row: Vec<u16> = (left..left + columns)
                        .flat_map(|x| (0..together).map(move |s| (x, s + plane)))
                        .map(|(x, s)| {
                            if y < base.height && x < base.width {
                                values[(y * base.width + x) * samples + s]
                            } else {
                                1
                            }
                        })
                        .collect();
                    let row = if predict { predicted(&row, together, bits) } else { row };
                    data.extend(pack(&row, bits, base.little));
                }
                chunks.push(compress(&data, compression));
            }
        }
    }
    let mut tiff = Tiff { chunks, ..base.clone() };
    tiff.tags.push((BITS, vec![bits as u64; samples]));
    tiff.tags.push((SAMPLES, vec![samples as u64]));
    tiff.tags.push((COMPRESSION, vec![compression]));
    tiff.tags.push((PLANAR, vec![if planar { 2 } else { 1 }]));
    tiff.tags.push((PREDICTOR, vec![if predict { 2 } else { 1 }]));
    tiff
}

fn save(dir: &Path, tiff: &Tiff) -> std::path::PathBuf {
    let path = dir.join("a.tif");
    std::fs::write(&path, tiff.bytes()).unwrap();
    path
}

#[test]
fn gray_of_every_depth_compression_and_layout_has_its_values() {
    let dir = tempfile::tempdir().unwrap();
    let (height, width) = (37, 29);
    for bits in [1usize, 2, 4, 8, 16] {
        // Masks hold ids, so that 16 bits end at 255 as well.
        let values = random(height * width, (1 << bits.min(8)) - 1, bits as u64);
        let ids: Vec<u8> = values.iter().map(|&value| value as u8).collect();
        for (compression, predict) in
            [(1, false), (5, false), (8, false), (32773, false), (5, true), (8, true)]
        {
            if predict && bits < 8 {
                continue;
            }
            for tiles in [None, Some((16, 16)), Some((48, 32))] {
                for (big, little) in [(false, true), (false, false), (true, true), (true, false)] {
                    for white_is_zero in [0, 1] {
                        let base = Tiff::new(height, width, &[(PHOTOMETRIC, 1 - white_is_zero)], Vec::new());
                        let base = Tiff { big, little, tiles, rows: 10, ..base };
                        let tiff = encode(&values, &base, 1, bits, compression, false, predict);
                        let mask = read_mask(&save(dir.path(), &tiff)).unwrap();
                        assert_eq!(mask.data, ids, "{bits} bits, compression {compression}, tiles {tiles:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn colours_and_white_for_zero_are_as_viewers_show_them() {
    let dir = tempfile::tempdir().unwrap();
    let (height, width) = (19, 23);
    let gray = Preprocessor { layout: Layout::Gray, ..Preprocessor::default() };
    let near = |found: &[f32], wanted: Vec<f32>| {
        assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-6) && found.len() == wanted.len());
    };
    for (bits, most) in [(1usize, 1.0f32), (8, 255.0), (16, 65535.0)] {
        let values = random(height * width, most as u32, 3);
        for (photometric, flip) in [(1, false), (0, true)] {
            let base =
                Tiff { rows: 7, ..Tiff::new(height, width, &[(PHOTOMETRIC, photometric)], Vec::new()) };
            let tiff = encode(&values, &base, 1, bits, 1, false, false);
            let shown =
                |&value: &u16| if flip { 1.0 - f32::from(value) / most } else { f32::from(value) / most };
            let loaded = gray.load_image(&save(dir.path(), &tiff)).unwrap();
            near(&loaded.image.data, values.iter().map(shown).collect());
        }
    }
    // RGB, with a fourth sample that is an opacity, is called nothing, or is not announced.
    for (samples, extra) in [(3, None), (4, Some(0)), (4, Some(1)), (4, Some(2)), (4, None)] {
        for (planar, predict) in [(false, false), (true, false), (false, true), (true, true)] {
            for (bits, most) in [(8usize, 255.0f32), (16, 65535.0)] {
                let values = random(height * width * samples, most as u32, 5);
                let mut base = Tiff::new(height, width, &[(PHOTOMETRIC, 2)], Vec::new());
                base.tags.extend(extra.map(|kind| (EXTRA, vec![kind])));
                let tiff = encode(
                    &values,
                    &Tiff { tiles: Some((16, 16)), ..base },
                    samples,
                    bits,
                    8,
                    planar,
                    predict,
                );
                let loaded = Preprocessor::default().load_image(&save(dir.path(), &tiff)).unwrap();
                let wanted = (0..3).flat_map(|c| values.chunks(samples).map(move |p| f32::from(p[c]) / most));
                near(&loaded.image.data, wanted.collect());
                assert_eq!(loaded.warnings.iter().any(|w| w.contains("transparency")), samples == 4);
            }
        }
    }
}

#[test]
fn palettes_are_colours_in_images_and_numbers_in_masks() {
    let dir = tempfile::tempdir().unwrap();
    let values = [0u16, 1, 2, 3, 2, 1];
    // The writers differ: 16 bits a colour, or 8.
    for factor in [257u64, 1] {
        let mut base = Tiff::new(2, 3, &[(PHOTOMETRIC, 3)], Vec::new());
        let reds = [0u64, 255, 0, 51];
        base.tags
            .push((COLOR_MAP, [reds, [0, 0, 255, 0], [0; 4]].concat().iter().map(|v| v * factor).collect()));
        let tiff = encode(&values, &base, 1, 2, 1, false, false);
        let path = save(dir.path(), &tiff);
        assert_eq!(read_mask(&path).unwrap().data, [0, 1, 2, 3, 2, 1]);
        let shown = Preprocessor::default().load_image(&path).unwrap().preview.pixels;
        assert_eq!(shown[..4], [[0; 3], [255, 0, 0], [0, 255, 0], [51, 0, 0]]);
        base.tags[1].1[0] = 255 * factor;
        let path = save(dir.path(), &encode(&values, &base, 1, 2, 1, false, false));
        let message = read_mask(&path).unwrap_err().to_string();
        assert!(message.contains("data.mask_values") && message.contains("#ff0000"), "{message}");
    }
}

#[test]
fn fax_group_4_has_the_bits_that_are_stored() {
    let dir = tempfile::tempdir().unwrap();
    // Two white lines (a vertical code each), and the end of the block.
    for photometric in [0, 1] {
        let tags = [(PHOTOMETRIC, photometric), (COMPRESSION, 4), (BITS, 1), (SAMPLES, 1)];
        let path = save(
            dir.path(),
            &Tiff::new(2, 9, &tags, vec![vec![0b1100_0000, 0b0000_0100, 0b0000_0000, 0b0100_0000]]),
        );
        assert_eq!(read_mask(&path).unwrap().data, [0; 18]);
        let shown = Preprocessor::default().load_image(&path).unwrap().preview.pixels[0][0];
        assert_eq!(shown, if photometric == 0 { 255 } else { 0 });
    }
}

#[test]
fn other_kinds_say_what_they_are_and_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let gray = [(PHOTOMETRIC, 1), (SAMPLES, 1)];
    let with = |tags: &[(u16, u64)]| [&gray[..], tags].concat();
    let kinds: Vec<(Vec<(u16, u64)>, &str)> = vec![
        (with(&[(BITS, 32), (FORMAT, 3)]), "floating point"),
        (with(&[(BITS, 16), (FORMAT, 2)]), "signed"),
        (with(&[(BITS, 12)]), "12 bits"),
        (with(&[(BITS, 32)]), "32 bits"),
        (with(&[(BITS, 8), (COMPRESSION, 7)]), "JPEG"),
        (with(&[(BITS, 8), (COMPRESSION, 50000)]), "Zstandard"),
        (with(&[(BITS, 8), (COMPRESSION, 8), (PREDICTOR, 3)]), "predictor 3"),
        (with(&[(BITS, 1), (266, 2)]), "reversed"),
        (vec![(PHOTOMETRIC, 5), (SAMPLES, 4), (BITS, 8)], "CMYK"),
        (vec![(PHOTOMETRIC, 6), (SAMPLES, 3), (BITS, 8)], "YCbCr"),
        (vec![(PHOTOMETRIC, 1), (SAMPLES, 3), (BITS, 8)], "3 channels"),
        (vec![(PHOTOMETRIC, 2), (SAMPLES, 5), (BITS, 8)], "5 channels"),
    ];
    for (tags, what) in kinds {
        let path = save(dir.path(), &Tiff::new(2, 2, &tags, vec![vec![0; 64]]));
        for message in [read_mask(&path).unwrap_err(), Preprocessor::default().load_image(&path).unwrap_err()]
        {
            let message = message.to_string();
            assert!(
                message.contains("a.tif") && message.contains(what) && message.contains("8 or 16"),
                "{message}"
            );
        }
    }
}

#[test]
fn broken_tiffs_are_errors_that_take_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let base = Tiff {
        tiles: Some((16, 16)),
        ..Tiff::new(20, 20, &[(PHOTOMETRIC, 1), (ORIENTATION, 1)], Vec::new())
    };
    let good = encode(&random(400, 255, 1), &base, 1, 8, 5, false, false).bytes();
    let path = dir.path().join("a.tif");
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for i in 0..3000 {
        let mut bytes = good.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.random();
        }
        if i % 3 == 0 {
            bytes.truncate(rng.random_range(0..bytes.len()));
        }
        std::fs::write(&path, &bytes).unwrap();
        // Any result, but an error names the file.
        if let Err(error) = Preprocessor::default().load_image(&path) {
            assert!(error.to_string().contains("a.tif"));
        }
    }
    // The largest image there is, in a file that cannot hold it.
    for compression in [1, 5, 8, 32773] {
        let tags = [(PHOTOMETRIC, 1), (BITS, 8), (COMPRESSION, compression)];
        let tiff = Tiff::new(8192, 16384, &tags, vec![vec![0; 50]]);
        let message = Preprocessor::default().load_image(&save(dir.path(), &tiff)).unwrap_err().to_string();
        assert!(message.contains("broken or truncated"), "{message}");
    }
}
