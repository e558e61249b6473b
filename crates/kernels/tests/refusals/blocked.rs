//! Blocked maps and their views, and the functions on them.

use unet3p_kernels::*;

use crate::{Dims, each, each_map, len, lengths, on_every_isa, refused, shape, sizes, view, view_mut, zeros};

#[test]
fn maps() {
    let right = [2, 20, 4, 6];
    let run = |dims: Dims, len: usize| {
        let shape = shape(dims);
        refused::<f32>(&format!("{dims:?}"), "map", len, |data| {
            let _ = shape.batch_mut(dims[0], data);
        });
        refused::<f32>(&format!("{dims:?}"), "map", len, |data| {
            let _ = shape.batch(dims[0], data);
        });
    };
    // channels are filled to whole blocks: one more changes nothing
    let wrong = |size: usize| [0, size + 13, sizes(size)[2], usize::MAX];
    each(["map"; 4], right, wrong, |dims, _| run(dims, len(right)));
    lengths(len(right)).into_iter().for_each(|len| run(right, len));
    // the halo's rows alone make these wrap to nothing
    for side in [usize::MAX - 4, 1 << 62] {
        refused::<f32>("halo", "map", 0, |_| {
            let _ = BlockedShape { channels: 0, height: side, width: 1 }.elements();
        });
        refused::<f32>("halo", "map", 0, |_| {
            let _ = BlockedShape { channels: 16, height: side, width: 64 }.elements();
        });
    }
    let one = shape(right);
    for len in lengths(one.elements()) {
        refused::<f32>("one image", "map", len, |data| {
            let _ = one.view_mut(data);
        });
        refused::<f32>("one image", "map", len, |data| {
            let _ = one.view(data);
        });
        refused::<f32>("halo", "map", len, |data| one.clear_halo(data));
        refused::<f32>("rows", "map", len, |data| one.move_rows(data, 0..1, 1));
        refused::<f32>("rows", "map", len, |data| one.clear_rows(data, 0..1));
    }
}

#[test]
#[allow(clippy::reversed_empty_ranges)] // as a wrong caller gives them
fn rows_blocks_and_images() {
    let dims = [2, 20, 4, 6];
    let (one, data) = (shape(dims), zeros(dims));
    for rows in [3..5, 0..usize::MAX, 3..2, usize::MAX..usize::MAX] {
        let what = format!("{rows:?}");
        refused::<f32>(&what, "rows", one.elements(), |data| one.move_rows(data, rows.clone(), 0));
        refused::<f32>(&what, "rows", one.elements(), |data| one.clear_rows(data, rows.clone()));
    }
    for to in [3, 5, usize::MAX - 1, usize::MAX] {
        refused::<f32>(&format!("to {to}"), "to", one.elements(), |data| one.move_rows(data, 0..2, to));
    }
    for range in [2..2, 2..1, 3..5, 0..usize::MAX, usize::MAX..usize::MAX] {
        let what = format!("{range:?}");
        refused::<f32>(&what, "rows", 0, |_| {
            let _ = view(dims, &data).rows(range.clone());
        });
        refused::<f32>(&what, "blocks", 0, |_| {
            let _ = view(dims, &data).blocks(range.clone());
        });
        refused::<f32>(&what, "rows", len(dims), |data| {
            let _ = view_mut(dims, data).rows(range.clone());
        });
        refused::<f32>(&what, "blocks", len(dims), |data| {
            let _ = view_mut(dims, data).blocks(range.clone());
        });
    }
    for image in [2, usize::MAX] {
        refused::<f32>("image", "image", 0, |_| {
            let _ = view(dims, &data).image(image);
        });
        refused::<f32>("image", "image", len(dims), |data| {
            let _ = view_mut(dims, data).image(image);
        });
    }
}

#[test]
fn planes() {
    let dims = [1, 20, 4, 6];
    let data = zeros(dims);
    for count in lengths(20 * 4 * 6) {
        let planes = vec![0.0; count];
        refused::<f32>("unpack", "planes", count, |planes| view(dims, &data).unpack(20, planes));
        refused::<f32>("pack", "planes", len(dims), |data| view_mut(dims, data).pack(20, &planes));
        refused::<f32>("add", "planes", len(dims), |data| view_mut(dims, data).add_planes(20, &planes));
    }
    let several = [2, 20, 4, 6];
    let two = zeros(several);
    for (dims, data, channels) in [
        (several, &two, 20),
        (dims, &data, 0),
        (dims, &data, 16),
        (dims, &data, 33),
        (dims, &data, usize::MAX),
    ] {
        let planes = [0.0; 20 * 4 * 6];
        refused::<f32>("unpack", "map", planes.len(), |planes| view(dims, data).unpack(channels, planes));
        refused::<f32>("pack", "map", len(dims), |data| view_mut(dims, data).pack(channels, &planes));
        refused::<f32>("add", "map", len(dims), |data| view_mut(dims, data).add_planes(channels, &planes));
    }
}

#[test]
fn sums_and_pooling() {
    on_every_isa(|isa| {
        each_map(["y", "y"], [[2, 20, 4, 6], [2, 20, 4, 6]], |[x, y], operand| {
            let data = zeros(x);
            refused::<f32>(&format!("{isa} sum {x:?} {y:?}"), operand, len(y), |out| {
                add_relu_blocked(isa, view(x, &data), view_mut(y, out));
            });
        });
        each_map(["y", "y"], [[2, 20, 4, 6], [2, 20, 2, 3]], |[x, y], operand| {
            let data = zeros(x);
            refused::<f32>(&format!("{isa} pool {x:?} {y:?}"), operand, len(y), |out| {
                max_pool2d_3x3_blocked(isa, view(x, &data), view_mut(y, out));
            });
        });
        for x in [[2, 20, 5, 6], [2, 20, 4, 7]] {
            let y = [2, 20, 2, 3];
            refused::<f32>("odd sides", "x", len(y), |out| {
                max_pool2d_3x3_blocked(isa, view(x, &zeros(x)), view_mut(y, out));
            });
        }
    });
}

#[test]
fn neighbourhoods() {
    let (x, y) = ([1, 4, 4, 6], [1, 36, 2, 3]);
    let run = |x: Dims, y: Dims, [channels, kernel, stride]: [usize; 3], operand: &str| {
        let (what, data) = (format!("{x:?} {y:?} {channels} {kernel} {stride}"), zeros(x));
        refused::<f32>(&what, operand, len(y), |out| {
            unfold2d_blocked(view(x, &data), channels, kernel, stride, view_mut(y, out));
        });
    };
    each_map(["x", "y"], [x, y], |[x, y], operand| run(x, y, [4, 3, 2], operand));
    run([2, 4, 4, 6], y, [4, 3, 2], "x");
    for channels in [0, 17, 4 + (1 << 63), usize::MAX] {
        run(x, y, [channels, 3, 2], "x");
    }
    // the second one's square wraps to 0
    for kernel in [0, 1 << 32, (1 << 32) + 1, usize::MAX] {
        run(x, y, [4, kernel, 2], "kernel");
    }
    run(x, y, [4, 5, 2], "y");
    run(x, y, [4, 3, 0], "stride");
    for stride in [1, 3, usize::MAX] {
        run(x, y, [4, 3, stride], "y");
    }
}
