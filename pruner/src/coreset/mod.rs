//! Coresets: few points that stand for many, whatever is asked of them (arXiv 2209.08554).
//!
//! `f(x) = Σ w_i · φ(p_i · x)` is to be kept by few `p_i`. How much a point can matter follows from convex geometry alone:
//! points that the minimum-volume ellipsoid around all of them needs matter most.

mod ellipsoid;
mod hull;
mod sensitivity;

pub use sensitivity::{draw, sensitivities};
