//! The one list of kernels that selection, tests, benches and the `kernels`
//! command expand. A kernel that is not here does not exist.

use half::{bf16, f16};
use secateur_format::encoding::{Bitmask, Block, Csr16, Dense, Encoding, Matrix, Nm, ValueType, View, Win8};

#[cfg(target_arch = "aarch64")]
use super::arm::neon;
use super::contract::{DirectConv, Spmm, Spmv};
use super::planar::{Depthwise, Map, Pooling};
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use super::wasm::simd128;
#[cfg(target_arch = "x86_64")]
use super::x86::{avx2, avx512};
use super::{portable, scalar};

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
    /// Convolution of every channel on its own.
    Depthwise(fn(&Matrix<'_>, &mut Depthwise<'_>)),
    /// Pooling.
    Pool(fn(&mut Pooling<'_>)),
    /// Element-wise functions.
    Map(fn(&mut Map<'_>)),
    /// Repacked weights times a packed panel.
    #[cfg(feature = "alloc")]
    Panel(super::panel::PanelKernel),
    /// Rows side by side times vector.
    #[cfg(feature = "alloc")]
    Slices(super::slices::SlicesKernel),
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
    /// [`Run::Depthwise`]
    Depthwise,
    /// [`Run::Pool`]
    Pool,
    /// [`Run::Map`]
    Map,
    /// [`Run::Panel`]
    #[cfg(feature = "alloc")]
    Panel,
    /// [`Run::Slices`]
    #[cfg(feature = "alloc")]
    Slices,
}

/// Instruction set a kernel is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust, one number at a time.
    Scalar,
    /// The `wide` crate: the vectors of the compilation target.
    Portable,
    /// x86-64: AVX2 with FMA.
    Avx2,
    /// x86-64: AVX-512 as of Ice Lake and Zen 4.
    Avx512,
    /// AArch64.
    Neon,
    /// WebAssembly.
    Simd128,
}

impl Isa {
    /// Whether the CPU at hand has it: asked at run time with `std`, fixed at
    /// compile time without.
    pub fn available(self) -> bool {
        match self {
            Self::Scalar | Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::available(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
            Self::Neon => cfg!(target_arch = "aarch64"),
            Self::Simd128 => cfg!(all(target_arch = "wasm32", target_feature = "simd128")),
        }
    }
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
    /// No weights.
    Activations,
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
            Run::Depthwise(_) => Problem::Depthwise,
            Run::Pool(_) => Problem::Pool,
            Run::Map(_) => Problem::Map,
            #[cfg(feature = "alloc")]
            Run::Panel(_) => Problem::Panel,
            #[cfg(feature = "alloc")]
            Run::Slices(_) => Problem::Slices,
        }
    }
}

/// The first kernel of the list for a problem and matrix that this CPU can run.
pub fn select(
    kernels: &'static [Kernel],
    problem: Problem,
    encoding: Encoding,
    values: ValueType,
) -> Option<&'static Kernel> {
    let layout = Layout::of(encoding)?;
    kernels
        .iter()
        .find(|k| k.problem() == problem && k.layout == layout && k.values == values && k.isa.available())
}

/// The first kernel of the list for a problem without weights that this CPU can run.
pub fn weightless(kernels: &'static [Kernel], problem: Problem) -> Option<&'static Kernel> {
    kernels.iter().find(|k| k.problem() == problem && k.isa.available())
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

/// One line per kernel: every value type of it, then those without weights.
macro_rules! kernels {
    (
        $($isa:ident $isa_name:literal: $run:ident $problem:literal $tile:literal, $view:ident $layout:literal, $function:path;)*
        $(@weightless $own_isa:ident $own_name:literal: $own_run:ident $own_problem:literal $own_tile:literal, $own:path;)*
    ) => {
        &[$(
            entry!($isa $isa_name, $run $problem $tile, $view $layout, f32, $function),
            entry!($isa $isa_name, $run $problem $tile, $view $layout, f16, $function),
            entry!($isa $isa_name, $run $problem $tile, $view $layout, bf16, $function),
        )* $(
            Kernel {
                name: concat!("f32_", $own_problem, "_activations_", $own_tile, "__", $own_name),
                isa: Isa::$own_isa,
                layout: Layout::Activations,
                values: ValueType::F32,
                run: Run::$own_run($own),
            },
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

/// AVX-512.
#[cfg(target_arch = "x86_64")]
pub const AVX512: &[Kernel] = kernels! {
    Avx512 "avx512": Spmv "spmv" "1x16", Dense "dense", avx512::spmv_dense;
    Avx512 "avx512": Spmv "spmv" "1x16", Csr16 "csr16", avx512::spmv_csr16;
    Avx512 "avx512": Spmv "spmv" "1x16", Win8 "win8", avx512::spmv_win8;
    Avx512 "avx512": Spmv "spmv" "1x16", Bitmask "bitmask", avx512::spmv_bitmask;
    Avx512 "avx512": Spmv "spmv" "1x16", Nm "nm", avx512::spmv_nm;
    Avx512 "avx512": Spmv "spmv" "16x1", Block "block", avx512::spmv_block;
    Avx512 "avx512": Spmm "spmm" "4x96", Dense "dense", avx512::spmm_dense;
    Avx512 "avx512": Spmm "spmm" "1x128", Csr16 "csr16", avx512::spmm;
    Avx512 "avx512": Spmm "spmm" "1x128", Win8 "win8", avx512::spmm;
    Avx512 "avx512": Spmm "spmm" "1x128", Bitmask "bitmask", avx512::spmm;
    Avx512 "avx512": Spmm "spmm" "1x128", Nm "nm", avx512::spmm;
    Avx512 "avx512": Spmm "spmm" "4x96", Block "block", avx512::spmm_block;
    Avx512 "avx512": Depthwise "depthwise" "2x16", Dense "dense", avx512::depthwise;
    @weightless Avx512 "avx512": Pool "pool" "2x16", avx512::pool;
    @weightless Avx512 "avx512": Map "map" "1x16", avx512::map;
};

/// AVX2 with FMA.
#[cfg(target_arch = "x86_64")]
pub const AVX2: &[Kernel] = kernels! {
    Avx2 "avx2": Spmv "spmv" "1x8", Dense "dense", avx2::spmv_dense;
    Avx2 "avx2": Spmv "spmv" "1x8", Csr16 "csr16", avx2::spmv_csr16;
    Avx2 "avx2": Spmv "spmv" "1x8", Win8 "win8", avx2::spmv_win8;
    Avx2 "avx2": Spmv "spmv" "1x8", Bitmask "bitmask", avx2::spmv_bitmask;
    Avx2 "avx2": Spmv "spmv" "1x8", Nm "nm", avx2::spmv_nm;
    Avx2 "avx2": Spmv "spmv" "8x1", Block "block", avx2::spmv_block;
    Avx2 "avx2": Spmm "spmm" "4x24", Dense "dense", avx2::spmm_dense;
    Avx2 "avx2": Spmm "spmm" "1x64", Csr16 "csr16", avx2::spmm;
    Avx2 "avx2": Spmm "spmm" "1x64", Win8 "win8", avx2::spmm;
    Avx2 "avx2": Spmm "spmm" "1x64", Bitmask "bitmask", avx2::spmm;
    Avx2 "avx2": Spmm "spmm" "1x64", Nm "nm", avx2::spmm;
    Avx2 "avx2": Spmm "spmm" "4x24", Block "block", avx2::spmm_block;
    Avx2 "avx2": Depthwise "depthwise" "2x8", Dense "dense", avx2::depthwise;
    @weightless Avx2 "avx2": Pool "pool" "2x8", avx2::pool;
    @weightless Avx2 "avx2": Map "map" "1x8", avx2::map;
};

/// NEON.
#[cfg(target_arch = "aarch64")]
pub const NEON: &[Kernel] = kernels! {
    Neon "neon": Spmv "spmv" "1x4", Dense "dense", neon::spmv_dense;
    Neon "neon": Spmv "spmv" "1x4", Csr16 "csr16", neon::spmv_csr16;
    Neon "neon": Spmv "spmv" "1x4", Win8 "win8", neon::spmv_win8;
    Neon "neon": Spmv "spmv" "1x4", Bitmask "bitmask", neon::spmv_bitmask;
    Neon "neon": Spmv "spmv" "1x4", Nm "nm", neon::spmv_nm;
    Neon "neon": Spmv "spmv" "4x1", Block "block", neon::spmv_block;
    Neon "neon": Spmm "spmm" "4x24", Dense "dense", neon::spmm_dense;
    Neon "neon": Spmm "spmm" "1x32", Csr16 "csr16", neon::spmm;
    Neon "neon": Spmm "spmm" "1x32", Win8 "win8", neon::spmm;
    Neon "neon": Spmm "spmm" "1x32", Bitmask "bitmask", neon::spmm;
    Neon "neon": Spmm "spmm" "1x32", Nm "nm", neon::spmm;
    Neon "neon": Spmm "spmm" "4x24", Block "block", neon::spmm_block;
    Neon "neon": Depthwise "depthwise" "2x4", Dense "dense", neon::depthwise;
    @weightless Neon "neon": Pool "pool" "2x4", neon::pool;
    @weightless Neon "neon": Map "map" "1x4", neon::map;
};

/// WebAssembly vectors.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub const SIMD128: &[Kernel] = kernels! {
    Simd128 "simd128": Spmv "spmv" "1x4", Dense "dense", simd128::spmv_dense;
    Simd128 "simd128": Spmv "spmv" "1x4", Csr16 "csr16", simd128::spmv_csr16;
    Simd128 "simd128": Spmv "spmv" "1x4", Win8 "win8", simd128::spmv_win8;
    Simd128 "simd128": Spmv "spmv" "1x4", Bitmask "bitmask", simd128::spmv_bitmask;
    Simd128 "simd128": Spmv "spmv" "1x4", Nm "nm", simd128::spmv_nm;
    Simd128 "simd128": Spmv "spmv" "4x1", Block "block", simd128::spmv_block;
    Simd128 "simd128": Spmm "spmm" "4x8", Dense "dense", simd128::spmm_dense;
    Simd128 "simd128": Spmm "spmm" "1x32", Csr16 "csr16", simd128::spmm;
    Simd128 "simd128": Spmm "spmm" "1x32", Win8 "win8", simd128::spmm;
    Simd128 "simd128": Spmm "spmm" "1x32", Bitmask "bitmask", simd128::spmm;
    Simd128 "simd128": Spmm "spmm" "1x32", Nm "nm", simd128::spmm;
    Simd128 "simd128": Spmm "spmm" "4x8", Block "block", simd128::spmm_block;
    Simd128 "simd128": Depthwise "depthwise" "2x4", Dense "dense", simd128::depthwise;
    @weightless Simd128 "simd128": Pool "pool" "2x4", simd128::pool;
    @weightless Simd128 "simd128": Map "map" "1x4", simd128::map;
};

/// Vectors of the compilation target, through `wide`.
pub const PORTABLE: &[Kernel] = kernels! {
    Portable "portable": Spmv "spmv" "1x8", Dense "dense", portable::spmv_dense;
    Portable "portable": Spmv "spmv" "1x8", Csr16 "csr16", portable::spmv_csr16;
    Portable "portable": Spmv "spmv" "1x8", Win8 "win8", portable::spmv_win8;
    Portable "portable": Spmv "spmv" "1x8", Bitmask "bitmask", portable::spmv_bitmask;
    Portable "portable": Spmv "spmv" "1x8", Nm "nm", portable::spmv_nm;
    Portable "portable": Spmv "spmv" "8x1", Block "block", portable::spmv_block;
    Portable "portable": Spmm "spmm" "4x8", Dense "dense", portable::spmm_dense;
    Portable "portable": Spmm "spmm" "1x32", Csr16 "csr16", portable::spmm;
    Portable "portable": Spmm "spmm" "1x32", Win8 "win8", portable::spmm;
    Portable "portable": Spmm "spmm" "1x32", Bitmask "bitmask", portable::spmm;
    Portable "portable": Spmm "spmm" "1x32", Nm "nm", portable::spmm;
    Portable "portable": Spmm "spmm" "4x8", Block "block", portable::spmm_block;
    Portable "portable": Depthwise "depthwise" "2x8", Dense "dense", portable::depthwise;
    @weightless Portable "portable": Pool "pool" "2x8", portable::pool;
    @weightless Portable "portable": Map "map" "1x8", portable::map;
};

/// The lists of this build, the preferred first.
const LISTS: &[&[Kernel]] = &[
    #[cfg(all(target_arch = "x86_64", feature = "alloc"))]
    super::panel::kernels::avx512::KERNELS,
    #[cfg(all(target_arch = "x86_64", feature = "alloc"))]
    super::slices::AVX512,
    #[cfg(target_arch = "x86_64")]
    AVX512,
    #[cfg(all(target_arch = "x86_64", feature = "alloc"))]
    super::panel::kernels::avx2::KERNELS,
    #[cfg(all(target_arch = "x86_64", feature = "alloc"))]
    super::slices::AVX2,
    #[cfg(target_arch = "x86_64")]
    AVX2,
    #[cfg(all(target_arch = "aarch64", feature = "alloc"))]
    super::panel::kernels::neon::KERNELS,
    #[cfg(all(target_arch = "aarch64", feature = "alloc"))]
    super::slices::NEON,
    #[cfg(target_arch = "aarch64")]
    NEON,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128", feature = "alloc"))]
    super::panel::kernels::simd128::KERNELS,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128", feature = "alloc"))]
    super::slices::SIMD128,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    SIMD128,
    #[cfg(feature = "alloc")]
    super::panel::kernels::portable::KERNELS,
    #[cfg(feature = "alloc")]
    super::slices::PORTABLE,
    PORTABLE,
    SCALAR,
];

/// All kernels of this build, the preferred first. [`select`] skips those that
/// the CPU cannot run.
///
/// No constant: each crate that named it would compile all kernels again.
pub static ALL: &[Kernel] = &join::<{ total(LISTS) }>(LISTS);

/// [`ALL`] without what is preferred to the kernels of `isa`; empty if this build has none of it.
pub fn up_to(isa: Isa) -> &'static [Kernel] {
    let first = ALL.iter().position(|k| k.isa == isa);
    first.and_then(|first| ALL.get(first..)).unwrap_or(&[])
}

/// Kernels of all lists.
const fn total(lists: &[&[Kernel]]) -> usize {
    let (mut list, mut total) = (0, 0);
    while list < lists.len() {
        total += lists[list].len();
        list += 1;
    }
    total
}

/// All lists in one.
const fn join<const N: usize>(lists: &[&[Kernel]]) -> [Kernel; N] {
    let mut all = [SCALAR[0]; N];
    let (mut list, mut to) = (0, 0);
    while list < lists.len() {
        let mut from = 0;
        while from < lists[list].len() {
            all[to] = lists[list][from];
            from += 1;
            to += 1;
        }
        list += 1;
    }
    all
}
