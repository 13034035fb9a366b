//! Arithmetic: the contracts, and the one list of kernels that selection,
//! tests, benches and the `kernels` command expand.
//!
//! Every kernel of a problem computes the same sums. The order of accumulation
//! of an output is the order of the stored entries of its row, starting from
//! the bias; SpMV kernels that keep partial sums say so. The kernels of [`SCALAR`] are the
//! oracle of all others.

mod activation;
mod portable;
mod scalar;

pub use activation::apply;
use activation::apply_all;

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
    pub span: usize,
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
        self.span.div_ceil(self.line.max(1))
    }

    /// Offset of a row's group in the packed input.
    #[inline(always)]
    fn base(&self, row: usize) -> usize {
        // Most matrices have one group: no division.
        match row.checked_div(self.group_rows) {
            Some(group) if row >= self.group_rows => group * self.group_stride,
            _ => 0,
        }
    }

    /// Bias of a row.
    #[inline(always)]
    fn bias(&self, row: usize) -> f32 {
        self.bias.and_then(|bias| bias.get(row)).copied().unwrap_or(0.0)
    }

    /// Where run position `at` lies in every output row: computed once for all
    /// rows, because it takes divisions.
    fn place(&self, at: usize) -> Place {
        let row_len = self.lines() * self.keep;
        // Lines without gaps are one line.
        let (line, keep) = match self.line == self.keep {
            true => (row_len, row_len),
            false => (self.line, self.keep),
        };
        Place {
            row_len,
            line,
            keep,
            start: at.checked_div(line).unwrap_or(0) * keep,
            column: at.checked_rem(line).unwrap_or(0),
        }
    }

    /// Stores a tile of sums of a row.
    #[inline(always)]
    fn store<const N: usize, const LANES: usize>(&mut self, row: usize, place: &Place, mut sums: [[f32; LANES]; N]) {
        apply_all(self.activation, sums.as_flattened_mut());
        let Place {
            row_len,
            line,
            keep,
            mut start,
            mut column,
        } = *place;
        let Some(y) = self.y.get_mut(row * row_len..(row + 1) * row_len) else {
            return;
        };
        for vector in sums {
            let slots = y.get_mut(start + column..).and_then(|y| y.first_chunk_mut());
            if let (Some(slots), true) = (slots, column + LANES <= keep) {
                *slots = vector;
                column += LANES;
                if column == line {
                    (start, column) = (start + keep, 0);
                }
                continue;
            }
            for sum in vector {
                if let (Some(slot), true) = (y.get_mut(start + column), column < keep) {
                    *slot = sum;
                }
                column += 1;
                if column == line {
                    (start, column) = (start + keep, 0);
                }
            }
        }
    }
}

/// A position in all output rows of an SpMM.
#[derive(Clone, Copy)]
struct Place {
    /// Length of an output row.
    row_len: usize,
    /// Length of its lines.
    line: usize,
    /// How much of a line is kept.
    keep: usize,
    /// Start of the line in the output row.
    start: usize,
    /// Position in the line, which may be one that is dropped.
    column: usize,
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

/// The kernels of [`SCALAR`] for f32 weights: a third of the code, for firmware
/// whose models store nothing else.
pub const SCALAR_F32: &[Kernel] = &of_type::<{ SCALAR.len() / 3 }>(SCALAR, ValueType::F32);

/// The `N` kernels of `list` for weights of one type.
const fn of_type<const N: usize>(list: &[Kernel], values: ValueType) -> [Kernel; N] {
    let mut found = [list[0]; N];
    let (mut from, mut to) = (0, 0);
    while from < list.len() {
        if list[from].values as u8 == values as u8 {
            found[to] = list[from];
            to += 1;
        }
        from += 1;
    }
    found
}

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
