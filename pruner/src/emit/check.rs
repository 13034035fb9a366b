//! The proof that a written file computes what the graph computes.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use secateur_format::Limits;
use secateur_format::graph::Graph;
use secateur_runtime::kernel::{ALL, Kernel, SCALAR};
use secateur_runtime::{ArenaBuf, Model, Session};

use super::EmitError;
use crate::reference;
use crate::source::sct;

/// Largest difference allowed, relative to the largest output: f32 rounding,
/// summed over some tens of layers.
pub const TOLERANCE: f64 = 1e-4;

/// What the comparison found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check {
    /// Largest difference between the runtime and the f64 reference of the
    /// stored weights, relative to the largest output.
    pub error: f64,
    /// The same between the graph as imported and as written, weights before
    /// rounding to the value type.
    pub lowering_error: f64,
}

/// Reads `bytes` back, runs them with every kernel list, and compares with the
/// reference on pseudo-random input.
///
/// # Errors
/// [`EmitError::Check`].
pub fn check(source: &Graph, lowered: &Graph, bytes: &[u8]) -> Result<Check, EmitError> {
    let failed = |what: &dyn std::fmt::Display| EmitError::Check(what.to_string());
    let inputs: Vec<Vec<f32>> = source
        .inputs
        .iter()
        .enumerate()
        .map(|(i, x)| noise(x.shape.elems(), i))
        .collect();
    let slices: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let expected = reference::run(source, &slices)?;
    let lowering_error = difference(&expected, &reference::run(lowered, &slices)?);

    let aligned = ArenaBuf::copy_of(bytes);
    let model = Model::read(aligned.as_ref(), &Limits::HOST).map_err(|e| failed(&e))?;
    let stored = reference::run(&sct::graph(&model).map_err(|e| failed(&e))?, &slices)?;
    let mut error = 0.0f64;
    for kernels in [ALL, SCALAR] {
        error = error.max(difference(
            &stored,
            &run(&model, kernels, &slices).map_err(|e| failed(&e))?,
        ));
    }
    for (what, error) in [("lowering", lowering_error), ("the runtime", error)] {
        if error.is_nan() || error > TOLERANCE {
            let text = format!("{what} differs from the dense reference by {error:.1e} of the largest output");
            return Err(EmitError::Check(text));
        }
    }
    Ok(Check { error, lowering_error })
}

fn run(
    model: &Model<'_>,
    kernels: &'static [Kernel],
    inputs: &[&[f32]],
) -> Result<Vec<Vec<f64>>, secateur_runtime::RunError> {
    let mut arena = ArenaBuf::for_model(model);
    let mut session = Session::with_kernels(model, arena.as_mut(), kernels)?;
    for (i, input) in inputs.iter().enumerate() {
        session.input_mut(i)?.copy_from_slice(input);
    }
    session.run()?;
    let outputs = 0..model.outputs().len();
    outputs
        .map(|i| Ok(session.output(i)?.iter().map(|&y| f64::from(y)).collect()))
        .collect()
}

/// Largest difference, relative to the largest expected output.
pub(crate) fn difference(expected: &[Vec<f64>], found: &[Vec<f64>]) -> f64 {
    let largest = expected
        .iter()
        .flatten()
        .fold(f64::MIN_POSITIVE, |max, y| max.max(y.abs()));
    let pairs = expected.iter().flatten().zip(found.iter().flatten());
    // A NaN anywhere must not be lost in `max`.
    let worst = pairs
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |max: f64, d| if d.is_nan() || d > max { d } else { max });
    worst / largest
}

/// Uniform in -1..1.
fn noise(len: usize, stream: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    rng.set_stream(stream as u64);
    (0..len)
        .map(|_| (rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0)
        .collect()
}
