//! The panel kernels of each instruction set.

use secateur_format::encoding::ValueType;
use secateur_format::geometry::ConvGeometry;
use secateur_format::op::Conv2d;

use super::{Output, Pack, Panel, PanelKernel, Shape};
use crate::kernel::{Isa, Kernel, Layout, Run, generic};

/// An item with attributes that were passed on as one token tree.
macro_rules! attributed {
    ([$($attribute:tt)*] $($item:tt)*) => { $($attribute)* $($item)* };
}

/// Compiles the panel kernels for a vector type, and lists them: rows x vectors
/// as many as the registers hold with a vector of the panel and a weight beside them.
macro_rules! panel_kernels {
    (
        $features:tt mod $module:ident, $isa:ident, $vector:ty, $lanes:literal lanes;
        $($name:literal $shape:expr, $module_of:ident::$function:ident $(::<$rows:literal>)?, $vectors:literal;)*
    ) => {
        pub(in crate::kernel) mod $module {
            use super::*;
            use crate::kernel::vector::Vector;

            const _: () = assert!(<$vector as Vector>::LANES == $lanes);

            attributed! { $features
                unsafe fn pack(task: &Pack<'_>, panel: &mut [f32]) {
                    // SAFETY: the caller's promise.
                    unsafe { generic::pack::pack::<$vector>(task, panel) }
                }
            }

            attributed! { $features
                unsafe fn pad(conv: &Conv2d, geometry: &ConvGeometry, x: &[f32], packed: &mut [f32]) {
                    // SAFETY: the caller's promise.
                    unsafe { generic::pad::pad::<$vector>(conv, geometry, x, packed) }
                }
            }

            pub(in crate::kernel) const KERNELS: &[Kernel] = &[$(
                Kernel {
                    name: $name,
                    isa: Isa::$isa,
                    layout: match $shape {
                        Shape::Pair | Shape::Direct { rows: 1, .. } => Layout::Csr16,
                        Shape::Block { .. } | Shape::Direct { .. } => Layout::Block,
                        Shape::Dense { .. } => Layout::Dense,
                    },
                    values: ValueType::F32,
                    run: Run::Panel(PanelKernel {
                        shape: $shape,
                        lanes: $lanes,
                        vectors: $vectors,
                        halves: <$vector as Vector>::HALVES,
                        run: {
                            attributed! { $features
                                unsafe fn run(panel: &Panel<'_>, y: &Output<'_>) {
                                    // SAFETY: the caller's promise.
                                    unsafe { generic::$module_of::$function::<$vector $(, $rows)?, $vectors>(panel, y) }
                                }
                            }
                            run
                        },
                        pack,
                        pad,
                    }),
                },
            )*];
        }
    };
}

#[cfg(target_arch = "x86_64")]
panel_kernels! {
    [#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,avx2,fma,f16c,bmi2,popcnt")]]
    mod avx512, Avx512, crate::kernel::x86::avx512::F32x16, 16 lanes;
    "f32_panel_dense_8x48__avx512" Shape::Dense { rows: 8 }, panel::dense::<8>, 3;
    // Fewer panels where columns are few: weights that come from memory are read less often.
    "f32_panel_dense_6x64__avx512" Shape::Dense { rows: 6 }, panel::dense::<6>, 4;
    "f32_panel_pair_2x128__avx512" Shape::Pair, panel::pair, 8;
    "f32_panel_direct_1x224__avx512" Shape::Direct { rows: 1, stacked: true }, direct::stacked, 14;
    "f32_panel_direct2_2x192__avx512" Shape::Direct { rows: 2, stacked: false }, direct::direct::<2>, 12;
    "f32_panel_direct4_4x96__avx512" Shape::Direct { rows: 4, stacked: false }, direct::direct::<4>, 6;
    "f32_panel_block2_2x128__avx512" Shape::Block { rows: 2 }, panel::block::<2>, 8;
    "f32_panel_block4_4x96__avx512" Shape::Block { rows: 4 }, panel::block::<4>, 6;
    "f32_panel_block8_8x48__avx512" Shape::Block { rows: 8 }, panel::block::<8>, 3;
}

#[cfg(target_arch = "x86_64")]
panel_kernels! {
    [#[target_feature(enable = "avx2,fma,f16c,bmi2,popcnt")]]
    mod avx2, Avx2, crate::kernel::x86::avx2::F32x8, 8 lanes;
    "f32_panel_dense_6x16__avx2" Shape::Dense { rows: 6 }, panel::dense::<6>, 2;
    "f32_panel_pair_2x48__avx2" Shape::Pair, panel::pair, 6;
    "f32_panel_direct_1x96__avx2" Shape::Direct { rows: 1, stacked: false }, direct::direct::<1>, 12;
    "f32_panel_direct2_2x48__avx2" Shape::Direct { rows: 2, stacked: false }, direct::direct::<2>, 6;
    "f32_panel_direct4_4x16__avx2" Shape::Direct { rows: 4, stacked: false }, direct::direct::<4>, 2;
    "f32_panel_block2_2x48__avx2" Shape::Block { rows: 2 }, panel::block::<2>, 6;
    "f32_panel_block4_4x16__avx2" Shape::Block { rows: 4 }, panel::block::<4>, 2;
}

#[cfg(target_arch = "aarch64")]
panel_kernels! {
    [] mod neon, Neon, crate::kernel::arm::neon::F32x4, 4 lanes;
    "f32_panel_dense_8x12__neon" Shape::Dense { rows: 8 }, panel::dense::<8>, 3;
    "f32_panel_pair_2x32__neon" Shape::Pair, panel::pair, 8;
    "f32_panel_direct_1x56__neon" Shape::Direct { rows: 1, stacked: false }, direct::direct::<1>, 14;
    "f32_panel_direct2_2x48__neon" Shape::Direct { rows: 2, stacked: false }, direct::direct::<2>, 12;
    "f32_panel_direct4_4x24__neon" Shape::Direct { rows: 4, stacked: false }, direct::direct::<4>, 6;
    "f32_panel_block2_2x32__neon" Shape::Block { rows: 2 }, panel::block::<2>, 8;
    "f32_panel_block4_4x24__neon" Shape::Block { rows: 4 }, panel::block::<4>, 6;
    "f32_panel_block8_8x12__neon" Shape::Block { rows: 8 }, panel::block::<8>, 3;
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
panel_kernels! {
    [] mod simd128, Simd128, crate::kernel::wasm::simd128::F32x4, 4 lanes;
    "f32_panel_dense_6x8__simd128" Shape::Dense { rows: 6 }, panel::dense::<6>, 2;
    "f32_panel_pair_2x24__simd128" Shape::Pair, panel::pair, 6;
    "f32_panel_direct_1x48__simd128" Shape::Direct { rows: 1, stacked: false }, direct::direct::<1>, 12;
    "f32_panel_direct2_2x24__simd128" Shape::Direct { rows: 2, stacked: false }, direct::direct::<2>, 6;
    "f32_panel_direct4_4x8__simd128" Shape::Direct { rows: 4, stacked: false }, direct::direct::<4>, 2;
    "f32_panel_block2_2x24__simd128" Shape::Block { rows: 2 }, panel::block::<2>, 6;
    "f32_panel_block4_4x8__simd128" Shape::Block { rows: 4 }, panel::block::<4>, 2;
}

// Eight lanes, which are two registers of most targets without a kernel set of their own.
panel_kernels! {
    [] mod portable, Portable, crate::kernel::portable::F32x8, 8 lanes;
    "f32_panel_dense_4x8__portable" Shape::Dense { rows: 4 }, panel::dense::<4>, 1;
    "f32_panel_pair_2x16__portable" Shape::Pair, panel::pair, 2;
    "f32_panel_direct_1x32__portable" Shape::Direct { rows: 1, stacked: false }, direct::direct::<1>, 4;
    "f32_panel_direct2_2x16__portable" Shape::Direct { rows: 2, stacked: false }, direct::direct::<2>, 2;
    "f32_panel_direct4_4x8__portable" Shape::Direct { rows: 4, stacked: false }, direct::direct::<4>, 1;
    "f32_panel_block2_2x16__portable" Shape::Block { rows: 2 }, panel::block::<2>, 2;
    "f32_panel_block4_4x8__portable" Shape::Block { rows: 4 }, panel::block::<4>, 1;
}
