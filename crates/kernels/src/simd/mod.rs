//! Instruction sets: what a kernel may use, proven by a token.
//!
//! A kernel is written once, over [`Simd`]: blocks of sixteen `f32`, which are one register of AVX-512, two of
//! AVX2, or an array that the compiler vectorises. A value of a type that implements `Simd` exists only where
//! the CPU has what it stands for, so that whoever holds one may use it.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use std::fmt::{self, Display};
use std::sync::OnceLock;

use crate::panel::Panel;

/// Lanes of a block: the unit in which channels are stored.
pub const LANES: usize = 16;

/// One block in memory.
pub(crate) type Block = [f32; LANES];

/// Operations on blocks of sixteen `f32`, lane by lane.
///
/// Everything that calls these methods must be inlined into [`Simd::vectorize`] or into a function with the
/// instruction set's `target_feature`: elsewhere the result is the same but slow.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// A block in registers.
    type V: Copy;

    /// Most rows of [`Simd::panel`]: so many that rows times blocks of accumulators fill the registers.
    const ROWS: usize;
    /// Most column blocks of [`Simd::panel`].
    const BLOCKS: usize;
    /// Rows of [`Simd::outer_panel`]; divides [`LANES`].
    const OUTER_ROWS: usize;

    /// Calls `f` where the instruction set is enabled.
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R;
    fn splat(self, value: f32) -> Self::V;
    fn load(self, from: &Block) -> Self::V;
    fn store(self, v: Self::V, to: &mut Block);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a b + c`.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger of `v` and `lower_bound`; `v` where it is NaN, so that a NaN is not lost in a ReLU.
    fn at_least(self, v: Self::V, lower_bound: Self::V) -> Self::V;
    /// The larger of the two; NaN where either is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `v` where `gate` is above 0, else 0.
    fn where_positive(self, gate: Self::V, v: Self::V) -> Self::V;
    /// `v` where `a` equals `b`, else 0.
    fn where_equal(self, a: Self::V, b: Self::V, v: Self::V) -> Self::V;
    /// Lane j of block i becomes lane i of block j.
    fn transpose(self, blocks: &mut [Self::V; LANES]);
    /// Asks for the memory at `at`, which need not be valid.
    fn prefetch(self, at: *const f32);

    /// The matrix product of [`Panel`] with rows `a_stride` elements apart and `k` running along them.
    ///
    /// # Safety
    /// As [`Panel`] says, for `rows <= ROWS` and `blocks <= BLOCKS`, neither 0.
    unsafe fn panel(self, rows: usize, blocks: usize, panel: &Panel);

    /// The matrix product of [`Panel`] with `OUTER_ROWS` neighbouring elements as rows and `k` running in steps of
    /// `a_stride`: a sum of outer products.
    ///
    /// # Safety
    /// As [`Panel`] says, for `blocks <= BLOCKS`, not 0.
    unsafe fn outer_panel(self, blocks: usize, panel: &Panel);
}

/// Work that is compiled for each instruction set.
pub(crate) trait Task {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// The environment variable that names the instruction set to use: `avx512`, `avx2` or `portable`.
pub const ISA_VARIABLE: &str = "UNET3P_ISA";

/// An instruction set that this CPU has.
///
/// ```
/// use unet3p_kernels::Isa;
///
/// println!("{} of {:?}", Isa::current(), Isa::available());
/// assert!(Isa::available().contains(&Isa::current()));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(Kind);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    Portable(portable::Portable),
}

impl Isa {
    /// Those that this CPU has, the fastest first; the portable one is always there.
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            found.extend(avx512::Avx512::detect().map(|token| Self(Kind::Avx512(token))));
            found.extend(avx2::Avx2::detect().map(|token| Self(Kind::Avx2(token))));
        }
        found.push(Self(Kind::Portable(portable::Portable)));
        found
    }

    /// The available one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|isa| isa.name() == name)
    }

    /// The one in use: that of [`ISA_VARIABLE`] where it names an available one, else the fastest.
    pub fn current() -> Self {
        static CURRENT: OnceLock<Isa> = OnceLock::new();
        *CURRENT.get_or_init(|| {
            let wanted = std::env::var(ISA_VARIABLE).ok();
            wanted.and_then(|name| Self::named(&name)).unwrap_or_else(|| Self::available()[0])
        })
    }

    /// `avx512`, `avx2` or `portable`.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2",
            Kind::Portable(_) => "portable",
        }
    }

    /// Calls `f`, which must be `#[inline(always)]`, where this instruction set is enabled: for plain loops that the
    /// compiler vectorises.
    #[inline(always)]
    pub(crate) fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(simd) => simd.vectorize(f),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(simd) => simd.vectorize(f),
            Kind::Portable(simd) => simd.vectorize(f),
        }
    }

    pub(crate) fn run<T: Task>(self, task: T) -> T::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(simd) => task.run(simd),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(simd) => task.run(simd),
            Kind::Portable(simd) => task.run(simd),
        }
    }
}

impl Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Calls the instance of a panel kernel for the strides, and the number of rows and column blocks at hand.
macro_rules! panel_instance {
    ($kernel:ident, $panel:expr, $given:expr, [$($rows:literal)*], [$($blocks:literal)*]) => {
        if $panel.is_dense() {
            panel_instance!(@rows $kernel, $panel, $given, [$($rows)*], DENSE, $($blocks)*)
        } else {
            panel_instance!(@rows $kernel, $panel, $given, [$($rows)*], STRIDED, $($blocks)*)
        }
    };
    (@rows $kernel:ident, $panel:expr, $given:expr, $rows:tt, $stride:ident, $($blocks:literal)*) => {
        match $given.1 {
            $($blocks => panel_instance!(@one $kernel, $panel, $given.0, $rows, $blocks, $stride),)*
            blocks => unreachable!("{blocks} column blocks"),
        }
    };
    (@one $kernel:ident, $panel:expr, $given:expr, [$($rows:literal)*], $blocks:literal, $stride:ident) => {
        match $given {
            $($rows => $kernel::<$rows, $blocks, $stride>($panel),)*
            rows => unreachable!("{rows} rows"),
        }
    };
}
pub(crate) use panel_instance;
