//! The kernels of all instruction sets, written once over the
//! [`Vector`](super::vector::Vector) trait.
//!
//! What uses vectors is `#[inline(always)]`, down to the row iterators of the
//! format: it has to end up inside a function that carries the features of the
//! instruction set, where the intrinsics can be inlined. [`instantiate`] writes
//! these functions.

mod depthwise;
#[cfg(feature = "alloc")]
pub(super) mod direct;
#[cfg(feature = "alloc")]
mod ends;
mod map;
#[cfg(feature = "alloc")]
pub(super) mod pack;
#[cfg(feature = "alloc")]
pub(super) mod pad;
#[cfg(feature = "alloc")]
pub(super) mod panel;
#[cfg(feature = "alloc")]
mod planes;
mod pool;
mod spmm;
mod spmv;
#[cfg(feature = "alloc")]
mod steps;
#[cfg(feature = "alloc")]
mod sums;
mod tile;
mod window;

pub(super) use depthwise::depthwise;
pub(super) use map::map;
pub(super) use pool::pool;
pub(super) use spmm::{spmm, spmm_block, spmm_dense};
pub(super) use spmv::{Decode, spmv_bitmask, spmv_block, spmv_csr16, spmv_dense, spmv_nm, spmv_win8};
#[cfg(target_arch = "x86_64")]
pub(super) use spmv::{Expand, MOST_SOURCES, position_bits, spmv_expanded};
#[cfg(feature = "alloc")]
pub(super) use spmv::{FAR_BYTES, spmv_slices};
#[cfg(all(target_arch = "x86_64", feature = "alloc"))]
pub(super) use spmv::{Near, spmv_narrow};
pub(super) use tile::tile;

/// Defines `available()` and the kernels for a vector type: with the features
/// they are compiled for, or for one whose instructions the target always has.
macro_rules! instantiate {
    (tiles $vector:ty, [$($attribute:tt)*]) => {
        $($attribute)*
        unsafe fn tile<const R: usize, const N: usize, const PART: bool>(step: &mut Step<'_, '_, R>, tile: &Tile) {
            // SAFETY: the caller's promise; this function is compiled for the vector's instruction set.
            unsafe { generic::tile::<$vector, R, N, PART>(step, tile) }
        }
        static TILES: Tiles = Tiles {
            lanes: <$vector as Vector>::LANES,
            one: instantiate!(rows $vector, 1),
            two: instantiate!(rows $vector, 2),
            four: instantiate!(rows $vector, 4),
        };
    };
    (rows $vector:ty, $rows:literal) => {
        Rows {
            widest: widest::<$vector>($rows),
            part: tile::<$rows, 1, true>,
            tiles: instantiate!(rows $vector, $rows, 1 2 3 4 5 6 7 8),
        }
    };
    (rows $vector:ty, $rows:literal, $($vectors:literal)*) => {
        // No wider ones than there are registers for.
        [$(tile::<
            $rows,
            { if $vectors < widest::<$vector>($rows) { $vectors } else { widest::<$vector>($rows) } },
            false,
        >),*]
    };
    (tiled $name:ident[$($parameters:tt)*]($view:ty)) => {
        pub(in crate::kernel) fn $name<$($parameters)*>(view: &$view, task: &mut Spmm<'_>, value: PhantomData<V>) {
            if available() {
                // SAFETY: the CPU has the instruction set of the tiles.
                unsafe { generic::$name(view, task, value, &TILES) }
            }
        }
    };
    ($vector:ty, $features:literal: $($feature:tt)*) => {
        /// Whether this CPU has all features that the kernels are compiled for.
        pub(in crate::kernel) fn available() -> bool {
            true $(&& has!($feature))*
        }
        instantiate!($vector, [#[target_feature(enable = $features)]]);
    };
    ($vector:ty) => {
        /// The target has the instructions.
        const fn available() -> bool {
            true
        }
        instantiate!($vector, []);
    };
    ($vector:ty, $attributes:tt) => {
        instantiate!(tiles $vector, $attributes);
        instantiate!(tiled spmm['a, E: View<'a>, V: Value](E));
        instantiate!(tiled spmm_dense[V: Value](Dense<'_>));
        instantiate!(tiled spmm_block[V: Value](Block<'_>));
        instantiate!($vector, $attributes, spmv_dense[V: Value][V](Dense<'_>, Spmv));
        instantiate!($vector, $attributes, spmv_csr16[V: Value][V](Csr16<'_>, Spmv));
        instantiate!($vector, $attributes, spmv_win8[V: Value][V](Win8<'_>, Spmv));
        instantiate!($vector, $attributes, spmv_bitmask[V: Value][V](Bitmask<'_>, Spmv));
        instantiate!($vector, $attributes, spmv_nm[V: Value][V](Nm<'_>, Spmv));
        instantiate!($vector, $attributes, spmv_block[V: Value][V](Block<'_>, Spmv));
        #[cfg(feature = "alloc")]
        instantiate!($vector, $attributes, spmv_slices[V: Value][V](Slices, Spmv));
        instantiate!($vector, $attributes, depthwise[V: Value][V](Dense<'_>, Depthwise));
        instantiate!($vector, $attributes, pool(Pooling));
        instantiate!($vector, $attributes, map(Map));
    };
    ($vector:ty, [$($attribute:tt)*], $name:ident[$($parameters:tt)*][$($arguments:tt)*]($view:ty, $task:ident)) => {
        pub(in crate::kernel) fn $name<$($parameters)*>(view: &$view, task: &mut $task<'_>, value: PhantomData<V>) {
            $($attribute)*
            unsafe fn compiled<$($parameters)*>(view: &$view, task: &mut $task<'_>, value: PhantomData<V>) {
                // SAFETY: this function is compiled for the vector's instruction set.
                unsafe { generic::$name::<$vector, $($arguments)*>(view, task, value) }
            }
            if available() {
                // SAFETY: the CPU has it.
                unsafe { compiled::<$($arguments)*>(view, task, value) }
            }
        }
    };
    ($vector:ty, [$($attribute:tt)*], $name:ident($task:ident)) => {
        pub(in crate::kernel) fn $name(task: &mut $task<'_>) {
            $($attribute)*
            unsafe fn compiled(task: &mut $task<'_>) {
                // SAFETY: this function is compiled for the vector's instruction set.
                unsafe { generic::$name::<$vector>(task) }
            }
            if available() {
                // SAFETY: the CPU has it.
                unsafe { compiled(task) }
            }
        }
    };
}
pub(super) use instantiate;

/// What [`instantiate`] names.
pub(super) mod instance {
    pub(in crate::kernel) use core::marker::PhantomData;

    pub(in crate::kernel) use secateur_format::encoding::{Bitmask, Block, Csr16, Dense, Nm, Value, View, Win8};

    pub(in crate::kernel) use super::instantiate;
    pub(in crate::kernel) use super::tile::{Rows, Step, Tile, Tiles, widest};
    pub(in crate::kernel) use crate::kernel::generic;
    #[cfg(feature = "alloc")]
    pub(in crate::kernel) use crate::kernel::slices::Slices;
    pub(in crate::kernel) use crate::kernel::{Depthwise, Map, Pooling, Spmm, Spmv};
}
