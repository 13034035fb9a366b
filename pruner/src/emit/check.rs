//! The proof that a written file computes what the graph computes.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use secateur_format::Limits;
use secateur_format::encoding::{Matrix, Packed, Quantized, decode};
use secateur_format::graph::Graph;
use secateur_runtime::kernel::{ALL, Kernel, SCALAR};
use secateur_runtime::{ArenaBuf, Model, RunError, Session};
use thiserror::Error;

use crate::reference;
use crate::source::sct;

/// Largest difference allowed, relative to the largest value of the output over
/// all samples: f32 rounding, summed over some tens of layers.
pub const TOLERANCE: f64 = 1e-4;

/// Outputs smaller than this are compared with this: a saturated sigmoid may
/// underflow in f32.
const SMALLEST_SCALE: f64 = 1e-3;

/// Inputs tried. More than one, because a single output may happen to cancel to
/// next to nothing.
const SAMPLES: usize = 3;

/// What the comparison found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check {
    /// Largest difference between the runtime and the f64 reference of the
    /// stored weights, relative to the largest value of the output.
    pub error: f64,
    /// The same between the graph as imported and as written, weights before
    /// rounding to the value type.
    pub lowering_error: f64,
}

/// Why a file did not pass.
#[derive(Debug, Error)]
pub enum CheckError {
    /// This build cannot run the model: a limit is exceeded, or kernels are missing.
    #[error("the model cannot be run: {0}")]
    Unsupported(String),
    /// A packed matrix does not decode to the weights it was packed from.
    #[error("an encoded weight decodes to another value, off by {error:.1e}")]
    Encoding {
        /// The largest difference of a weight.
        error: f64,
    },
    /// The file does not compute what it should.
    #[error("{what} differs from the dense reference by {error:.1e} of the largest output, {TOLERANCE:.0e} is allowed")]
    Differs {
        /// Which comparison.
        what: &'static str,
        /// The difference, relative.
        error: f64,
    },
}

/// Outputs of all samples: `[sample][output][element]`.
type Outputs = Vec<Vec<Vec<f64>>>;

/// Reads `bytes` back, runs them with every kernel list, and compares with the
/// reference on pseudo-random inputs.
///
/// # Errors
/// A [`CheckError`].
pub fn check(source: &Graph, lowered: &Graph, bytes: &[u8]) -> Result<Check, CheckError> {
    let unsupported = |what: &dyn std::fmt::Display| CheckError::Unsupported(what.to_string());
    let samples: Vec<Vec<Vec<f32>>> = (0..SAMPLES)
        .map(|sample| {
            let inputs = source.inputs.iter().enumerate();
            inputs
                .map(|(i, x)| noise(x.shape.elems(), SAMPLES * i + sample))
                .collect()
        })
        .collect();
    let expect = |graph: &Graph| -> Result<Outputs, CheckError> {
        samples
            .iter()
            .map(|x| reference::run(graph, &slices(x)).map_err(|e| unsupported(&e)))
            .collect()
    };
    let lowering_error = difference(&expect(source)?, &expect(lowered)?);
    differs("lowering", lowering_error)?;

    let aligned = ArenaBuf::copy_of(bytes);
    let model = Model::read(aligned.as_ref(), &Limits::HOST).map_err(|e| unsupported(&e))?;
    let stored = expect(&sct::graph(&model).map_err(|e| unsupported(&e))?)?;
    let mut error = 0.0f64;
    for kernels in [ALL, SCALAR] {
        let found = samples.iter().map(|x| run(&model, kernels, &slices(x)));
        let found = found
            .collect::<Result<Outputs, RunError>>()
            .map_err(|e| unsupported(&e))?;
        let list_error = difference(&stored, &found);
        differs("the runtime", list_error)?;
        error = error.max(list_error);
    }
    Ok(Check { error, lowering_error })
}

/// Checks that a packed matrix decodes to the weights it was packed from, bit for bit but
/// for the sign of zeros.
///
/// # Errors
/// [`CheckError::Encoding`].
pub(super) fn check_packed(packed: &Packed, quantized: &Quantized) -> Result<(), CheckError> {
    let payload = ArenaBuf::copy_of(&packed.payload);
    let matrix = Matrix::read(&packed.desc, payload.as_ref(), 0).map_err(|e| CheckError::Unsupported(e.to_string()))?;
    let (decoded, expected) = (decode(&matrix, &packed.desc), quantized.to_f32());
    let error = decoded
        .iter()
        .zip(&expected)
        .map(|(a, b)| f64::from((a - b).abs()))
        .fold(0.0, max_or_nan);
    if error == 0.0 && decoded.len() == expected.len() {
        return Ok(());
    }
    Err(CheckError::Encoding { error })
}

fn slices(inputs: &[Vec<f32>]) -> Vec<&[f32]> {
    inputs.iter().map(Vec::as_slice).collect()
}

fn differs(what: &'static str, error: f64) -> Result<(), CheckError> {
    if error <= TOLERANCE {
        Ok(())
    } else {
        Err(CheckError::Differs { what, error })
    }
}

fn run(model: &Model<'_>, kernels: &'static [Kernel], inputs: &[&[f32]]) -> Result<Vec<Vec<f64>>, RunError> {
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

/// Largest difference, relative to the largest expected value of the output; NaN if one is NaN.
fn difference(expected: &Outputs, found: &Outputs) -> f64 {
    let outputs = expected.first().map_or(0, Vec::len);
    let errors = (0..outputs).map(|output| {
        let values = |all: &Outputs| {
            all.iter()
                .flat_map(|sample| sample[output].clone())
                .collect::<Vec<f64>>()
        };
        let (expected, found) = (values(expected), values(found));
        let scale = expected.iter().fold(SMALLEST_SCALE, |max, y| max.max(y.abs()));
        expected
            .iter()
            .zip(&found)
            .map(|(a, b)| (a - b).abs() / scale)
            .fold(0.0, max_or_nan)
    });
    errors.fold(0.0, max_or_nan)
}

/// The larger; NaN wins, so that it is not lost.
fn max_or_nan(max: f64, x: f64) -> f64 {
    if x.is_nan() || x > max { x } else { max }
}

/// Uniform in -1..1.
fn noise(len: usize, stream: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    rng.set_stream(stream as u64);
    (0..len)
        .map(|_| (rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0)
        .collect()
}
