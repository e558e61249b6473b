//! 4 x 4 matrices from voxel indices to millimetres, and the ways in which a NIfTI header states one.

use nifti::NiftiHeader;

/// A row-major 4 x 4 matrix.
pub(crate) type Affine = [[f64; 4]; 4];

/// Finite, with the last row `0 0 0 1` and axes that span space.
pub(crate) fn is_valid(affine: &Affine) -> bool {
    let finite = affine.iter().flatten().all(|v| v.is_finite());
    let lengths = spacing(affine);
    // Relative to the axes' lengths: 1 for perpendicular axes of any size.
    let volume = determinant(affine).abs() / (lengths[0] * lengths[1] * lengths[2]);
    finite
        && affine[3] == [0.0, 0.0, 0.0, 1.0]
        && lengths.iter().all(|&l| l > 0.0 && l.is_finite())
        && volume > 1e-3
}

/// Lengths of the three columns: the distance between neighbours along each axis.
pub(crate) fn spacing(affine: &Affine) -> [f64; 3] {
    [0, 1, 2].map(|axis| (0..3).map(|row| affine[row][axis].powi(2)).sum::<f64>().sqrt())
}

/// The point at a (fractional) voxel index.
pub(crate) fn apply(affine: &Affine, index: [f64; 3]) -> [f64; 3] {
    [0, 1, 2].map(|row| (0..3).map(|axis| affine[row][axis] * index[axis]).sum::<f64>() + affine[row][3])
}

/// The cosine of the angle between an axis of one grid and an axis of another.
pub(super) fn cosine((a, i): (&Affine, usize), (b, j): (&Affine, usize)) -> f64 {
    (0..3).map(|row| a[row][i] * b[row][j]).sum::<f64>() / (spacing(a)[i] * spacing(b)[j])
}

/// The same directions and origin with other distances between neighbours.
pub(super) fn with_spacing(affine: &Affine, sizes: [f64; 3]) -> Affine {
    let lengths = spacing(affine);
    let mut scaled = *affine;
    for row in scaled.iter_mut().take(3) {
        (0..3).for_each(|axis| row[axis] *= sizes[axis] / lengths[axis]);
    }
    scaled
}

/// Every coordinate times a factor: another unit.
pub(super) fn in_unit(mut affine: Affine, factor: f64) -> Affine {
    affine[..3].iter_mut().flatten().for_each(|value| *value *= factor);
    affine
}

fn determinant(m: &Affine) -> f64 {
    m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
}

/// "Method 3" of nifti1.h: the matrix itself.
pub(super) fn sform(header: &NiftiHeader) -> Affine {
    let row = |row: [f32; 4]| row.map(f64::from);
    [row(header.srow_x), row(header.srow_y), row(header.srow_z), [0.0, 0.0, 0.0, 1.0]]
}

/// The square of the length of the qform's vector (b, c, d): up to 1 in a rotation.
pub(super) fn quaternion_norm(header: &NiftiHeader) -> f64 {
    [header.quatern_b, header.quatern_c, header.quatern_d].iter().map(|&v| f64::from(v).powi(2)).sum()
}

/// "Method 2" of nifti1.h: a rotation as the quaternion (a, b, c, d), voxel sizes, and an offset.
pub(super) fn qform(header: &NiftiHeader, size: [f64; 3]) -> Affine {
    let [mut b, mut c, mut d] = [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from);
    let norm = quaternion_norm(header);
    let a = if norm > 1.0 {
        // Longer than a unit quaternion, mostly by rounding: a half turn about (b, c, d).
        [b, c, d] = [b, c, d].map(|v| v / norm.sqrt());
        0.0
    } else {
        (1.0 - norm).sqrt()
    };
    let rotation = [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
        [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
        [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - c * c - b * b],
    ];
    let handedness = if header.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let scale = [size[0], size[1], size[2] * handedness];
    let offset = [header.quatern_x, header.quatern_y, header.quatern_z].map(f64::from);
    let row = |r: usize| {
        [rotation[r][0] * scale[0], rotation[r][1] * scale[1], rotation[r][2] * scale[2], offset[r]]
    };
    [row(0), row(1), row(2), [0.0, 0.0, 0.0, 1.0]]
}

/// Axes along the world's, with signed distances between neighbours.
pub(super) fn diagonal(steps: [f64; 3], offset: [f64; 3]) -> Affine {
    let mut affine = [[0.0; 4]; 4];
    for row in 0..3 {
        affine[row][row] = steps[row];
        affine[row][3] = offset[row];
    }
    affine[3][3] = 1.0;
    affine
}
