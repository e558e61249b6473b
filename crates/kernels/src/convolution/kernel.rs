//! The kernel of a convolution.

/// Side and stride of a convolution's kernel. Zero padding is `side / 2`, so that the first window has the first pixel in its
/// middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// Rows and columns: odd.
    pub side: usize,
    /// Pixels between neighbouring windows: 1 or 2.
    pub stride: usize,
}

impl Kernel {
    /// 3x3 at every pixel.
    pub const SAME: Self = Self { side: 3, stride: 1 };
    /// 1x1 at every pixel.
    pub const POINTWISE: Self = Self { side: 1, stride: 1 };

    /// The size, `[height, width]`, that a map of `size` is taken to: a window for each pixel whose row and column are
    /// multiples of the stride.
    ///
    /// # Panics
    /// Where the side is even or the stride neither 1 nor 2: `kernel: ...`.
    ///
    /// ```
    /// use unet3p_kernels::Kernel;
    ///
    /// assert_eq!(Kernel { side: 7, stride: 2 }.output([320, 5]), [160, 3]);
    /// ```
    #[must_use]
    pub fn output(self, size: [usize; 2]) -> [usize; 2] {
        self.check();
        size.map(|side| side.div_ceil(self.stride))
    }

    /// Asserts that it is one.
    #[track_caller]
    pub(super) fn check(self) {
        let Self { side, stride } = self;
        assert!(side % 2 == 1, "kernel: side {side}, where an odd one fits");
        assert!(stride == 1 || stride == 2, "kernel: stride {stride}, where 1 or 2 fits");
    }
}
