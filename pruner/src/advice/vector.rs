//! The ways to multiply a matrix with one vector: one per encoding.

use std::time::{Duration, Instant};

use secateur_format::encoding::{Encoding, Matrix, Quantized, decode, pack};
use secateur_format::{Activation, Op};
use secateur_runtime::kernel::{Kernel, Problem, Run, Spmv, select};
use secateur_runtime::{ArenaBuf, Model, Node};

use super::{Effort, Layout, Way};
use crate::emit::{EncodingChoice, candidates};

/// The stored encoding, then the others, the smallest first; `None` for what is no product with one vector.
pub(super) fn ways(model: &Model<'_>, node: &Node<'_>, kernels: &'static [Kernel], effort: Effort) -> Option<Vec<Way>> {
    let Op::Linear(linear) = &node.op else { return None };
    if model.shape(node.output).elems() != linear.out_features as usize {
        return None;
    }
    let (desc, matrix) = model.tensor(linear.weight)?;
    let quantized = Quantized::new(&decode(&matrix, &desc), desc.cols, desc.values).ok()?;
    let others = candidates(&quantized, EncodingChoice::Auto);
    let others = others.iter().map(|candidate| candidate.desc.encoding);
    let encodings = std::iter::once(desc.encoding).chain(others.filter(|encoding| *encoding != desc.encoding));
    let shown = encodings.enumerate().filter(|(i, encoding)| {
        let chosen = *i == 0 || *encoding == Encoding::Dense;
        chosen || effort == Effort::All
    });
    let ways = shown.filter_map(|(_, encoding)| {
        let packed = pack(&quantized, encoding).ok()?;
        let payload = ArenaBuf::copy_of(&packed.payload);
        let matrix = Matrix::read(&packed.desc, payload.as_ref(), 0).ok()?;
        let kernel = select(kernels, Problem::Spmv, encoding, desc.values)?;
        Some(Way {
            kernel,
            dense: encoding == Encoding::Dense,
            layout: Layout::Encoded(encoding),
            bytes: packed.payload.len() as u64,
            predicted_us: None,
            measured_us: Some(time(kernel, &matrix, desc.rows as usize, desc.cols as usize)?),
        })
    });
    Some(ways.collect())
}

/// The least time of a few runs, in microseconds.
fn time(kernel: &Kernel, matrix: &Matrix<'_>, rows: usize, cols: usize) -> Option<f64> {
    let Run::Spmv(run) = kernel.run else { return None };
    let (x, mut y) = (vec![0.5; cols], vec![0.0; rows]);
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    let mut runs = 0;
    while runs < 3 || (runs < 100 && start.elapsed() < Duration::from_millis(2)) {
        let start = Instant::now();
        let mut task = Spmv {
            bias: None,
            activation: Activation::Identity,
            x: &x,
            y: &mut y,
        };
        run(matrix, &mut task);
        best = best.min(start.elapsed().as_secs_f64() * 1e6);
        runs += 1;
    }
    Some(best)
}
