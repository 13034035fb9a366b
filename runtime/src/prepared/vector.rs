//! Linear layers of one token: the matrix in one of several encodings, its rows shared among threads.

use alloc::vec::Vec;

use secateur_format::container::TunedNode;
use secateur_format::encoding::{BlockIndex, Encoding, Matrix, MatrixDesc, Quantized, WINDOW, decode, describe, pack};
use secateur_format::op::Linear;
use secateur_format::{Model, Node, Op, Shape};

use super::threads::LEAST_SHARED_NS;
use super::vector_weights::VectorWeights;
use super::{Choice, Options, Threads};
use crate::RunError;
use crate::arena::Carved;
use crate::kernel::slices::NARROW;
use crate::kernel::{Kernel, Layout, Problem, Run, Spmv, select};
use crate::op::linear;

/// Rows of a part are a multiple of this, or of the largest power of two that divides their number:
/// no block is cut.
const MOST_UNIT: usize = 16;
/// Second-level cache that weights may count on: vectors take next to nothing of it.
const L2_BYTES: f64 = 960.0 * 1024.0;
/// Weights beyond this come from memory: half of a third-level cache that others use, too.
const L3_BYTES: f64 = 16.0 * 1024.0 * 1024.0;
/// Columns of a word of a mask.
const WORD: u32 = 64;

/// A linear layer of one token: what there is to choose an encoding for.
#[derive(Debug)]
pub struct VectorTask<'m> {
    linear: Linear,
    desc: MatrixDesc,
    matrix: Matrix<'m>,
    weights: Quantized,
}

/// A way to run it.
#[derive(Clone, Copy, Debug)]
pub struct VectorCandidate {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// How the weights lie in memory.
    pub encoding: Encoding,
    /// Bytes of them in that encoding; side by side, rows take about as many.
    pub bytes: u64,
    /// Predicted time on one thread, in nanoseconds.
    pub predicted_ns: f64,
}

impl<'m> VectorTask<'m> {
    /// The task of a node; `None` for any but linear layers of one token.
    pub fn new(model: &Model<'m>, node: &Node<'m>) -> Option<Self> {
        let Op::Linear(linear) = node.op else { return None };
        let input = node.inputs().next().map_or(Shape::SCALAR, |id| model.shape(id));
        if linear::tokens(input) != 1 {
            return None;
        }
        let (desc, matrix) = model.tensor(linear.weight)?;
        let weights = Quantized::new(&decode(&matrix, &desc), desc.cols, desc.values).ok()?;
        Some(Self {
            linear,
            desc,
            matrix,
            weights,
        })
    }

    /// The encoding of the file and others, the fastest prediction first. The values keep their type.
    pub fn candidates(&self, options: &Options) -> Vec<VectorCandidate> {
        let others = [Encoding::Dense, Encoding::Csr16, Encoding::Bitmask];
        let others = others.into_iter().filter(|other| *other != self.desc.encoding);
        let encodings = core::iter::once(self.desc.encoding).chain(others);
        let ways = encodings.map(|encoding| (Problem::Spmv, encoding));
        let mut found: Vec<VectorCandidate> = ways
            .chain([(Problem::Slices, Encoding::Csr16)])
            .filter_map(|(problem, encoding)| {
                let desc = match encoding == self.desc.encoding {
                    true => self.desc,
                    false => describe(&self.weights, encoding).ok()?,
                };
                let kernel = select(options.kernels, problem, encoding, desc.values)?;
                let terms = work(&desc, kernel)?;
                let costs = costs_of(kernel);
                Some(VectorCandidate {
                    kernel,
                    encoding,
                    bytes: desc.payload_len()?,
                    predicted_ns: terms.iter().zip(costs).map(|(term, cost)| term * cost).sum(),
                })
            })
            .collect();
        found.sort_by(|a, b| a.predicted_ns.total_cmp(&b.predicted_ns));
        found
    }

    /// The layer as it was tuned, where that can be, or the fastest; `None` without a kernel.
    pub(super) fn best(
        &self,
        options: &Options,
        tuned: Option<&TunedNode<'_>>,
        threads: &mut Threads,
    ) -> Option<VectorLayer> {
        let candidates = self.candidates(options);
        let tuned = tuned.and_then(|tuned| {
            candidates
                .iter()
                .find(|candidate| candidate.kernel.name == tuned.kernel)
        });
        if let Some(candidate) = tuned {
            return self.layer(candidate, threads.count());
        }
        match options.choice {
            Choice::Predict => self.layer(candidates.first()?, threads.count()),
            #[cfg(feature = "std")]
            Choice::Measure => {
                let timed = candidates.iter().filter_map(|candidate| {
                    let layer = self.layer(candidate, threads.count())?;
                    Some((self.measure(&layer, threads), layer))
                });
                timed.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, layer)| layer)
            }
        }
    }

    /// The layer, run as `candidate` says.
    pub fn layer(&self, candidate: &VectorCandidate, threads: usize) -> Option<VectorLayer> {
        let rows = self.desc.rows as usize;
        let unit = 1 << rows.trailing_zeros().min(MOST_UNIT.trailing_zeros());
        let threads = match candidate.predicted_ns < LEAST_SHARED_NS {
            true => 1,
            false => threads,
        };
        let as_it_is = candidate.kernel.problem() == Problem::Spmv && candidate.encoding == self.desc.encoding;
        let in_place = as_it_is && threads == 1;
        let parts = match in_place {
            true => Vec::new(),
            false => {
                let weights = decode(&self.matrix, &self.desc);
                let cols = self.desc.cols as usize;
                let bound = |thread: usize| rows / unit * thread / threads * unit;
                let parts = (0..threads).map(|thread| {
                    let (first, end) = (bound(thread), bound(thread + 1));
                    let weights = weights
                        .get(first * cols..end * cols)
                        .filter(|weights| !weights.is_empty());
                    let Some(weights) = weights else { return Some(None) };
                    let quantized = Quantized::new(weights, self.desc.cols, self.desc.values).ok()?;
                    let packed = pack(&quantized, candidate.encoding).ok()?;
                    let weights = VectorWeights::new(&packed, candidate.kernel)?;
                    Some(Some(Part { first, weights }))
                });
                parts.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect()
            }
        };
        Some(VectorLayer {
            linear: self.linear,
            kernel: candidate.kernel,
            encoding: candidate.encoding,
            unit,
            parts,
        })
    }

    /// The least time of a few runs, in nanoseconds.
    #[cfg(feature = "std")]
    pub fn measure(&self, layer: &VectorLayer, threads: &mut Threads) -> f64 {
        use std::time::{Duration, Instant};

        let (x, mut y) = (
            alloc::vec![0.5; self.desc.cols as usize],
            alloc::vec![0.0; self.desc.rows as usize],
        );
        let (start, mut best) = (Instant::now(), f64::INFINITY);
        let mut runs = 0;
        while runs < 3 || (runs < 100 && start.elapsed() < Duration::from_millis(2)) {
            let start = Instant::now();
            layer.product(&self.matrix, None, &x, &mut y, threads);
            best = best.min(start.elapsed().as_nanos() as f64);
            runs += 1;
        }
        threads.rest();
        best
    }
}

/// What takes time: values, blocks that have an index, rows (of blocks), pieces of rows (windows, words of a mask),
/// ends that are hard to predict (of rows within a word of a mask, of slices), bytes from beyond the second-level cache,
/// bytes from memory, and the call.
fn work(desc: &MatrixDesc, kernel: &Kernel) -> Option<[f64; 8]> {
    let (rows, stored) = (f64::from(desc.rows), f64::from(desc.stored));
    // Rows and columns of a block that has an index.
    let (r, c) = match desc.encoding {
        Encoding::Block { r, c, .. } => (u32::from(r), u32::from(c)),
        _ => (1, 1),
    };
    let blocks = match desc.encoding {
        Encoding::Dense | Encoding::Bitmask => 0.0,
        _ => stored / f64::from(r * c),
    };
    let rows = rows / f64::from(r);
    let pieces = match desc.encoding {
        _ if is_narrow(kernel) => rows * f64::from(desc.cols.div_ceil(NARROW as u32)),
        Encoding::Win8
        | Encoding::Block {
            index: BlockIndex::Win8,
            ..
        } => rows * f64::from(desc.cols.div_ceil(c * WINDOW)),
        Encoding::Bitmask => rows * f64::from(desc.cols / WORD),
        _ => 0.0,
    };
    let ragged = match (kernel.run, desc.encoding) {
        // About as many lengths as the rows have in a window, each of which is the end of some slice.
        (Run::Slices(slices), _) => {
            let windows = if slices.narrow { pieces / rows } else { 1.0 };
            let lengths = 2.0 * libm::sqrt(stored / (rows * windows)) + 1.0;
            windows * lengths.min((rows / slices.lanes as f64).max(1.0))
        }
        (_, Encoding::Bitmask) if !desc.cols.is_multiple_of(WORD) => rows,
        _ => 0.0,
    };
    let bytes = desc.payload_len()? as f64;
    let (streamed, far) = match bytes {
        _ if bytes > L3_BYTES => (0.0, bytes),
        _ if bytes > L2_BYTES => (bytes, 0.0),
        _ => (0.0, 0.0),
    };
    Some([stored, blocks, rows, pieces, ragged, streamed, far, 1.0])
}

/// Nanoseconds per unit of each term: least squares of the relative errors, none below 0, over f32 matrices of 10x100 to
/// 6144x16384 with 5 to 50 % of weights, on Zen 4 with AVX-512 at 3.7 GHz (12 to 16 % off on average; most of what is
/// off by more than 25 % is close to the size of the last cache). Where others are slower, they are so for all encodings.
fn costs_of(kernel: &Kernel) -> [f64; 8] {
    match kernel.layout {
        _ if is_narrow(kernel) => [0.0, 0.072, 0.0, 0.457, 0.245, 0.001, 0.017, 90.0],
        _ if kernel.problem() == Problem::Slices => [0.0, 0.194, 0.126, 0.0, 4.52, 0.002, 0.033, 76.0],
        Layout::Csr16 => [0.0, 0.214, 9.1, 0.0, 0.0, 0.003, 0.032, 29.0],
        Layout::Win8 => [0.0, 0.215, 12.8, 2.6, 0.0, 0.002, 0.019, 196.0],
        Layout::Nm => [0.0, 0.075, 9.5, 0.0, 0.0, 0.001, 0.037, 44.0],
        Layout::Block => [0.026, 0.218, 17.8, 2.0, 0.0, 0.003, 0.025, 185.0],
        Layout::Bitmask => [0.05, 0.0, 0.0, 2.17, 17.6, 0.003, 0.01, 76.0],
        Layout::Dense | Layout::Activations => [0.029, 0.0, 0.376, 0.0, 0.0, 0.004, 0.034, 27.0],
    }
}

fn is_narrow(kernel: &Kernel) -> bool {
    matches!(kernel.run, Run::Slices(slices) if slices.narrow)
}

/// Rows encoded anew.
#[derive(Debug)]
struct Part {
    first: usize,
    weights: VectorWeights,
}

/// A linear layer of one token, ready to run.
#[derive(Debug)]
pub struct VectorLayer {
    linear: Linear,
    kernel: &'static Kernel,
    encoding: Encoding,
    /// Divides the number of rows and the first row of each part.
    unit: usize,
    /// None: the file's weights are used where they are.
    parts: Vec<Part>,
}

impl VectorLayer {
    /// The kernel.
    pub fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// How the weights lie in memory.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Bytes of weights encoded anew; `None` if those of the file are used.
    pub fn bytes(&self) -> Option<usize> {
        let bytes = self.parts.iter().map(|part| part.weights.bytes());
        (!self.parts.is_empty()).then(|| bytes.sum())
    }

    pub(super) fn run(
        &self,
        model: &Model<'_>,
        node: &Node<'_>,
        arena: &mut [f32],
        threads: &mut Threads,
    ) -> Result<(), RunError> {
        let internal = RunError::Internal {
            node: node.index as u32,
        };
        let (memory, x) = Carved::of_node(model, node, node.output, arena).ok_or(internal)?;
        let (_, matrix) = model.tensor(self.linear.weight).ok_or(internal)?;
        let bias = self.linear.bias.and_then(|id| model.vector(id));
        self.product(&matrix, bias, x, memory.output, threads);
        Ok(())
    }

    /// `y = act(W · x + b)`; `file` is the matrix that the file has.
    fn product(&self, file: &Matrix<'_>, bias: Option<&[f32]>, x: &[f32], y: &mut [f32], threads: &mut Threads) {
        let activation = self.linear.activation;
        let part = |part: &Part, y: &mut [f32]| {
            let bias = bias.and_then(|bias| bias.get(part.first..part.first + y.len()));
            part.weights.product(self.kernel, &mut Spmv { bias, activation, x, y });
        };
        match self.parts.as_slice() {
            [] => {
                if let Run::Spmv(run) = self.kernel.run {
                    run(file, &mut Spmv { bias, activation, x, y });
                }
            }
            [all] => part(all, y),
            parts => threads.split(threads.count(), y, self.unit, |unit, y| {
                if let Some(own) = parts.iter().find(|own| own.first == unit * self.unit && !y.is_empty()) {
                    part(own, y);
                }
            }),
        }
    }
}
