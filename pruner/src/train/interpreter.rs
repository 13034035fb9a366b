//! The reverse-mode interpreter of a graph.
//!
//! A batch is divided into shards of a size that follows from graph and batch alone; a shard is the
//! unit of work of a thread and of every sum over samples, and sums over shards are taken in their
//! order. So results have the same bits for every number of threads.

use std::ops::Range;
use std::time::Duration;

use rayon::prelude::*;
use secateur_format::graph::{Graph, GraphError};
use secateur_format::{Op, TensorId, ValueId};

use super::op::conv::Geometry;
use super::op::norm::{Channel, Moments, Parameters};
use super::program::{Program, Purpose, Step};
use super::shard::{Pass, Shard, Sums, batch_norm};
use super::simd;

/// Floats of the largest value of a shard: a megabyte, so that neighbouring steps find their
/// values in the second-level cache or not far behind it.
const SHARD_FLOATS: usize = 1 << 17;

/// Most samples of a shard: enough columns for a matrix product.
const SHARD_SAMPLES: usize = 16;

/// Most shards: each holds a gradient of every parameter.
const MOST_SHARDS: usize = 32;

/// Floats of a gradient that a thread sums at a time.
const SUM_FLOATS: usize = 1 << 14;

/// Where batch norms take their statistics from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Statistics {
    /// From the batch, in training.
    #[default]
    Batch,
    /// From the model, where they stay as they are.
    Frozen,
}

/// Time of one node, summed over threads.
#[derive(Clone, Debug, serde::Serialize)]
pub struct NodeTime {
    /// Its name.
    pub name: String,
    /// Its operator.
    pub op: &'static str,
    /// Time forward.
    pub forward: Duration,
    /// Time backward.
    pub backward: Duration,
    /// Multiply-adds forward, over all samples; backward there are twice as many.
    pub multiplications: u64,
}

/// A graph with memory for a batch, forward and perhaps backward.
///
/// The weights are those of the graph that each pass is given, which must be the one it was made
/// for, but for the values of its constants. Work is done on the threads of the current rayon pool.
#[derive(Debug)]
pub struct Interpreter {
    program: Program,
    statistics: Statistics,
    shards: Vec<Shard>,
    /// Samples there is memory for.
    batch: usize,
    /// Samples of a full shard.
    per_shard: usize,
    /// Samples of the current batch.
    samples: usize,
    /// Samples that went forward since times were last asked for.
    timed: u64,
    /// By step; empty where it is no batch norm.
    channels: Vec<Vec<Channel>>,
    /// By step; empty where it is no batch norm with statistics of the batch.
    sums: Vec<Vec<Moments>>,
    gradients: Vec<Vec<f32>>,
    bytes: u64,
}

impl Interpreter {
    /// An interpreter that only goes forward, with frozen statistics: computes `output` for up to
    /// `batch` samples.
    ///
    /// # Errors
    /// As [`Interpreter::trainer`].
    pub fn new(graph: &Graph, output: ValueId, batch: usize) -> Result<Self, GraphError> {
        Self::observer(graph, &[output], batch)
    }

    /// As [`Interpreter::new`], for several values: [`Interpreter::read`] gives them, and the last is the output.
    ///
    /// # Errors
    /// As [`Interpreter::trainer`].
    pub fn observer(graph: &Graph, values: &[ValueId], batch: usize) -> Result<Self, GraphError> {
        Self::with(graph, values, batch, Purpose::Inference, Statistics::Frozen)
    }

    /// An interpreter that goes forward to `output` and backward from it, for up to `batch` samples.
    ///
    /// # Errors
    /// A [`GraphError`] if the graph is not valid, or has several inputs or no such value
    /// ([`GraphError::Structure`]).
    pub fn trainer(graph: &Graph, output: ValueId, batch: usize, statistics: Statistics) -> Result<Self, GraphError> {
        Self::with(graph, &[output], batch, Purpose::Training, statistics)
    }

    fn with(
        graph: &Graph,
        values: &[ValueId],
        batch: usize,
        purpose: Purpose,
        statistics: Statistics,
    ) -> Result<Self, GraphError> {
        let shapes = graph.shapes()?;
        let known = !values.is_empty() && values.iter().all(|id| usize::from(id.0) < shapes.len());
        if graph.inputs.len() != 1 || !known || batch == 0 {
            return Err(GraphError::Structure);
        }
        let program = Program::new(graph, &shapes, values, purpose);
        let lengths = match purpose {
            Purpose::Training => parameter_lengths(graph),
            Purpose::Inference => vec![0; graph.tensors.len()],
        };
        let largest = program.shapes.iter().map(|shape| shape.elems()).max().unwrap_or(1);
        let per_shard = (SHARD_FLOATS / largest)
            .clamp(1, SHARD_SAMPLES)
            .max(batch.div_ceil(MOST_SHARDS))
            .min(batch);
        let counts = (0..batch).step_by(per_shard).map(|first| per_shard.min(batch - first));
        let shards: Vec<Shard> = counts
            .clone()
            .map(|count| Shard::new(&program, count, &lengths))
            .collect();
        let bytes: u64 = counts.map(|count| Shard::bytes(&program, count, &lengths)).sum();
        let steps = program.steps.len();
        Ok(Self {
            statistics,
            shards,
            batch,
            per_shard,
            samples: 0,
            timed: 0,
            channels: vec![Vec::new(); steps],
            sums: vec![Vec::new(); steps],
            gradients: lengths.iter().map(|&len| vec![0.0; len]).collect(),
            bytes: bytes + 4 * lengths.iter().sum::<usize>() as u64,
            program,
        })
    }

    /// Bytes it holds: values, gradients and scratch memory.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Samples it has memory for.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Sets a batch of `samples`, at most [`Interpreter::batch`]: `fill(i, x)` writes sample `i`, planar, into `x`.
    pub fn set_inputs(&mut self, samples: usize, fill: impl Fn(usize, &mut [f32]) + Sync) {
        self.samples = samples.min(self.batch);
        let (samples, per_shard, program) = (self.samples, self.per_shard, &self.program);
        let len = program.shapes[0].elems();
        let shards = active(&mut self.shards, samples, per_shard).par_iter_mut().enumerate();
        shards.for_each_init(
            || vec![0.0; len],
            |sample, (index, shard)| {
                let first = index * per_shard;
                shard.samples = per_shard.min(samples - first);
                shard.set_input(program, sample, |i, x| fill(first + i, x));
            },
        );
    }

    /// Computes the output of all samples.
    pub fn forward(&mut self, graph: &Graph) {
        self.timed += self.samples as u64;
        let Self { program, channels, .. } = self;
        for (step, channels) in program.steps.iter().zip(channels) {
            if let Some(bn) = batch_norm(step) {
                *channels = Parameters::new(graph, bn).frozen();
            }
        }
        let mut first = 0;
        for barrier in self.barriers() {
            self.forward_steps(graph, first..barrier, Some(barrier));
            self.join_moments(graph, barrier);
            first = barrier;
        }
        self.forward_steps(graph, first..self.program.steps.len(), None);
    }

    /// The batch norms that use statistics of the batch: what comes before them has to be done for
    /// all samples.
    fn barriers(&self) -> Vec<usize> {
        let steps = self.program.steps.iter().enumerate();
        let barriers = steps.filter(|(_, step)| self.statistics == Statistics::Batch && batch_norm(step).is_some());
        barriers.map(|(index, _)| index).collect()
    }

    fn forward_steps(&mut self, graph: &Graph, steps: Range<usize>, moments: Option<usize>) {
        let pass = Pass {
            program: &self.program,
            graph,
            channels: &self.channels,
        };
        let shards = active(&mut self.shards, self.samples, self.per_shard);
        shards
            .par_iter_mut()
            .for_each(|shard| shard.forward(pass, steps.clone(), moments));
    }

    /// The channels of a batch norm, from what the shards know of its input.
    fn join_moments(&mut self, graph: &Graph, index: usize) {
        let step = &self.program.steps[index];
        let Some(bn) = batch_norm(step) else { return };
        let shape = self.program.shapes[step.output];
        let inner = shape.elems() / shape.dims()[0] as usize;
        let shards = active(&mut self.shards, self.samples, self.per_shard).iter();
        let moments = shards.map(|shard| (shard.samples * inner, shard.moments[index].as_slice()));
        self.channels[index] = Parameters::new(graph, bn).joined(moments);
    }

    /// Calls `loss` for every sample with its number, its output and the gradient to be written, both
    /// planar; returns the results in the order of the samples.
    pub fn loss<R: Send>(&mut self, loss: impl Fn(usize, &[f32], &mut [f32]) -> R + Sync) -> Vec<R> {
        let (program, per_shard) = (&self.program, self.per_shard);
        let shards = active(&mut self.shards, self.samples, per_shard)
            .par_iter_mut()
            .enumerate();
        let results = shards.map(|(index, shard)| {
            shard.loss(program, |sample, output, gradient| {
                loss(index * per_shard + sample, output, gradient)
            })
        });
        results.collect::<Vec<Vec<R>>>().into_iter().flatten().collect()
    }

    /// The output of all samples, `[samples, elements]`, each planar.
    pub fn output(&self) -> Vec<f32> {
        let elems = self.program.shapes[self.program.output].elems();
        let mut outputs = vec![0.0; self.samples * elems];
        let shards = self.shards[..self.samples.div_ceil(self.per_shard)].iter();
        for (shard, outputs) in shards.zip(outputs.chunks_mut(self.per_shard * elems)) {
            for (sample, output) in outputs.chunks_exact_mut(elems).enumerate() {
                shard.read(&self.program, self.program.output, sample, output);
            }
        }
        outputs
    }

    /// Writes a value of one sample, planar; one of those that [`Interpreter::observer`] was made for.
    pub fn read(&self, value: ValueId, sample: usize, planar: &mut [f32]) {
        let number = self.program.numbers.get(usize::from(value.0)).copied();
        let Some(number) = number.filter(|&number| number != usize::MAX) else {
            return;
        };
        let shard = &self.shards[sample / self.per_shard];
        shard.read(&self.program, number, sample % self.per_shard, planar);
    }

    /// Computes the gradients of all parameters from that of the output, which [`Interpreter::loss`] has set.
    pub fn backward(&mut self, graph: &Graph) {
        let shards = active(&mut self.shards, self.samples, self.per_shard);
        shards
            .par_iter_mut()
            .for_each(|shard| shard.parameters.iter_mut().for_each(|part| part.fill(0.0)));
        // Frozen statistics are a constant factor; their moments are those of scale and bias.
        let batch = self.statistics == Statistics::Batch;
        let norms = self.program.steps.iter().enumerate();
        let norms: Vec<usize> = norms
            .filter(|(_, step)| batch_norm(step).is_some())
            .map(|(i, _)| i)
            .collect();
        let mut end = self.program.steps.len();
        for index in norms.into_iter().rev() {
            self.backward_steps(graph, index + 1..end, Some(index));
            if batch {
                self.join_sums(index);
            }
            end = index + 1;
        }
        self.backward_steps(graph, 0..end, None);
        self.join_gradients();
    }

    fn backward_steps(&mut self, graph: &Graph, steps: Range<usize>, moments: Option<usize>) {
        let pass = Pass {
            program: &self.program,
            graph,
            channels: &self.channels,
        };
        let sums = Sums {
            moments: &self.sums,
            samples: self.samples,
        };
        let shards = active(&mut self.shards, self.samples, self.per_shard);
        shards
            .par_iter_mut()
            .for_each(|shard| shard.backward(pass, sums, steps.clone(), moments));
    }

    fn join_sums(&mut self, index: usize) {
        let shards = active(&mut self.shards, self.samples, self.per_shard);
        let mut sums: Vec<Moments> = Vec::new();
        for shard in shards {
            sums.resize(shard.moments[index].len(), [0.0; 2]);
            for (sum, part) in sums.iter_mut().zip(&shard.moments[index]) {
                *sum = [sum[0] + part[0], sum[1] + part[1]];
            }
        }
        self.sums[index] = sums;
    }

    /// Sums of the shards' gradients, in their order whatever thread sums.
    fn join_gradients(&mut self) {
        let shards = &self.shards[..self.samples.div_ceil(self.per_shard)];
        for (id, gradient) in self.gradients.iter_mut().enumerate() {
            gradient
                .par_chunks_mut(SUM_FLOATS)
                .enumerate()
                .for_each(|(chunk, gradient)| {
                    gradient.fill(0.0);
                    for shard in shards {
                        let part = &shard.parameters[id][chunk * SUM_FLOATS..];
                        simd::add(gradient, &part[..gradient.len()]);
                    }
                });
        }
    }

    /// The gradient of each constant of the graph, in the order of its tensors; empty for those that
    /// are no parameters.
    pub fn gradients(&self) -> &[Vec<f32>] {
        &self.gradients
    }

    /// To change them before an optimiser follows them.
    pub fn gradients_mut(&mut self) -> &mut [Vec<f32>] {
        &mut self.gradients
    }

    /// Moves the running statistics of `graph` towards those of the batch that went forward, by
    /// `momentum`, as PyTorch does: variances without bias. Frozen statistics stay.
    pub fn update_statistics(&self, graph: &mut Graph, momentum: f64) {
        for index in self.barriers() {
            let step = &self.program.steps[index];
            let Some(bn) = batch_norm(step) else { continue };
            let shape = self.program.shapes[step.output];
            let count = (shape.elems() / shape.dims()[0] as usize * self.samples) as f64;
            let unbiased = count / f64::max(count - 1.0, 1.0);
            let mut move_to = |id: TensorId, statistic: fn(&Channel) -> f64, factor: f64| {
                let Some(tensor) = graph.tensors.get_mut(usize::from(id.0)) else {
                    return;
                };
                for (running, channel) in tensor.data.iter_mut().zip(&self.channels[index]) {
                    let old = f64::from(*running);
                    *running = (old + momentum * (factor * statistic(channel) - old)) as f32;
                }
            };
            move_to(bn.mean, |channel| channel.mean, 1.0);
            move_to(bn.var, |channel| channel.var, unbiased);
        }
    }

    /// The time each node has taken since the last call, summed over threads.
    pub fn take_times(&mut self, graph: &Graph) -> Vec<NodeTime> {
        let samples = std::mem::take(&mut self.timed);
        let mut rows: Vec<NodeTime> = Vec::new();
        for (index, step) in self.program.steps.iter().enumerate() {
            let times = self
                .shards
                .iter_mut()
                .map(|shard| std::mem::take(&mut shard.times[index]));
            let [forward, backward] = times.fold([Duration::ZERO; 2], |[f, b], [df, db]| [f + df, b + db]);
            rows.push(NodeTime {
                name: graph.nodes[step.node].name.clone(),
                op: step.op.name(),
                forward,
                backward,
                multiplications: samples * multiplications(&self.program, step),
            });
        }
        rows
    }
}

/// The shards that hold the first `samples`.
fn active(shards: &mut [Shard], samples: usize, per_shard: usize) -> &mut [Shard] {
    &mut shards[..samples.div_ceil(per_shard)]
}

/// The constants that training changes: weights and biases, scales and shifts; not running statistics.
pub(super) fn parameters(graph: &Graph) -> impl Iterator<Item = TensorId> {
    graph.nodes.iter().flat_map(|node| {
        let norm = match &node.op {
            Op::BatchNorm(bn) => [Some(bn.scale), Some(bn.bias)],
            op => [op.weight(), op.bias()],
        };
        norm.into_iter().flatten()
    })
}

/// The length of each constant's gradient.
fn parameter_lengths(graph: &Graph) -> Vec<usize> {
    let mut lengths = vec![0; graph.tensors.len()];
    for id in parameters(graph) {
        lengths[usize::from(id.0)] = graph.tensor(id).map_or(0, |tensor| tensor.data.len());
    }
    lengths
}

fn multiplications(program: &Program, step: &Step) -> u64 {
    let (input, output) = (program.shapes[step.inputs[0].0], program.shapes[step.output]);
    match &step.op {
        Op::Conv2d(op) => Geometry::new(op, input, output).multiplications(),
        Op::Linear(_) => output.elems() as u64 * u64::from(input.dims()[0]),
        _ => 0,
    }
}
