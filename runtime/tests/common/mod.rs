//! What the tests of this crate share: random matrices in every encoding, the
//! cases every kernel must pass, graphs, and an independent reference in f64.
// Each test binary uses its own part.
#![allow(dead_code)]

pub(crate) mod approx;
pub(crate) mod case;
pub(crate) mod matrices;
pub(crate) mod net;
pub(crate) mod product;
pub(crate) mod reference;
