//! The element types of the kernels.

use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Sub};

/// A floating-point element: `f32` for speed, `f64` for checking.
pub trait Scalar:
    Copy
    + Debug
    + Send
    + Sync
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + AddAssign
    + Sum
    + sealed::Sealed
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Rounds to the nearest value of this type.
    fn from_f64(value: f64) -> Self;
    /// Widens without loss.
    fn to_f64(self) -> f64;
    /// The values as `f32`, where they are: the type that the SIMD kernels take.
    fn as_single(values: &[Self]) -> Option<&[f32]>;
    /// [`Scalar::as_single`], to write.
    fn as_single_mut(values: &mut [Self]) -> Option<&mut [f32]>;
}

mod sealed {
    /// GEMM exists for these types alone.
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

macro_rules! scalar {
    ($t:ty, $single:expr, $single_mut:expr) => {
        impl Scalar for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as Self
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn as_single(values: &[Self]) -> Option<&[f32]> {
                $single(values)
            }
            fn as_single_mut(values: &mut [Self]) -> Option<&mut [f32]> {
                $single_mut(values)
            }
        }
    };
}
scalar!(f32, Some, Some);
scalar!(f64, |_| None, |_| None);
