//! A shard: some samples of a batch, and all that is computed of them.

use std::mem;
use std::ops::Range;
use std::time::{Duration, Instant};

use secateur_format::graph::Graph;
use secateur_format::op::{BatchNorm, Conv2d};
use secateur_format::{MAX_RANK, Op, Shape, TensorId};

use super::op::norm::{Channel, Moments, Parameters};
use super::op::{activation, conv, depthwise, layout, norm, pool, product, softmax};
use super::program::{Flow, Program, Step, from_output};
use super::simd;

/// What all shards of a pass share.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) program: &'a Program,
    pub(super) graph: &'a Graph,
    /// The channels of each step that is a batch norm.
    pub(super) channels: &'a [Vec<Channel>],
}

/// Backward: the moments of the batch for each batch norm that uses them, and the samples.
#[derive(Clone, Copy)]
pub(super) struct Sums<'a> {
    pub(super) moments: &'a [Vec<Moments>],
    pub(super) samples: usize,
}

/// Some samples, and the memory for them.
#[derive(Debug)]
pub(super) struct Shard {
    /// Number of samples; the memory may be for more.
    pub(super) samples: usize,
    values: Vec<Vec<f32>>,
    gradients: Vec<Vec<f32>>,
    scratch: Vec<f32>,
    /// What this shard adds to the gradient of each constant; empty where there is none.
    pub(super) parameters: Vec<Vec<f32>>,
    /// What this shard knows of the channels of each batch norm, by step.
    pub(super) moments: Vec<Vec<Moments>>,
    /// Time spent in each step, forward and backward.
    pub(super) times: Vec<[Duration; 2]>,
}

/// Extents of a value in a shard.
fn run(shape: Shape, samples: usize) -> usize {
    shape.elems() / shape.dims()[0] as usize * samples
}

/// Takes a sample, planar, out of the values `[d0, samples, …]` of a shard.
fn read_sample(shape: Shape, samples: usize, sample: usize, values: &[f32], planar: &mut [f32]) {
    let inner = run(shape, 1);
    let rows = values.chunks_exact(inner * samples).zip(planar.chunks_exact_mut(inner));
    rows.for_each(|(row, part)| part.copy_from_slice(&row[sample * inner..][..inner]));
}

/// The inverse of [`read_sample`].
fn write_sample(shape: Shape, samples: usize, sample: usize, planar: &[f32], values: &mut [f32]) {
    let inner = run(shape, 1);
    let rows = values.chunks_exact_mut(inner * samples).zip(planar.chunks_exact(inner));
    rows.for_each(|(row, part)| row[sample * inner..][..inner].copy_from_slice(part));
}

fn weights(graph: &Graph, id: TensorId) -> &[f32] {
    graph.tensor(id).map_or(&[], |tensor| &tensor.data)
}

impl Shard {
    /// Memory for `samples`; `parameters` are the lengths of the gradients of the constants.
    pub(super) fn new(program: &Program, samples: usize, parameters: &[usize]) -> Self {
        let zeros = |sizes: &[usize], factor: usize| sizes.iter().map(|size| vec![0.0; size * factor]).collect();
        let scratch = program.steps.iter().map(|step| scratch(program, step, samples)).max();
        let moments = program.steps.iter().map(|step| match step.op {
            Op::BatchNorm(_) => vec![[0.0; 2]; program.shapes[step.output].dims()[0] as usize],
            _ => Vec::new(),
        });
        Self {
            samples,
            values: zeros(&program.sizes, samples),
            gradients: zeros(&program.grad_sizes, samples),
            scratch: vec![0.0; scratch.unwrap_or(0)],
            parameters: zeros(parameters, 1),
            moments: moments.collect(),
            times: vec![[Duration::ZERO; 2]; program.steps.len()],
        }
    }

    /// Bytes of one shard of `samples`.
    pub(super) fn bytes(program: &Program, samples: usize, parameters: &[usize]) -> u64 {
        let values: usize = program.sizes.iter().chain(&program.grad_sizes).sum();
        let scratch = program.steps.iter().map(|step| scratch(program, step, samples)).max();
        4 * (values * samples + scratch.unwrap_or(0) + parameters.iter().sum::<usize>()) as u64
    }

    fn value(&self, program: &Program, value: usize) -> &[f32] {
        &self.values[program.places[value]][..program.shapes[value].elems() * self.samples]
    }

    /// Sets the input: `fill` writes each sample of `0..samples`, planar.
    pub(super) fn set_input(&mut self, program: &Program, sample: &mut [f32], fill: impl Fn(usize, &mut [f32])) {
        let (samples, shape) = (self.samples, program.shapes[0]);
        let values = &mut self.values[program.places[0]][..shape.elems() * samples];
        for index in 0..samples {
            fill(index, sample);
            write_sample(shape, samples, index, sample, values);
        }
    }

    /// A value that the program keeps, for a sample, planar.
    pub(super) fn read(&self, program: &Program, value: usize, sample: usize, planar: &mut [f32]) {
        let values = self.value(program, value);
        read_sample(program.shapes[value], self.samples, sample, values, planar);
    }

    /// Calls `loss` with each sample, its output and the gradient of the loss with respect to it, both planar.
    pub(super) fn loss<R>(&mut self, program: &Program, loss: impl Fn(usize, &[f32], &mut [f32]) -> R) -> Vec<R> {
        let (shape, samples) = (program.shapes[program.output], self.samples);
        let len = shape.elems() * samples;
        let values = &self.values[program.places[program.output]][..len];
        let gradients = &mut self.gradients[program.grad_places[program.output]][..len];
        let (mut output, mut gradient) = (vec![0.0; shape.elems()], vec![0.0; shape.elems()]);
        let one = |sample: usize| {
            read_sample(shape, samples, sample, values, &mut output);
            let result = loss(sample, &output, &mut gradient);
            write_sample(shape, samples, sample, &gradient, gradients);
            result
        };
        (0..samples).map(one).collect()
    }

    /// Runs steps; of a batch norm at their end, only the moments of its input are taken if `moments`.
    pub(super) fn forward(&mut self, pass: Pass<'_>, steps: Range<usize>, moments: Option<usize>) {
        for index in steps {
            let start = Instant::now();
            self.forward_step(pass, index);
            self.times[index][0] += start.elapsed();
        }
        if let Some(index) = moments {
            let start = Instant::now();
            let input = pass.program.steps[index].inputs[0].0;
            let mut moments = mem::take(&mut self.moments[index]);
            let run = run(pass.program.shapes[input], self.samples);
            norm::moments(self.value(pass.program, input), run, &mut moments);
            self.moments[index] = moments;
            self.times[index][0] += start.elapsed();
        }
    }

    fn forward_step(
        &mut self,
        Pass {
            program,
            graph,
            channels,
        }: Pass<'_>,
        index: usize,
    ) {
        let step = &program.steps[index];
        let (place, shape, samples) = (program.places[step.output], program.shapes[step.output], self.samples);
        let (input, input_shape) = (step.inputs[0].0, program.shapes[step.inputs[0].0]);
        let in_place = step.inputs.iter().any(|&(input, _)| program.places[input] == place);
        let mut buffer = mem::take(&mut self.values[place]);
        let mut scratch = mem::take(&mut self.scratch);
        let y = &mut buffer[..shape.elems() * samples];
        let run = run(shape, samples);
        // The input that is not where the output is.
        let other = || {
            let elsewhere = step.inputs.iter().find(|&&(input, _)| program.places[input] != place);
            self.value(program, elsewhere.map_or(input, |&(input, _)| input))
        };
        match &step.op {
            Op::Conv2d(op) => {
                let g = conv::Geometry::new(op, input_shape, shape);
                let (w, bias) = (weights(graph, op.weight), op.bias.map(|id| weights(graph, id)));
                let forward = if g.is_depthwise() {
                    depthwise::forward
                } else {
                    conv::forward
                };
                forward(&g, w, bias, self.value(program, input), samples, y, &mut scratch);
            }
            Op::Linear(op) => {
                let (w, bias) = (weights(graph, op.weight), op.bias.map(|id| weights(graph, id)));
                product::linear(w, bias, self.value(program, input), run, y);
            }
            Op::BatchNorm(op) => {
                let parameters = Parameters::new(graph, op);
                if in_place {
                    norm::forward_in_place(&parameters, &channels[index], y, run);
                } else {
                    norm::forward(&parameters, &channels[index], self.value(program, input), run, y);
                }
            }
            Op::Activation(activation) => {
                if !in_place {
                    y.copy_from_slice(self.value(program, input));
                }
                activation::forward_in_place(*activation, y);
            }
            Op::Add(_) if in_place => simd::add(y, other()),
            Op::Add(_) | Op::Mul => {
                y.copy_from_slice(self.value(program, input));
                let second = self.value(program, step.inputs[1].0);
                if step.op == Op::Mul {
                    y.iter_mut().zip(second).for_each(|(y, x)| *y *= x);
                } else {
                    simd::add(y, second);
                }
            }
            Op::Concat { axis } => {
                for (part, &(input, _)) in parts(program, step, *axis, samples).iter().zip(&step.inputs) {
                    part.join(self.value(program, input), y);
                }
            }
            Op::Pool(op) => {
                let windows = pool::Windows::new(*op, input_shape, shape);
                pool::forward(&windows, self.value(program, input), y);
            }
            Op::GlobalAvgPool => {
                pool::global_forward(self.value(program, input), input_shape.elems() / shape.elems(), y)
            }
            Op::Reshape(_) if in_place => {}
            Op::Reshape(_) => layout::reshape(input_shape, shape, samples, self.value(program, input), y),
            Op::Pad { value, .. } => {
                inner_of(&step.op, input_shape, shape, samples).pad(self.value(program, input), *value, y)
            }
            Op::Slice { .. } => inner_of(&step.op, input_shape, shape, samples).slice(self.value(program, input), y),
            Op::Softmax { axis } => {
                let lines = softmax::Lines::new(shape, usize::from(*axis), samples);
                softmax::forward(&lines, self.value(program, input), y);
            }
            _ => {}
        }
        self.values[place] = buffer;
        self.scratch = scratch;
    }

    /// Runs steps backward, from the last; of a batch norm before them, only the moments of its gradient
    /// are taken if `moments`.
    pub(super) fn backward(&mut self, pass: Pass<'_>, sums: Sums<'_>, steps: Range<usize>, moments: Option<usize>) {
        for index in steps.rev() {
            let start = Instant::now();
            if pass.program.grad_places[pass.program.steps[index].output] != usize::MAX {
                self.backward_step(pass, sums, index);
            }
            self.times[index][1] += start.elapsed();
        }
        if let Some(index) = moments {
            let start = Instant::now();
            self.gradient_moments(pass, index);
            self.times[index][1] += start.elapsed();
        }
    }

    /// Σdy and Σdy·(x − mean) of a batch norm, and with them the gradients of its scale and bias.
    fn gradient_moments(
        &mut self,
        Pass {
            program,
            graph: _,
            channels,
        }: Pass<'_>,
        index: usize,
    ) {
        let step = &program.steps[index];
        let Op::BatchNorm(op) = &step.op else { return };
        let shape = program.shapes[step.output];
        let mut moments = mem::take(&mut self.moments[index]);
        let dy = &self.gradients[program.grad_places[step.output]][..shape.elems() * self.samples];
        let x = self.value(program, step.inputs[0].0);
        norm::gradient_moments(&channels[index], x, dy, run(shape, self.samples), &mut moments);
        for (c, (&[sum, product], channel)) in moments.iter().zip(&channels[index]).enumerate() {
            self.parameters[usize::from(op.bias.0)][c] += sum as f32;
            self.parameters[usize::from(op.scale.0)][c] += (product * channel.inv_std) as f32;
        }
        self.moments[index] = moments;
    }

    fn backward_step(&mut self, pass: Pass<'_>, sums: Sums<'_>, index: usize) {
        let (program, graph) = (pass.program, pass.graph);
        let step = &program.steps[index];
        let (shape, samples) = (program.shapes[step.output], self.samples);
        let own = program.grad_places[step.output];
        let mut gradient = mem::take(&mut self.gradients[own]);
        let mut scratch = mem::take(&mut self.scratch);
        let mut parameters = mem::take(&mut self.parameters);
        let dy = &mut gradient[..shape.elems() * samples];
        let run = run(shape, samples);
        let x = self.value(program, step.inputs[0].0);
        // The parameters, and what turns the gradient in place.
        match &step.op {
            Op::Conv2d(op) => {
                let g = conv::Geometry::new(op, program.shapes[step.inputs[0].0], shape);
                if let Some(bias) = op.bias {
                    product::bias_backward(dy, run, &mut parameters[usize::from(bias.0)]);
                }
                let weight_backward = if g.is_depthwise() {
                    depthwise::weight_backward
                } else {
                    conv::weight_backward
                };
                let dw = &mut parameters[usize::from(op.weight.0)];
                weight_backward(&g, x, dy, samples, dw, &mut scratch);
            }
            Op::Linear(op) => {
                if let Some(bias) = op.bias {
                    product::bias_backward(dy, run, &mut parameters[usize::from(bias.0)]);
                }
                product::linear_weight_backward(x, dy, run, &mut parameters[usize::from(op.weight.0)]);
            }
            Op::BatchNorm(op) => {
                let moments = &sums.moments[index];
                let count = run / samples * sums.samples;
                let batch = (!moments.is_empty()).then_some((moments.as_slice(), count));
                norm::input_backward(&Parameters::new(graph, op), &pass.channels[index], batch, x, run, dy);
            }
            Op::Activation(activation) => {
                let value = if from_output(*activation) {
                    self.value(program, step.output)
                } else {
                    x
                };
                activation::backward(*activation, value, dy);
            }
            _ => {}
        }
        // `Move` comes last, because it gives the gradient away.
        for (i, &(input, flow)) in step.inputs.iter().enumerate() {
            if matches!(flow, Flow::Stop | Flow::Move) {
                continue;
            }
            let place = program.grad_places[input];
            let mut buffer = mem::take(&mut self.gradients[place]);
            let dx = &mut buffer[..program.shapes[input].elems() * samples];
            if flow == Flow::Set {
                dx.fill(0.0);
            }
            self.input_backward(pass, step, i, dy, dx, &mut scratch);
            self.gradients[place] = buffer;
        }
        self.gradients[own] = gradient;
        self.scratch = scratch;
        self.parameters = parameters;
    }

    /// Adds the gradient `dx` of input `i` of a step.
    fn input_backward(
        &self,
        Pass { program, graph, .. }: Pass<'_>,
        step: &Step,
        i: usize,
        dy: &[f32],
        dx: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (input, samples) = (step.inputs[i].0, self.samples);
        let (input_shape, shape) = (program.shapes[input], program.shapes[step.output]);
        match &step.op {
            Op::Conv2d(op) => conv_input_backward(
                op,
                weights(graph, op.weight),
                [input_shape, shape],
                dy,
                samples,
                dx,
                scratch,
            ),
            Op::Linear(op) => product::linear_input_backward(weights(graph, op.weight), dy, run(shape, samples), dx),
            Op::Mul => {
                let other = self.value(program, step.inputs[1 - i].0);
                let factors = dy.iter().zip(other);
                dx.iter_mut().zip(factors).for_each(|(dx, (dy, x))| *dx += dy * x);
            }
            Op::Concat { axis } => parts(program, step, *axis, samples)[i].split(dy, dx),
            Op::Pool(op) => {
                let windows = pool::Windows::new(*op, input_shape, shape);
                // Averages do not read the input, whose buffer may hold something else by now.
                pool::backward(&windows, self.value(program, input), dy, dx);
            }
            Op::GlobalAvgPool => pool::global_backward(dy, input_shape.elems() / shape.elems(), dx),
            Op::Reshape(_) => layout::reshape_backward(input_shape, shape, samples, dy, dx),
            Op::Pad { .. } => inner_of(&step.op, input_shape, shape, samples).pad_backward(dy, dx),
            Op::Slice { .. } => inner_of(&step.op, input_shape, shape, samples).slice_backward(dy, dx),
            Op::Softmax { axis } => {
                let lines = softmax::Lines::new(shape, usize::from(*axis), samples);
                softmax::backward(&lines, self.value(program, step.output), dy, dx);
            }
            // The gradient as it is, or turned already.
            _ => simd::add(dx, dy),
        }
    }
}

fn conv_input_backward(
    op: &Conv2d,
    w: &[f32],
    [input, output]: [Shape; 2],
    dy: &[f32],
    samples: usize,
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    let g = conv::Geometry::new(op, input, output);
    let backward = if g.is_depthwise() {
        depthwise::input_backward
    } else {
        conv::input_backward
    };
    backward(&g, w, dy, samples, dx, scratch);
}

/// The batch norm of a step.
pub(super) fn batch_norm(step: &Step) -> Option<&BatchNorm> {
    match &step.op {
        Op::BatchNorm(bn) => Some(bn),
        _ => None,
    }
}

fn scratch(program: &Program, step: &Step, samples: usize) -> usize {
    match &step.op {
        Op::Conv2d(op) => {
            let shapes = [program.shapes[step.inputs[0].0], program.shapes[step.output]];
            conv::Geometry::new(op, shapes[0], shapes[1]).scratch(samples)
        }
        _ => 0,
    }
}

fn parts(program: &Program, step: &Step, axis: u8, samples: usize) -> Vec<layout::Part> {
    let shapes: Vec<Shape> = step.inputs.iter().map(|&(input, _)| program.shapes[input]).collect();
    layout::Part::all(&shapes, usize::from(axis), samples)
}

/// Where the smaller value of a pad or slice lies in the larger.
fn inner_of(op: &Op, input: Shape, output: Shape, samples: usize) -> layout::Inner {
    match op {
        Op::Slice { start, step, .. } => {
            let (start, step) = (start.map(|s| s as usize), step.map(|s| s as usize));
            layout::Inner::new(output, input, samples, start, step)
        }
        Op::Pad { before, .. } => layout::Inner::new(input, output, samples, before.map(usize::from), [1; MAX_RANK]),
        _ => layout::Inner::new(input, output, samples, [0; MAX_RANK], [1; MAX_RANK]),
    }
}
