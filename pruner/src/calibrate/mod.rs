//! Calibration: what is gathered over samples, batch by batch.

mod gram;

pub use gram::gram;
