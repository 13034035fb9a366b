//! Arithmetic: the contracts, and the one list of kernels that selection,
//! tests, benches and the `kernels` command expand.
//!
//! Every kernel of a problem computes the same sums. The order of accumulation
//! of an output is the order of the stored entries of its row, starting from
//! the bias; SpMV kernels that keep partial sums say so. [`scalar`] is the
//! oracle of all others.

mod activation;
mod portable;
mod scalar;

pub use activation::apply;

use half::{bf16, f16};
use secateur_format::Activation;
use secateur_format::encoding::{Bitmask, Block, Csr16, Dense, Encoding, Matrix, Nm, ValueType, View, Win8};
use secateur_format::geometry::ConvGeometry;
use secateur_format::op::Conv2d;

/// One column: `y = act(W · x + b)`.
#[derive(Debug)]
pub struct Spmv<'t> {
    /// One number per row, or none.
    pub bias: Option<&'t [f32]>,
    /// Applied to the sum and bias.
    pub activation: Activation,
    /// `cols` inputs.
    pub x: &'t [f32],
    /// `rows` outputs.
    pub y: &'t mut [f32],
}

/// Where the run of a weight column starts in the packed input.
#[derive(Clone, Copy, Debug)]
pub enum Offsets<'t> {
    /// Column `c` starts at `c · stride`.
    Stride(usize),
    /// Column `c` starts at `table[c]`.
    Table(&'t [u32]),
}

impl Offsets<'_> {
    /// The start of column `col`. A column outside the table (impossible for a
    /// validated model) gives an offset outside the input.
    #[inline(always)]
    fn of(&self, col: usize) -> usize {
        match self {
            Self::Stride(stride) => col.wrapping_mul(*stride),
            Self::Table(table) => table.get(col).map_or(usize::MAX, |&offset| offset as usize),
        }
    }
}

/// Many columns: every weight multiplies a contiguous run of the packed input
/// (see [`ConvGeometry`]); a linear layer of many tokens is the case of one group.
#[derive(Debug)]
pub struct Spmm<'t> {
    /// One number per row, or none.
    pub bias: Option<&'t [f32]>,
    /// Applied to the sum and bias.
    pub activation: Activation,
    /// The packed input.
    pub x: &'t [f32],
    /// Where each column's run starts.
    pub offsets: Offsets<'t>,
    /// Weight rows of a group, at least 1.
    pub group_rows: usize,
    /// Distance of two groups in the packed input.
    pub group_stride: usize,
    /// Length of a run, at least 1.
    pub run: usize,
    /// Distance of two output lines in a run, at least 1.
    pub line: usize,
    /// Elements kept of each output line; the rest of the run is dropped.
    pub keep: usize,
    /// The output, `keep` elements per line, lines and rows without gaps.
    pub y: &'t mut [f32],
}

impl Spmm<'_> {
    /// Lines of an output row.
    fn lines(&self) -> usize {
        self.run.div_ceil(self.line.max(1))
    }

    /// Offset of a row's group in the packed input.
    #[inline(always)]
    fn base(&self, row: usize) -> usize {
        row.checked_div(self.group_rows).unwrap_or(0) * self.group_stride
    }

    /// Bias of a row.
    #[inline(always)]
    fn bias(&self, row: usize) -> f32 {
        self.bias.and_then(|bias| bias.get(row)).copied().unwrap_or(0.0)
    }

    /// Stores run positions `at..` of a row.
    #[inline(always)]
    fn store(&mut self, row: usize, at: usize, sums: &[f32]) {
        let row_len = self.lines() * self.keep;
        let Some(y) = self.y.get_mut(row * row_len..(row + 1) * row_len) else {
            return;
        };
        if self.line == self.keep {
            let slots = y.get_mut(at..).unwrap_or(&mut []);
            slots
                .iter_mut()
                .zip(sums)
                .for_each(|(slot, &sum)| *slot = apply(self.activation, sum));
            return;
        }
        let mut rest = sums;
        let mut at = at;
        while let (false, Some(line), Some(column)) =
            (rest.is_empty(), at.checked_div(self.line), at.checked_rem(self.line))
        {
            let (part, tail) = rest.split_at_checked(self.line - column).unwrap_or((rest, &[]));
            let kept = self.keep.saturating_sub(column).min(part.len());
            let slots = y.get_mut(line * self.keep + column.min(self.keep)..).unwrap_or(&mut []);
            slots
                .iter_mut()
                .zip(part)
                .take(kept)
                .for_each(|(slot, &sum)| *slot = apply(self.activation, sum));
            at += part.len();
            rest = tail;
        }
    }
}

/// A convolution on the unpacked input, for arenas without scratch memory.
#[derive(Debug)]
pub struct DirectConv<'t> {
    /// The convolution.
    pub conv: &'t Conv2d,
    /// Its geometry.
    pub geometry: &'t ConvGeometry,
    /// One number per output channel, or none.
    pub bias: Option<&'t [f32]>,
    /// `[Cin, H, W]`.
    pub x: &'t [f32],
    /// `[Cout, Hout, Wout]`.
    pub y: &'t mut [f32],
}

/// What a kernel computes, and the function that does. Buffers too short for
/// the problem (impossible for a checked plan) leave outputs unwritten.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// Matrix times vector.
    Spmv(fn(&Matrix<'_>, &mut Spmv<'_>)),
    /// Matrix times packed panel.
    Spmm(fn(&Matrix<'_>, &mut Spmm<'_>)),
    /// Convolution without scratch memory.
    DirectConv(fn(&Matrix<'_>, &mut DirectConv<'_>)),
}

/// The problem a kernel solves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// [`Run::Spmv`]
    Spmv,
    /// [`Run::Spmm`]
    Spmm,
    /// [`Run::DirectConv`]
    DirectConv,
}

/// Instruction set a kernel is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust, one number at a time.
    Scalar,
    /// The `wide` crate: the vectors of the compilation target.
    Portable,
}

/// An encoding without its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Layout {
    Dense,
    Csr16,
    Win8,
    Bitmask,
    Nm,
    Block,
}

impl Layout {
    /// The layout of an encoding; `None` for encodings this version has no kernels for.
    pub fn of(encoding: Encoding) -> Option<Self> {
        Some(match encoding {
            Encoding::Dense => Self::Dense,
            Encoding::Csr16 => Self::Csr16,
            Encoding::Win8 => Self::Win8,
            Encoding::Bitmask => Self::Bitmask,
            Encoding::Nm { .. } => Self::Nm,
            Encoding::Block { .. } => Self::Block,
            _ => return None,
        })
    }
}

/// A kernel: data, so that selection, tests, benches and listings share it.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// `<values>_<problem>_<layout>_<tile>__<isa>`
    pub name: &'static str,
    /// Instruction set.
    pub isa: Isa,
    /// Encoding of the weights.
    pub layout: Layout,
    /// Type of the weights.
    pub values: ValueType,
    /// The function.
    pub run: Run,
}

impl Kernel {
    /// The problem the kernel solves.
    pub fn problem(&self) -> Problem {
        match self.run {
            Run::Spmv(_) => Problem::Spmv,
            Run::Spmm(_) => Problem::Spmm,
            Run::DirectConv(_) => Problem::DirectConv,
        }
    }
}

/// The first kernel of the list for a problem and matrix.
pub fn select(
    kernels: &'static [Kernel],
    problem: Problem,
    encoding: Encoding,
    values: ValueType,
) -> Option<&'static Kernel> {
    let layout = Layout::of(encoding)?;
    kernels
        .iter()
        .find(|k| k.problem() == problem && k.layout == layout && k.values == values)
}

/// `Run::$run` of a function generic over view and value type.
macro_rules! entry {
    ($isa:ident $isa_name:literal, $run:ident $problem:literal $tile:literal, $view:ident $layout:literal, $value:ident, $function:path) => {
        Kernel {
            name: concat!(
                stringify!($value),
                "_",
                $problem,
                "_",
                $layout,
                "_",
                $tile,
                "__",
                $isa_name
            ),
            isa: Isa::$isa,
            layout: Layout::$view,
            values: <$value as secateur_format::encoding::Value>::TYPE,
            run: Run::$run(|matrix, task| {
                if let Some(view) = <$view<'_> as View<'_>>::of(matrix) {
                    $function(&view, task, core::marker::PhantomData::<$value>);
                }
            }),
        }
    };
}

/// One line per kernel: every value type of it.
macro_rules! kernels {
    ($($isa:ident $isa_name:literal: $run:ident $problem:literal $tile:literal, $view:ident $layout:literal, $function:path;)*) => {
        &[$(
            entry!($isa $isa_name, $run $problem $tile, $view $layout, f32, $function),
            entry!($isa $isa_name, $run $problem $tile, $view $layout, f16, $function),
            entry!($isa $isa_name, $run $problem $tile, $view $layout, bf16, $function),
        )*]
    };
}

/// Plain Rust: the oracle, and the kernels of the smallest targets.
pub const SCALAR: &[Kernel] = kernels! {
    Scalar "scalar": Spmv "spmv" "1x1", Dense "dense", scalar::spmv;
    Scalar "scalar": Spmv "spmv" "1x1", Csr16 "csr16", scalar::spmv;
    Scalar "scalar": Spmv "spmv" "1x1", Win8 "win8", scalar::spmv;
    Scalar "scalar": Spmv "spmv" "1x1", Bitmask "bitmask", scalar::spmv;
    Scalar "scalar": Spmv "spmv" "1x1", Nm "nm", scalar::spmv;
    Scalar "scalar": Spmv "spmv" "1x1", Block "block", scalar::spmv;
    Scalar "scalar": Spmm "spmm" "1x1", Dense "dense", scalar::spmm;
    Scalar "scalar": Spmm "spmm" "1x1", Csr16 "csr16", scalar::spmm;
    Scalar "scalar": Spmm "spmm" "1x1", Win8 "win8", scalar::spmm;
    Scalar "scalar": Spmm "spmm" "1x1", Bitmask "bitmask", scalar::spmm;
    Scalar "scalar": Spmm "spmm" "1x1", Nm "nm", scalar::spmm;
    Scalar "scalar": Spmm "spmm" "1x1", Block "block", scalar::spmm;
    Scalar "scalar": DirectConv "conv" "direct", Dense "dense", scalar::direct_conv;
    Scalar "scalar": DirectConv "conv" "direct", Csr16 "csr16", scalar::direct_conv;
    Scalar "scalar": DirectConv "conv" "direct", Win8 "win8", scalar::direct_conv;
    Scalar "scalar": DirectConv "conv" "direct", Bitmask "bitmask", scalar::direct_conv;
    Scalar "scalar": DirectConv "conv" "direct", Nm "nm", scalar::direct_conv;
    Scalar "scalar": DirectConv "conv" "direct", Block "block", scalar::direct_conv;
};

/// Vectors of the compilation target, through `wide`.
pub const PORTABLE: &[Kernel] = kernels! {
    Portable "portable": Spmv "spmv" "1x8", Dense "dense", portable::spmv;
    Portable "portable": Spmv "spmv" "1x8", Csr16 "csr16", portable::spmv;
    Portable "portable": Spmv "spmv" "1x8", Win8 "win8", portable::spmv;
    Portable "portable": Spmv "spmv" "1x8", Bitmask "bitmask", portable::spmv;
    Portable "portable": Spmv "spmv" "1x8", Nm "nm", portable::spmv;
    Portable "portable": Spmv "spmv" "8x1", Block "block", portable::spmv_block;
    Portable "portable": Spmm "spmm" "4x8", Dense "dense", portable::spmm_dense;
    Portable "portable": Spmm "spmm" "1x32", Csr16 "csr16", portable::spmm;
    Portable "portable": Spmm "spmm" "1x32", Win8 "win8", portable::spmm;
    Portable "portable": Spmm "spmm" "1x32", Bitmask "bitmask", portable::spmm;
    Portable "portable": Spmm "spmm" "1x32", Nm "nm", portable::spmm;
    Portable "portable": Spmm "spmm" "4x8", Block "block", portable::spmm_block;
};

/// All kernels of this build, the preferred first.
pub const ALL: &[Kernel] = &{
    let mut all = [SCALAR[0]; PORTABLE.len() + SCALAR.len()];
    let mut i = 0;
    while i < all.len() {
        all[i] = if i < PORTABLE.len() {
            PORTABLE[i]
        } else {
            SCALAR[i - PORTABLE.len()]
        };
        i += 1;
    }
    all
};
