//! Where the voxels of a file lie: which of a NIfTI header's statements is believed where they contradict each other.

use nifti::NiftiHeader;

use super::Orientation;
use super::affine::{self, Affine};

/// Voxel sizes that differ by a larger share contradict each other.
const SIZE_TOLERANCE: f64 = 0.01;
/// An sform whose axes are as long as this share from 1 has no scale.
const UNIT_TOLERANCE: f64 = 1e-3;
/// Cosines of axes that are called perpendicular are below: half a degree off.
const SHEAR_TOLERANCE: f64 = 0.009;
/// The cosine of directions that are called the same is above: two degrees off.
const SAME_DIRECTION: f64 = 0.9994;
/// A quaternion is longer than 1 by rounding up to here: writers store single precision, some of them few digits.
const QUATERNION_TOLERANCE: f64 = 1e-4;
/// The shortest and the longest side of a body in mm.
const BODY: [f64; 2] = [10.0, 3000.0];

/// The place of a volume's voxels as its header tells it.
#[derive(Debug)]
pub(super) struct Geometry {
    /// In mm.
    pub(super) affine: Affine,
    pub(super) readings: Vec<Reading>,
    pub(super) warnings: Vec<String>,
}

/// An affine that other programs take from the same header: label maps that they write have it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    /// Whose or which reading it is, as in "ITK's reading".
    pub(super) name: &'static str,
    pub(super) affine: Affine,
}

impl Geometry {
    /// The sform where it is set and valid, else the qform, else what nibabel makes of the voxel sizes.
    ///
    /// # Errors
    /// What is wrong with a header that tells no place.
    pub(super) fn of(header: &NiftiHeader, shape: [usize; 3]) -> Result<Self, String> {
        let mut warnings = Vec::new();
        let sizes = sizes(header, &mut warnings);
        // A missing thickness of a single slice changes no voxel's neighbour.
        let usable = (0..3).all(|axis| sizes[axis].is_some() || shape[axis] == 1);
        let whole = usable.then(|| sizes.map(|size| size.unwrap_or(1.0)));
        let stated = |code: i16, affine: Option<Affine>, name: &str, warnings: &mut Vec<String>| {
            let affine = (code > 0).then_some(affine)?.filter(affine::is_valid);
            if affine.is_none() {
                warnings.push(format!(
                    "the {name} is no valid transform, although its code is {code}: it is not used"
                ));
            }
            affine
        };
        let sform = stated(header.sform_code, Some(affine::sform(header)), "sform", &mut warnings);
        let qform = whole.map(|whole| affine::qform(header, whole));
        let qform = stated(header.qform_code, qform, "qform", &mut warnings);
        if qform.is_some() {
            warnings.extend(doubtful_rotation(header));
        }

        let mut readings = Vec::new();
        let affine = match (sform, qform, whole) {
            (Some(sform), ..) => from_sform(&sform, qform.as_ref(), sizes, &mut readings, &mut warnings),
            (None, Some(qform), _) => qform,
            (None, None, Some(whole)) => {
                warnings.push(
                    "neither qform nor sform is set, so that left and right are unknown: the axes are taken to run to \
                     the left, to the front and upwards (LAS) about the volume's centre, as nibabel does"
                        .to_owned(),
                );
                without_orientation(shape, whole, &mut readings)
            }
            (None, None, None) => {
                return Err(format!(
                    "has no valid affine: the voxel sizes in pixdim are {:?}, and no sform gives others; correct the \
                     header",
                    &header.pixdim[1..4]
                ));
            }
        };
        if sform.is_none() && sizes.iter().any(Option::is_none) {
            warnings.push("pixdim gives no thickness of the single slice: 1 is taken".to_owned());
        }
        let factor = unit(header, &mut warnings);
        if factor != 1.0 {
            let as_millimetres = Reading { name: "the numbers, as millimetres,", affine };
            readings.iter_mut().for_each(|reading| reading.affine = affine::in_unit(reading.affine, factor));
            readings.push(as_millimetres);
        }
        let affine = affine::in_unit(affine, factor);
        warnings.extend(size_of_no_body(header, shape, affine::spacing(&affine)));
        Ok(Self { affine, readings, warnings })
    }
}

/// What is impossible in the numbers of a qform, and what is made of it.
fn doubtful_rotation(header: &NiftiHeader) -> Vec<String> {
    let mut doubts = Vec::new();
    let norm = affine::quaternion_norm(header);
    if norm > 1.0 + QUATERNION_TOLERANCE {
        doubts.push(format!(
            "the qform's quaternion is impossible: the squares of b, c and d add up to {}, and to 1 at most in a \
             rotation: it is taken as a half turn about that axis, so that the orientation may be wrong",
            short(norm)
        ));
    }
    let handedness = header.pixdim[0];
    // Writers that leave it at 0 mean 1, as the standard says.
    if ![-1.0, 0.0, 1.0].contains(&handedness) {
        let taken = if handedness < 0.0 { -1 } else { 1 };
        doubts.push(format!(
            "pixdim[0], the qform's handedness, is {handedness}, and has to be 1 or -1: {taken} is taken, so that the \
             third axis may be reversed"
        ));
    }
    doubts
}

/// The voxel sizes that pixdim gives.
fn sizes(header: &NiftiHeader, warnings: &mut Vec<String>) -> [Option<f64>; 3] {
    let stated = [1, 2, 3].map(|axis| f64::from(header.pixdim[axis]));
    if stated.iter().any(|&size| size < 0.0) {
        warnings.push(format!(
            "pixdim holds negative voxel sizes, {stated:?}: they are taken without their sign"
        ));
    }
    stated.map(|size| Some(size.abs()).filter(|&size| size.is_finite() && size > 0.0))
}

/// The sform, with the scale of pixdim where it has none.
fn from_sform(
    sform: &Affine,
    qform: Option<&Affine>,
    sizes: [Option<f64>; 3],
    readings: &mut Vec<Reading>,
    warnings: &mut Vec<String>,
) -> Affine {
    let own = affine::spacing(sform);
    let mut used = *sform;
    let differ = |axis: usize| {
        sizes[axis].is_none_or(|size| (size - own[axis]).abs() > SIZE_TOLERANCE * size.max(own[axis]))
    };
    if (0..3).any(differ) {
        let stated = listed(sizes.map(|size| size.unwrap_or(0.0)));
        let whole = [0, 1, 2].map(|axis| sizes[axis].unwrap_or(own[axis]));
        let scaled = affine::with_spacing(sform, whole);
        let contradiction = format!("the sform has voxels of {}, pixdim of {stated}", listed(own));
        if own.iter().all(|length| (length - 1.0).abs() <= UNIT_TOLERANCE)
            && sizes.iter().all(Option::is_some)
        {
            warnings.push(format!("{contradiction}: the sform has no scale, so that pixdim's is used"));
            readings.push(Reading { name: "the sform as it is stored", affine: *sform });
            used = scaled;
        } else {
            warnings.push(format!("{contradiction}: the sform's are used"));
            readings.push(Reading { name: "the sform with pixdim's sizes", affine: scaled });
        }
    }
    let shear = [(0, 1), (0, 2), (1, 2)].map(|(a, b)| affine::cosine((sform, a), (sform, b)).abs());
    let shear = shear.into_iter().fold(0.0, f64::max);
    if shear > SHEAR_TOLERANCE {
        warnings.push(format!(
            "the sform is sheared, its axes are up to {} degrees from perpendicular: slices are cut along the axes as \
             if they were perpendicular",
            short(shear.min(1.0).asin().to_degrees())
        ));
    }
    if let Some(qform) = qform {
        readings.push(Reading { name: "the qform", affine: *qform });
        if (0..3).any(|axis| affine::cosine((sform, axis), (qform, axis)) < SAME_DIRECTION) {
            let codes = [sform, qform].map(|affine| Orientation::of_affine(affine).code());
            warnings.push(format!(
                "sform and qform turn the axes differently ({} and {}): the sform is used",
                codes[0], codes[1]
            ));
        }
    }
    used
}

/// nibabel's reading of voxel sizes alone; those of others are noted.
fn without_orientation(shape: [usize; 3], sizes: [f64; 3], readings: &mut Vec<Reading>) -> Affine {
    let [x, y, z] = sizes;
    readings.push(Reading { name: "ITK's reading", affine: affine::diagonal([-x, -y, z], [0.0; 3]) });
    readings.push(Reading { name: "the voxel sizes", affine: affine::diagonal(sizes, [0.0; 3]) });
    let steps = [-x, y, z];
    let offset = [0, 1, 2].map(|axis| -0.5 * (shape[axis] - 1) as f64 * steps[axis]);
    affine::diagonal(steps, offset)
}

/// Millimetres in the header's unit of length.
fn unit(header: &NiftiHeader, warnings: &mut Vec<String>) -> f64 {
    match header.xyzt_units & 7 {
        1 => 1000.0,
        3 => 0.001,
        // 0 is "unknown", which everyone reads as millimetres.
        0 | 2 => 1.0,
        code => {
            warnings.push(format!(
                "the unit of length, code {code} in xyzt_units, is unknown: millimetres are taken"
            ));
            1.0
        }
    }
}

/// A word on a volume that is larger or smaller than any body.
fn size_of_no_body(header: &NiftiHeader, shape: [usize; 3], spacing: [f64; 3]) -> Option<String> {
    let sides = [0, 1, 2].map(|axis| shape[axis] as f64 * spacing[axis]);
    let odd = |axis: usize| (shape[axis] > 1 && sides[axis] < BODY[0]) || sides[axis] > BODY[1];
    let code = header.xyzt_units & 7;
    let unit = match code {
        1 => "metres",
        2 => "millimetres",
        3 => "micrometres",
        _ => "unknown, taken as millimetres",
    };
    (0..3).any(odd).then(|| {
        format!(
            "the scan would be {} mm large, which no body is: check the voxel sizes and the unit of length in its header \
             (code {code}: {unit})",
            listed(sides)
        )
    })
}

/// Three lengths as people write them.
pub(crate) fn listed(lengths: [f64; 3]) -> String {
    lengths.map(short).join(" x ")
}

/// A number to four digits.
fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = 10f64.powi(3 - value.abs().log10().floor() as i32);
    if digits.is_finite() && digits > 0.0 {
        ((value * digits).round() / digits).to_string()
    } else {
        value.to_string()
    }
}
