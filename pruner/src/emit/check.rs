//! The proof that a written file computes what the graph computes.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use secateur_format::Limits;
use secateur_format::encoding::{Matrix, Packed, Quantized, decode};
use secateur_format::graph::Graph;
use secateur_runtime::kernel::{ALL, SCALAR};
use secateur_runtime::{ArenaBuf, Model, RunError};
use thiserror::Error;

use crate::engine::Engine;
use crate::layer::multiplications;
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

/// From so many multiplications on, one input is enough if no output has fewer numbers than this:
/// they do not all cancel.
const LARGE: (u64, usize) = (500_000_000, 100);

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

/// Reads `bytes` back, runs them with every kernel list, in place and prepared, and compares
/// with the reference on pseudo-random inputs. Works on all cores.
///
/// # Errors
/// A [`CheckError`].
pub fn check(source: &Graph, lowered: &Graph, bytes: &[u8]) -> Result<Check, CheckError> {
    let samples: Vec<Vec<Vec<f32>>> = (0..sample_count(source)?)
        .map(|sample| {
            let inputs = source.inputs.iter().enumerate();
            inputs
                .map(|(i, x)| noise(x.shape.elems(), SAMPLES * i + sample))
                .collect()
        })
        .collect();
    let expect = |graph: &Graph| -> Result<Outputs, CheckError> {
        let outputs = samples.par_iter().map(|x| reference::run(graph, &slices(x)));
        outputs.collect::<Result<_, _>>().map_err(unsupported)
    };
    let aligned = ArenaBuf::copy_of(bytes);
    let model = Model::read(aligned.as_ref(), &Limits::HOST).map_err(unsupported)?;
    let decoded = sct::graph(&model).map_err(unsupported)?;
    let engines = [Engine::InPlace(ALL), Engine::InPlace(SCALAR), Engine::default()];
    let find = |engine: &Engine| -> Result<Outputs, CheckError> {
        let outputs = samples.par_iter().map(|x| run(&model, engine, &slices(x)));
        outputs.collect::<Result<_, _>>().map_err(unsupported)
    };
    let graphs = [source, lowered, &decoded];
    let (expected, found) = rayon::join(
        || graphs.into_par_iter().map(expect).collect::<Result<Vec<_>, _>>(),
        || engines.par_iter().map(find).collect::<Result<Vec<_>, _>>(),
    );
    let expected = expected?;
    let [source, lowered, stored] = expected.as_slice() else {
        return Err(unsupported("nothing to compare with"));
    };
    let lowering_error = difference(source, lowered);
    differs("lowering", lowering_error)?;
    let errors = found?
        .iter()
        .map(|found| difference(stored, found))
        .collect::<Vec<f64>>();
    let error = errors.into_iter().fold(0.0, max_or_nan);
    differs("the runtime", error)?;
    Ok(Check { error, lowering_error })
}

fn unsupported(what: impl std::fmt::Display) -> CheckError {
    CheckError::Unsupported(what.to_string())
}

/// Inputs tried with a graph.
fn sample_count(graph: &Graph) -> Result<usize, CheckError> {
    let shapes = graph.shapes().map_err(unsupported)?;
    let smallest = graph.outputs.iter().map(|id| shapes[usize::from(id.0)].elems()).min();
    let large = multiplications(graph, &shapes) >= LARGE.0 && smallest >= Some(LARGE.1);
    Ok(if large { 1 } else { SAMPLES })
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

fn run(model: &Model<'_>, engine: &Engine, inputs: &[&[f32]]) -> Result<Vec<Vec<f64>>, RunError> {
    let mut arena = ArenaBuf::for_model(model);
    let mut session = engine.session(model, arena.as_mut())?;
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
