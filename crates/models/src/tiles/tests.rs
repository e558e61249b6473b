use super::*;

const TILE: usize = 16;

/// Around the tile's edges, and several tiles; each with each as height and width.
const SIDES: [usize; 8] = [1, TILE - 1, TILE, TILE + 1, 2 * TILE - 1, 2 * TILE, 5 * TILE / 2, 70];

const OVERLAPS: [f64; 4] = [0.0, 0.25, 0.5, 0.75];

/// Values of at most 2, summed over at most 6 x 6 tiles: each product and sum is off by half an epsilon of them.
const TOLERANCE: f32 = 2.0 * 36.0 * f32::EPSILON;

fn tilings() -> impl Iterator<Item = (usize, usize, Tiling)> {
    let sizes = SIDES.into_iter().flat_map(|height| SIDES.into_iter().map(move |width| (height, width)));
    sizes.flat_map(|(height, width)| {
        OVERLAPS.map(|overlap| (height, width, Tiling::new(height, width, TILE, overlap).unwrap()))
    })
}

/// Signed values without symmetry.
fn image(channels: usize, height: usize, width: usize) -> Vec<f32> {
    (0..channels * height * width).map(|i| ((i * i + 7 * i) % 199) as f32 / 100.0 - 1.0).collect()
}

fn values(prediction: Vec<f32>) -> Result<BeforeGateValues> {
    Ok(BeforeGateValues { prediction, presence: None })
}

#[track_caller]
fn assert_close(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= TOLERANCE, "{got}, not {want}, at {i}");
    }
}

#[test]
fn starts_are_few_even_and_inside() {
    assert_eq!(starts(16, 16, 0.25), [0]);
    assert_eq!(starts(17, 16, 0.25), [0, 1]);
    assert_eq!(starts(28, 16, 0.25), [0, 12]);
    assert_eq!(starts(29, 16, 0.25), [0, 7, 13]);
    assert_eq!(starts(40, 16, 0.25), [0, 12, 24]);
    assert_eq!(starts(32, 16, 0.0), [0, 16]);
    assert_eq!(starts(32, 16, 0.5), [0, 8, 16]);
    assert_eq!(starts(20, 16, 0.99), [0, 1, 2, 3, 4]);
    assert_eq!(starts(4096, 512, 0.25).len(), 11);
}

#[test]
fn every_pixel_is_covered_and_neighbours_overlap_enough() {
    for (height, width, tiling) in tilings() {
        assert_eq!(tiling.tile_size(), (height.min(TILE), width.min(TILE)));
        let mut covered = vec![0; height * width];
        for (rows, columns) in tiling.tiles() {
            assert!(rows.end <= height && columns.end <= width, "{rows:?} {columns:?} {height}x{width}");
            assert_eq!((rows.len(), columns.len()), tiling.tile_size());
            rows.for_each(|y| covered[y * width..][columns.clone()].iter_mut().for_each(|n| *n += 1));
        }
        assert!(covered.iter().all(|&n| n > 0), "{height}x{width}");
    }
    for side in TILE..200 {
        for overlap in OVERLAPS {
            let starts = starts(side, TILE, overlap);
            assert_eq!((starts[0], starts[starts.len() - 1]), (0, side - TILE));
            let step = ((TILE as f64 * (1.0 - overlap)) as usize).max(1);
            assert!(
                starts.windows(2).all(|pair| pair[0] < pair[1] && pair[1] - pair[0] <= step),
                "{starts:?}"
            );
        }
    }
}

#[test]
fn weights_are_positive_and_add_up_to_one() {
    for side in SIDES.into_iter().chain([512, 5000]) {
        for tile in [16, 512] {
            let axis = Axis::new(side, tile, Tiling::OVERLAP);
            let mut sums = vec![0.0; side];
            for (&start, weights) in axis.starts.iter().zip(&axis.weights) {
                assert!(weights.iter().all(|&weight| weight > 0.0 && weight <= 1.0));
                sums[start..].iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight);
            }
            assert_close(&sums, &vec![1.0; side]);
        }
    }
    let window = window(512);
    assert!(window.iter().all(|&weight| weight > (-8.0f64).exp()));
    assert!(window.iter().zip(window.iter().rev()).all(|(a, b)| a == b));
    assert!(window[..256].is_sorted());
}

#[test]
fn a_constant_is_blended_to_itself() {
    for (height, width, tiling) in tilings() {
        let predict =
            |_: &[f32], (rows, columns)| values([0.3, -1.5].map(|v| vec![v; rows * columns]).concat());
        let blended = tiling.blend(&image(1, height, width), 2, predict).unwrap();
        let expected = [vec![0.3; height * width], vec![-1.5; height * width]].concat();
        assert_close(&blended.prediction, &expected);
        assert_eq!(blended.presence, None);
    }
}

#[test]
fn what_depends_on_the_pixel_alone_is_blended_to_itself() {
    for (height, width, tiling) in tilings() {
        let image = image(3, height, width);
        // two classes of three channels
        let pixelwise = |tile: &[f32]| -> Vec<f32> {
            let area = tile.len() / 3;
            let (first, rest) = tile.split_at(area);
            let sums = rest[..area].iter().zip(&rest[area..]).map(|(a, b)| a + b);
            first.iter().map(|v| 1.0 - v * v).chain(sums).collect()
        };
        let blended = tiling.blend(&image, 2, |tile, _| values(pixelwise(tile))).unwrap();
        assert_close(&blended.prediction, &pixelwise(&image));
    }
}

#[test]
fn one_tile_is_the_prediction_itself() {
    for (height, width) in [(1, 1), (TILE, TILE), (9, TILE)] {
        let image = image(1, height, width);
        let tiling = Tiling::new(height, width, TILE, 0.25).unwrap();
        let predict = |tile: &[f32], _| {
            assert_eq!(tile, image);
            values(tile.iter().map(|v| v / 3.0).collect())
        };
        let blended = tiling.blend(&image, 1, predict).unwrap();
        assert_eq!(blended.prediction, image.iter().map(|v| v / 3.0).collect::<Vec<_>>());
    }
}

#[test]
fn the_blend_is_the_weighted_mean_in_any_order() {
    let (height, width) = (37, 50);
    let tiling = Tiling::new(height, width, TILE, 0.5).unwrap();
    // tiles that contradict each other
    let of_tile = |n: usize| image(1, TILE, TILE).iter().map(|v| v * (n as f32).sin()).collect::<Vec<_>>();
    let mut count = 0..;
    let blended = tiling.blend(&image(1, height, width), 1, |_, _| values(of_tile(count.next().unwrap())));
    let blended = blended.unwrap().prediction;

    // as defined, with one image of weights and in f64
    let window = window(TILE);
    let (mut sums, mut weights) = (vec![0.0; height * width], vec![0.0; height * width]);
    for (n, (rows, columns)) in tiling.tiles().enumerate() {
        let prediction = of_tile(n);
        for (i, y) in rows.enumerate() {
            for (j, x) in columns.clone().enumerate() {
                let weight = window[i] * window[j];
                sums[y * width + x] += weight * f64::from(prediction[i * TILE + j]);
                weights[y * width + x] += weight;
            }
        }
    }
    let expected: Vec<f32> = sums.iter().zip(&weights).map(|(sum, weight)| (sum / weight) as f32).collect();
    assert_close(&blended, &expected);

    let grid: Vec<_> = tiling.grid().collect();
    let mut backwards = vec![0.0; height * width];
    for (n, &at) in grid.iter().enumerate().rev() {
        tiling.add(&mut backwards, at, &of_tile(n));
    }
    assert_close(&backwards, &expected);
}

#[test]
fn presence_is_that_of_the_tile_with_the_largest_margin() {
    let tiling = Tiling::new(TILE, 40, TILE, 0.25).unwrap();
    // The second has neither the largest logit of presence nor the smallest of absence.
    for (order, expected) in [([0, 1, 2], [-1.0, 0.5]), ([2, 0, 1], [-1.0, 0.5]), ([0, 0, 2], [2.0, 3.0])] {
        let logits = [[2.0, 3.0], [-1.0, 0.5], [-3.0, -3.5]];
        let mut order = order.into_iter();
        let predict = |tile: &[f32], _| -> Result<_> {
            let presence = order.next().map(|i: usize| logits[i]);
            Ok(BeforeGateValues { prediction: tile.to_vec(), presence })
        };
        let blended = tiling.blend(&image(1, TILE, 40), 1, predict).unwrap();
        assert_eq!(blended.presence, Some(expected));
        assert!(order.next().is_none());
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let message = |side| check_tile(side, 16).unwrap_err().to_string();
    assert!(check_tile(48, 32).unwrap_err().to_string().contains("multiple of 32; use 32 or 64"));
    assert!(check_tile(16, 16).is_ok() && check_tile(1024, 16).is_ok());
    assert!(message(100).ends_with("a tile of 100: its side must be a multiple of 16; use 96 or 112"));
    assert!(message(0).ends_with("use 16") && message(15).ends_with("use 16"));
    assert!(message(usize::MAX).contains(&(usize::MAX - 15).to_string()));

    for (height, width, tile, overlap) in [
        (0, 8, 16, 0.25),
        (8, 0, 16, 0.25),
        (8, 8, 8, 0.25),
        (8, 8, 16, 1.0),
        (8, 8, 16, -0.1),
        (8, 8, 16, f64::NAN),
    ] {
        assert!(Tiling::new(height, width, tile, overlap).is_err(), "{height} {width} {tile} {overlap}");
    }
    let tiling = Tiling::new(20, 20, TILE, 0.25).unwrap();
    assert!(tiling.blend(&[0.0; 399], 1, |tile, _| values(tile.to_vec())).is_err());
    assert!(tiling.blend(&[0.0; 400], 2, |tile, _| values(tile.to_vec())).is_err());
    let failing = |_: &[f32], _| Err(Error::Input("the predictor's own".into()));
    assert_eq!(tiling.blend(&[0.0; 400], 1, failing).unwrap_err().to_string(), "the predictor's own");
}
