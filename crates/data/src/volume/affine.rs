//! 4 x 4 matrices from voxel indices to millimetres, and the three ways a NIfTI header states one.

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

fn determinant(m: &Affine) -> f64 {
    m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
}

/// The header's affine in mm: the sform where it is set and valid, else the qform, else the voxel sizes.
pub(crate) fn from_header(header: &NiftiHeader) -> Option<Affine> {
    let unit = match header.xyzt_units & 7 {
        1 => 1000.0, // metres
        3 => 0.001,  // micrometres
        _ => 1.0,    // millimetres, or unknown, which everyone reads as millimetres
    };
    let candidates = [
        (header.sform_code > 0).then(|| sform(header)),
        (header.qform_code > 0).then(|| qform(header)),
        Some(zooms(header)),
    ];
    candidates.into_iter().flatten().find(is_valid).map(|mut affine| {
        affine[..3].iter_mut().flatten().for_each(|v| *v *= unit);
        affine
    })
}

fn sform(header: &NiftiHeader) -> Affine {
    let row = |row: [f32; 4]| row.map(f64::from);
    [row(header.srow_x), row(header.srow_y), row(header.srow_z), [0.0, 0.0, 0.0, 1.0]]
}

/// "Method 2" of nifti1.h: a rotation as the quaternion (a, b, c, d), voxel sizes, and an offset.
fn qform(header: &NiftiHeader) -> Affine {
    let [mut b, mut c, mut d] = [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from);
    let norm = b * b + c * c + d * d;
    let a = if norm > 1.0 {
        // Rounding made it longer than a unit quaternion: a half turn about (b, c, d).
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
    let size = [1, 2, 3].map(|axis| f64::from(header.pixdim[axis]));
    let scale = [size[0], size[1], size[2] * handedness];
    let offset = [header.quatern_x, header.quatern_y, header.quatern_z].map(f64::from);
    let row = |r: usize| {
        [rotation[r][0] * scale[0], rotation[r][1] * scale[1], rotation[r][2] * scale[2], offset[r]]
    };
    [row(0), row(1), row(2), [0.0, 0.0, 0.0, 1.0]]
}

/// "Method 1" of nifti1.h: voxel sizes only.
fn zooms(header: &NiftiHeader) -> Affine {
    let size = |axis: usize| f64::from(header.pixdim[axis]).abs();
    [[size(1), 0.0, 0.0, 0.0], [0.0, size(2), 0.0, 0.0], [0.0, 0.0, size(3), 0.0], [0.0, 0.0, 0.0, 1.0]]
}
