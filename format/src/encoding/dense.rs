//! `dense`: all weights, row by row. Payload: `values[rows · cols]`.

use super::{MatrixDesc, Payload, RowSink, Value, Values};
use crate::chunks::chunks;

/// View of a dense matrix.
#[derive(Clone, Copy, Debug)]
pub struct Dense<'a> {
    /// Columns.
    pub cols: u32,
    /// All weights, row-major.
    pub values: Values<'a>,
}

impl<'a> Dense<'a> {
    pub(super) fn split(desc: &MatrixDesc, scales: &'a [f32], payload: &mut Payload<'a>) -> Option<Self> {
        Some(Self {
            cols: desc.cols,
            values: Values::split(desc, scales, payload)?,
        })
    }

    #[inline(always)]
    pub(super) fn visit_rows<V: Value>(&self, sink: &mut impl RowSink) {
        let Some(values) = V::slice(&self.values) else { return };
        for (row, weights) in chunks(values, self.cols as usize).enumerate() {
            sink.row(row, weights.iter().map(|w| w.to_f32()).enumerate());
        }
    }
}
