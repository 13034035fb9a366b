//! Sparse rows side by side, a lane of a vector each: for one column of inputs.
//!
//! A sparse row by itself ends somewhere within a vector, which is hard to predict and leaves lanes to add up: that
//! costs as much as forty entries. Rows of equally many entries side by side end together (SELL-C-σ, Kreutzer et al.,
//! arXiv 1307.6209; instead of filling rows up with zeros, the last steps have fewer rows). What is left is to fetch
//! each input by its column. In narrow windows of columns, sorted for each of them, all inputs stay in registers, from
//! which all lanes pick at once: worth it where rows have some entries in each window.

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::Range;

use half::{bf16, f16};
use secateur_format::encoding::{Csr16, Value, ValueType, Values};

use super::generic::FAR_BYTES;
use super::vector::MOST_LANES;
use super::{Isa, Kernel, Layout, Run, Spmv};
use crate::ArenaBuf;

/// Columns of a narrow window.
pub(crate) const NARROW: usize = 64;
/// Rows that are sorted by the entries that they have in a window: so many that rows of equal length are many, so
/// few that their sums stay in the first-level cache.
pub(in crate::kernel) const GROUP: usize = 4096;

/// The weights of a `csr16` matrix. A group of rows after the other, window after window, the rows with the most entries
/// first, as many as a vector has lanes at a time.
#[derive(Clone, Debug)]
pub struct Slices {
    rows: usize,
    cols: usize,
    lanes: usize,
    /// Columns of a window.
    pub(in crate::kernel) window: usize,
    /// Rows of each slice, counted from the first one of the group; those of the last one are filled up.
    pub(in crate::kernel) order: Vec<u16>,
    /// For each slice the steps in which every row has an entry, those in which only the first ones have one, and how
    /// many rows have one, for each of these.
    pub(in crate::kernel) steps: Vec<u16>,
    /// For each step the columns of the entries, counted from the first one of the window. Behind them is what may be
    /// read with them.
    columns: Columns,
    values: ArenaBuf,
    value_type: ValueType,
}

#[derive(Clone, Debug)]
enum Columns {
    Wide(Vec<u16>),
    Narrow(Vec<u8>),
    Packed(Vec<Packed>),
}

/// Windows of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// A single one.
    One,
    /// Narrow ones, their columns in bytes.
    Narrow,
    /// Narrow ones, their columns in six bits: takes a tenth longer in cache, and less from memory.
    Packed,
}

/// The columns of a step in a narrow window, six bits each: the lower five one after the other, the sixth of all behind
/// them.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(in crate::kernel) struct Packed(pub(in crate::kernel) [u8; 12]);

/// Bits of a column that lie together.
const LOW_BITS: usize = 5;

#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
impl Packed {
    /// Where the sixth bits are.
    pub(in crate::kernel) const UPPER: usize = MOST_LANES * LOW_BITS / 8;

    fn new(columns: &[u16]) -> Self {
        let mut bits = 0u128;
        for (lane, &column) in columns.iter().enumerate() {
            let (low, upper) = (column & ((1 << LOW_BITS) - 1), column >> LOW_BITS);
            bits |= u128::from(low) << (LOW_BITS * lane) | u128::from(upper) << (8 * Self::UPPER + lane);
        }
        Self(core::array::from_fn(|i| (bits >> (8 * i)) as u8))
    }

    /// The first byte with bits of a lane's lower five, and how many of others come before them there.
    pub(in crate::kernel) const fn place(lane: usize) -> (usize, usize) {
        (lane * LOW_BITS / 8, lane * LOW_BITS % 8)
    }
}

/// How columns are stored.
pub(in crate::kernel) trait Column: Copy {
    /// Those of slices that store them so.
    fn of(slices: &Slices) -> Option<&[Self]>;

    /// How many of these hold the columns of a step of so many entries.
    #[inline(always)]
    fn of_step(entries: usize) -> usize {
        entries
    }
}

impl Column for Packed {
    fn of(slices: &Slices) -> Option<&[Self]> {
        match &slices.columns {
            Columns::Packed(columns) => Some(columns),
            _ => None,
        }
    }

    #[inline(always)]
    fn of_step(_: usize) -> usize {
        1
    }
}

impl Column for u8 {
    fn of(slices: &Slices) -> Option<&[Self]> {
        match &slices.columns {
            Columns::Narrow(columns) => Some(columns),
            _ => None,
        }
    }
}

impl Column for u16 {
    fn of(slices: &Slices) -> Option<&[Self]> {
        match &slices.columns {
            Columns::Wide(columns) => Some(columns),
            _ => None,
        }
    }
}

impl Slices {
    /// Slices of `lanes` rows, at most 16; `None` for integers, which have scales, for rows of more than 65535 entries,
    /// and where an index is wrong (impossible for a validated matrix).
    pub fn new(matrix: &Csr16<'_>, lanes: usize, windows: Windows) -> Option<Self> {
        let (values, size, value_type): (&[u8], usize, _) = match matrix.values {
            Values::F32(v) => (bytemuck::cast_slice(v), size_of::<f32>(), ValueType::F32),
            Values::F16(v) => (bytemuck::cast_slice(v), size_of::<f16>(), ValueType::F16),
            Values::Bf16(v) => (bytemuck::cast_slice(v), size_of::<bf16>(), ValueType::Bf16),
            _ => return None,
        };
        let (rows, cols) = (matrix.row_start.len().checked_sub(1)?, matrix.cols as usize);
        let lanes = lanes.clamp(1, MOST_LANES);
        let (window, columns) = match windows {
            Windows::One => (cols.max(1), Columns::Wide(Vec::new())),
            Windows::Narrow => (NARROW, Columns::Narrow(Vec::new())),
            Windows::Packed => (NARROW, Columns::Packed(Vec::new())),
        };
        let mut steps = Steps {
            columns,
            order: Vec::new(),
            steps: Vec::new(),
            entries: Vec::new(),
        };
        for first in (0..rows).step_by(GROUP) {
            let mut left: Vec<Range<usize>> = (first..rows.min(first + GROUP))
                .map(|row| Some(*matrix.row_start.get(row)? as usize..*matrix.row_start.get(row + 1)? as usize))
                .collect::<Option<_>>()?;
            for start in (0..cols).step_by(window) {
                let end = cols.min(start + window);
                let mut lines: Vec<Line> = Vec::with_capacity(left.len());
                for (row, left) in left.iter_mut().enumerate() {
                    let columns = matrix.columns.get(left.clone())?;
                    let len = columns.partition_point(|&column| usize::from(column) < end);
                    lines.push((row as u16, left.start..left.start + len));
                    left.start += len;
                }
                lines.sort_by_key(|(_, entries)| Reverse(entries.len()));
                for slice in lines.chunks(lanes) {
                    steps.push(slice, lanes, matrix.columns, start..end)?;
                }
            }
        }
        match &mut steps.columns {
            Columns::Wide(columns) => columns.resize(columns.len() + MOST_LANES, 0),
            Columns::Narrow(columns) => columns.resize(columns.len() + MOST_LANES, 0),
            Columns::Packed(columns) => columns.push(Packed::default()),
        }
        let mut sorted = ArenaBuf::new(steps.entries.len() * size);
        for (slot, &entry) in sorted.as_mut().chunks_exact_mut(size).zip(&steps.entries) {
            let entry = entry as usize;
            slot.copy_from_slice(values.get(entry * size..(entry + 1) * size)?);
        }
        Some(Self {
            rows,
            cols,
            lanes,
            window,
            order: steps.order,
            steps: steps.steps,
            columns: steps.columns,
            values: sorted,
            value_type,
        })
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Rows of a slice.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// Bytes of it all.
    pub fn bytes(&self) -> usize {
        let columns = match &self.columns {
            Columns::Wide(columns) => size_of_val(&**columns),
            Columns::Narrow(columns) => size_of_val(&**columns),
            Columns::Packed(columns) => size_of_val(&**columns),
        };
        size_of_val(&*self.order) + size_of_val(&*self.steps) + columns + self.values.as_ref().len()
    }

    /// The values, of all steps; `None` if they are of another type.
    pub(in crate::kernel) fn values<T: Value>(&self) -> Option<&[T]> {
        match T::TYPE == self.value_type {
            true => bytemuck::try_cast_slice(self.values.as_ref()).ok(),
            false => None,
        }
    }
}

/// A row of a group, and which entries of the matrix it has in a window.
type Line = (u16, Range<usize>);

/// What slices are put together from.
struct Steps {
    order: Vec<u16>,
    steps: Vec<u16>,
    columns: Columns,
    /// Of the matrix, in the order of the columns.
    entries: Vec<u32>,
}

impl Steps {
    /// Adds rows with as many entries or fewer one after the other; `None` if a column is not in the window.
    fn push(&mut self, slice: &[Line], lanes: usize, columns: &[u16], window: Range<usize>) -> Option<()> {
        let len = |line: &Line| line.1.len();
        let reach = slice.first().map_or(0, len);
        // A slice that is not full has no step with an entry of every row.
        let whole = slice.get(lanes - 1).map_or(0, len);
        self.steps.push(u16::try_from(whole).ok()?);
        self.steps.push(u16::try_from(reach - whole).ok()?);
        for step in 0..reach {
            let count = slice.partition_point(|line| step < len(line));
            if step >= whole {
                self.steps.push(count as u16);
            }
            let mut own = [0; MOST_LANES];
            for ((_, entries), own) in slice.get(..count)?.iter().zip(&mut own) {
                let entry = entries.start + step;
                let column = usize::from(*columns.get(entry)?);
                *own = window.contains(&column).then(|| (column - window.start) as u16)?;
                self.entries.push(entry as u32);
            }
            match &mut self.columns {
                Columns::Wide(columns) => columns.extend(own.iter().take(count)),
                Columns::Narrow(columns) => columns.extend(own.iter().take(count).map(|&column| column as u8)),
                Columns::Packed(columns) => columns.push(Packed::new(&own)),
            }
        }
        self.order.extend(slice.iter().map(|&(row, _)| row));
        self.order.resize(self.order.len().next_multiple_of(lanes), 0);
        Some(())
    }
}

/// A kernel for [`Slices`].
#[derive(Clone, Copy, Debug)]
pub struct SlicesKernel {
    /// Rows of a slice.
    pub lanes: usize,
    /// Whether windows are narrow, with columns in either form.
    pub narrow: bool,
    /// Multiplies. Slices of another kind, or for more inputs or rows than there are, leave the output unwritten.
    pub run: fn(&Slices, &mut Spmv<'_>),
}

impl SlicesKernel {
    /// The windows that are best for a matrix of so many bytes.
    pub(crate) fn windows(&self, bytes: usize) -> Windows {
        match self.narrow {
            false => Windows::One,
            true if bytes > FAR_BYTES => Windows::Packed,
            true => Windows::Narrow,
        }
    }
}

/// The kernels of an instruction set, one for each type of values.
macro_rules! slices_kernels {
    ($name:ident, $isa:ident $isa_name:literal $lanes:literal; $($layout:literal $narrow:literal, $function:path;)*) => {
        pub(in crate::kernel) const $name: &[Kernel] = &[$(
            slices_kernels!($isa $isa_name $lanes $layout $narrow, $function, f32),
            slices_kernels!($isa $isa_name $lanes $layout $narrow, $function, f16),
            slices_kernels!($isa $isa_name $lanes $layout $narrow, $function, bf16),
        )*];
    };
    ($isa:ident $isa_name:literal $lanes:literal $layout:literal $narrow:literal, $function:path, $value:ident) => {
        Kernel {
            name: concat!(stringify!($value), "_spmv_", $layout, "_", $lanes, "x1__", $isa_name),
            isa: Isa::$isa,
            layout: Layout::Csr16,
            values: <$value as Value>::TYPE,
            run: Run::Slices(SlicesKernel {
                lanes: $lanes,
                narrow: $narrow,
                run: |slices, task| $function(slices, task, core::marker::PhantomData::<$value>),
            }),
        }
    };
}

#[cfg(target_arch = "x86_64")]
slices_kernels! {
    AVX512, Avx512 "avx512" 16;
    "narrow" true, super::x86::avx512::spmv_narrow;
    "slices" false, super::x86::avx512::spmv_slices;
}

#[cfg(target_arch = "x86_64")]
slices_kernels! {
    AVX2, Avx2 "avx2" 8;
    "slices" false, super::x86::avx2::spmv_slices;
}

#[cfg(target_arch = "aarch64")]
slices_kernels! {
    NEON, Neon "neon" 4;
    "slices" false, super::arm::neon::spmv_slices;
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
slices_kernels! {
    SIMD128, Simd128 "simd128" 4;
    "slices" false, super::wasm::simd128::spmv_slices;
}

slices_kernels! {
    PORTABLE, Portable "portable" 8;
    "slices" false, super::portable::spmv_slices;
}
