//! Arithmetic: the contracts, the kernels, and the one list of them.
//!
//! Every kernel of a problem computes the same sums. The order of accumulation
//! of an output is the order of the stored entries of its row, starting from
//! the bias; SpMV kernels that keep partial sums, pairs and direct convolutions say so. The kernels of [`SCALAR`] are the
//! oracle of all others.
//!
//! Kernels are written once in `generic`, over the `Vector` trait, and
//! instantiated for each instruction set in a folder of its own.

#[allow(unsafe_code)]
mod activation;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
mod arm;
mod contract;
#[allow(unsafe_code)]
mod generic;
#[cfg(feature = "alloc")]
#[allow(unsafe_code)]
pub mod panel;
mod planar;
#[allow(unsafe_code)]
mod portable;
mod registry;
mod scalar;
#[cfg(feature = "alloc")]
pub mod slices;
#[allow(unsafe_code)]
mod vector;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[allow(unsafe_code)]
mod wasm;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86;

pub use activation::apply;
pub use contract::{DirectConv, Offsets, Spmm, Spmv};
pub use planar::{Combine, Depthwise, Map, Pooling};
#[cfg(target_arch = "aarch64")]
pub use registry::NEON;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use registry::SIMD128;
pub use registry::{ALL, Isa, Kernel, Layout, PORTABLE, Problem, Run, SCALAR, SCALAR_F32, select, up_to, weightless};
#[cfg(target_arch = "x86_64")]
pub use registry::{AVX2, AVX512};
