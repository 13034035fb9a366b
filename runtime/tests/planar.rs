//! One suite for the kernels without sparse weights: depthwise convolution,
//! pooling, element-wise functions. Every kernel of the registry that this CPU
//! can run is compared with plain code over odd sizes, on slices that start at
//! odd places, between numbers that nothing may read or write.

#[cfg(test)]
mod common;

use std::collections::BTreeSet;

use common::approx::Approx;
use common::case::CONV;
use common::matrices::{Rng, Weights};
use common::reference;
use secateur_format::encoding::{Encoding, ValueType};
use secateur_format::geometry::ConvGeometry;
use secateur_format::op::{Conv2d, PoolKind};
use secateur_format::{Activation, Shape};
use secateur_runtime::kernel::{
    self, Combine, Depthwise, Isa, Kernel, Layout, Map, Offsets, Pooling, Problem, Run, Spmm, apply,
};

const ACTIVATIONS: [Activation; 5] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Relu6,
    Activation::LeakyRelu(0.125),
    Activation::HardSwish,
];
const SPECIALS: [f32; 5] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, f32::MIN_POSITIVE];
/// Numbers before and behind every slice.
const MARGIN: usize = 33;
const PROBLEMS: [Problem; 3] = [Problem::Depthwise, Problem::Pool, Problem::Map];

fn kernels(problem: Problem) -> impl Iterator<Item = &'static Kernel> {
    let runs = move |k: &&Kernel| k.problem() == problem && k.isa.available();
    kernel::ALL.iter().filter(runs)
}

/// A slice in the middle of NaN.
struct Guarded(Vec<f32>);

impl Guarded {
    fn new(values: &[f32]) -> Self {
        let margin = [f32::NAN; MARGIN];
        Self([&margin, values, &margin].concat())
    }

    fn range(&self) -> std::ops::Range<usize> {
        MARGIN..self.0.len() - MARGIN
    }

    fn get(&self) -> &[f32] {
        &self.0[self.range()]
    }

    fn get_mut(&mut self) -> &mut [f32] {
        let range = self.range();
        &mut self.0[range]
    }

    /// The slice, once nothing was written around it.
    fn checked(&self) -> &[f32] {
        let around = self.0[..MARGIN].iter().chain(&self.0[self.range().end..]);
        assert!(around.into_iter().all(|x| x.is_nan()), "written outside of the slice");
        self.get()
    }
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

fn assert_same(found: &[f32], expected: &[f32], what: &dyn std::fmt::Debug) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(same(*found, *expected), "{what:?}, {i}: {found} is not {expected}");
    }
}

#[test]
fn every_kernel_is_tested_here() {
    let ours = |k: &&Kernel| PROBLEMS.contains(&k.problem());
    let without_weights: BTreeSet<_> = kernel::ALL
        .iter()
        .filter(|k| k.layout == Layout::Activations)
        .map(|k| k.name)
        .collect();
    let all: BTreeSet<_> = kernel::ALL.iter().filter(ours).map(|k| k.name).collect();
    assert!(without_weights.is_subset(&all));
    for isa in kernel::ALL.iter().filter(|k| k.isa != Isa::Scalar).map(|k| k.isa) {
        for problem in PROBLEMS {
            let found = kernel::ALL.iter().filter(|k| k.isa == isa && k.problem() == problem);
            let types = if problem == Problem::Depthwise { 3 } else { 1 };
            assert_eq!(found.count(), types, "{problem:?} on {isa:?}");
        }
    }
}

/// A depthwise convolution, its weights and its input.
struct Planes {
    conv: Conv2d,
    geometry: ConvGeometry,
    weights: Weights,
    bias: Option<Vec<f32>>,
    x: Guarded,
}

impl Planes {
    fn new(conv: Conv2d, input: [u32; 3], values: ValueType, rng: &mut Rng) -> Option<Self> {
        let conv = Conv2d {
            groups: input[0],
            ..conv
        };
        let geometry = ConvGeometry::new(&conv, Shape::new(&input).ok()?).ok()?;
        let cols = conv.kernel.map(usize::from).iter().product();
        let weights = rng.weights(conv.out_channels as usize, cols, 0.9, false);
        let bias = rng.next().is_multiple_of(4);
        Some(Self {
            conv,
            geometry,
            weights: Weights::new(&weights, cols, Encoding::Dense, values),
            bias: (!bias).then(|| rng.values(conv.out_channels as usize)),
            x: Guarded::new(&rng.values(input.iter().product::<u32>() as usize)),
        })
    }

    fn plane_len(&self) -> usize {
        self.geometry.output.1 as usize * self.geometry.output.2 as usize
    }

    /// Computes the planes from `first` on.
    fn run(&self, kernel: &Kernel, first: usize, y: &mut [f32]) {
        let Run::Depthwise(run) = kernel.run else {
            panic!("{}", kernel.name)
        };
        let mut task = Depthwise {
            conv: &self.conv,
            geometry: &self.geometry,
            bias: self.bias.as_deref(),
            x: self.x.get(),
            first,
            y,
        };
        run(&self.weights.matrix(), &mut task);
    }

    fn output(&self, kernel: &Kernel) -> Vec<f32> {
        let len = self.conv.out_channels as usize * self.plane_len();
        let mut y = Guarded::new(&vec![f32::NAN; len]);
        self.run(kernel, 0, y.get_mut());
        y.checked().to_vec()
    }

    /// The same through the SpMM kernel of the instruction set.
    fn packed(&self, kernel: &Kernel) -> Vec<f32> {
        let alike = |k: &&Kernel| k.isa == kernel.isa && k.values == kernel.values && k.layout == Layout::Dense;
        let spmm = kernel::ALL.iter().filter(alike).find_map(|k| match k.run {
            Run::Spmm(run) => Some(run),
            _ => None,
        });
        let (conv, geometry) = (&self.conv, &self.geometry);
        let (x, [kh, kw]) = (self.pack(), conv.kernel.map(u32::from));
        let positions = (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx)));
        let table: Vec<u32> = positions
            .map(|(ky, kx)| geometry.position_offset(conv, ky, kx) as u32)
            .collect();
        let mut y = vec![f32::NAN; conv.out_channels as usize * self.plane_len()];
        let mut task = Spmm {
            bias: self.bias.as_deref(),
            activation: conv.activation,
            x: &x,
            offsets: Offsets::Table(&table),
            group_rows: (conv.out_channels / conv.groups) as usize,
            group_stride: geometry.channel_stride(),
            span: geometry.span(),
            line: geometry.row as usize,
            keep: geometry.output.2 as usize,
            y: &mut y,
        };
        spmm.expect("every instruction set has one")(&self.weights.matrix(), &mut task);
        y
    }

    /// The input in padded phase planes.
    fn pack(&self) -> Vec<f32> {
        let (conv, geometry) = (&self.conv, &self.geometry);
        let (channels, h, w) = geometry.input;
        let mut packed = Vec::new();
        for channel in 0..channels {
            for phase in 0..(geometry.phases[0] * geometry.phases[1]) as usize {
                let (top, left) = geometry.phase_origin(conv, phase);
                for (row, column) in (0..geometry.plane_rows).flat_map(|row| (0..geometry.row).map(move |c| (row, c))) {
                    let y = row * u32::from(conv.stride[0]) + top as u32;
                    let x = column * u32::from(conv.stride[1]) + left as u32;
                    let y = y.checked_sub(conv.pads[0].into()).filter(|y| *y < h);
                    let x = x.checked_sub(conv.pads[1].into()).filter(|x| *x < w);
                    let at = y.zip(x).map(|(y, x)| (channel * h + y) * w + x);
                    packed.push(at.map_or(0.0, |at| self.x.get()[at as usize]));
                }
            }
        }
        packed
    }

    fn check(&self) {
        let (c, h, w) = self.geometry.input;
        let x: Vec<Approx> = self.x.get().iter().map(|&x| Approx::exact(x)).collect();
        let expected = reference::conv(&self.conv, &self.weights.dense, self.bias.as_deref(), &x, [c, h, w]);
        for kernel in kernels(Problem::Depthwise).filter(|k| k.values == self.weights.desc.values) {
            let y = self.output(kernel);
            let what = (kernel.name, &self.conv, self.geometry.input);
            for (i, (y, expected)) in y.iter().zip(&expected).enumerate() {
                assert!(expected.admits(*y), "{what:?}, {i}: {y} is not {expected:?}");
            }
            assert_same(&y, &self.packed(kernel), &what);
        }
    }
}

#[test]
fn depthwise_of_all_widths() {
    let mut rng = Rng::new(1);
    for width in 1..=40 {
        for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (1, 1), (3, 3)] {
            for pads in [[kernel / 2; 4], [0, 0, 1, 1], [kernel / 2, 0, 0, kernel - 1]] {
                let conv = Conv2d {
                    out_channels: 2,
                    kernel: [kernel; 2],
                    stride: [stride; 2],
                    pads,
                    activation: rng.pick(&ACTIVATIONS),
                    ..CONV
                };
                let height = 1 + rng.below(9) as u32;
                let values = rng.pick(&[ValueType::F32, ValueType::F16, ValueType::Bf16]);
                if let Some(planes) = Planes::new(conv, [2, height, width], values, &mut rng) {
                    planes.check();
                }
            }
        }
    }
}

#[test]
fn depthwise_of_any_shape() {
    let mut rng = Rng::new(2);
    let mut run = 0;
    while run < 400 {
        let mut below = |bound: usize| rng.below(bound) as u16;
        let channels = 1 + below(4);
        let conv = Conv2d {
            out_channels: u32::from(channels * (1 + below(3))),
            kernel: [1 + below(7), 1 + below(7)],
            stride: [1 + below(3), 1 + below(3)],
            dilation: [1 + below(2), 1 + below(2)],
            pads: [below(4), below(4), below(4), below(4)],
            ..CONV
        };
        let input = [channels, 1 + below(40), 1 + below(70)].map(u32::from);
        let activation = rng.pick(&ACTIVATIONS);
        let conv = Conv2d { activation, ..conv };
        let values = rng.pick(&[ValueType::F32, ValueType::F16, ValueType::Bf16]);
        let Some(planes) = Planes::new(conv, input, values, &mut rng) else {
            continue;
        };
        planes.check();
        run += 1;
    }
}

#[test]
fn depthwise_of_special_inputs() {
    let mut rng = Rng::new(3);
    for special in SPECIALS {
        for (stride, width) in [(1, 7), (1, 40), (2, 33), (2, 70)] {
            for activation in ACTIVATIONS {
                let conv = Conv2d {
                    out_channels: 2,
                    stride: [stride; 2],
                    pads: [1; 4],
                    activation,
                    ..CONV
                };
                let mut planes = Planes::new(conv, [2, 6, width], ValueType::F32, &mut rng).unwrap();
                let at = rng.below(planes.x.get().len());
                planes.x.get_mut()[at] = special;
                for kernel in kernels(Problem::Depthwise).filter(|k| k.values == ValueType::F32) {
                    assert_same(&planes.output(kernel), &planes.packed(kernel), &(kernel.name, special));
                }
            }
        }
    }
}

/// Threads compute parts of the planes.
#[test]
fn depthwise_in_parts() {
    let mut rng = Rng::new(4);
    let conv = Conv2d {
        out_channels: 12,
        pads: [1; 4],
        ..CONV
    };
    let planes = Planes::new(conv, [6, 5, 19], ValueType::F32, &mut rng).unwrap();
    for kernel in kernels(Problem::Depthwise).filter(|k| k.values == ValueType::F32) {
        for part in 1..=12 {
            let mut y = vec![f32::NAN; 12 * planes.plane_len()];
            for (i, y) in y.chunks_mut(part * planes.plane_len()).enumerate() {
                planes.run(kernel, i * part, y);
            }
            assert_same(&y, &planes.output(kernel), &kernel.name);
        }
    }
}

/// A pooling window.
#[derive(Clone, Copy, Debug)]
struct Window {
    kind: PoolKind,
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: [usize; 4],
    input: [usize; 2],
}

impl Window {
    /// `None` where the window does not fit.
    fn output(&self) -> Option<[usize; 2]> {
        let [top, left, bottom, right] = self.pads;
        let padded = [top + self.input[0] + bottom, left + self.input[1] + right];
        let slack = |axis: usize| Some(padded[axis].checked_sub(self.kernel[axis])? / self.stride[axis] + 1);
        // As in the format, padding is smaller than the kernel.
        let small = |axis: usize| self.pads[axis] < self.kernel[axis] && self.pads[axis + 2] < self.kernel[axis];
        (small(0) && small(1)).then_some([slack(0)?, slack(1)?])
    }

    /// One window at a time.
    fn plain(&self, x: &[f32], planes: usize) -> Vec<f32> {
        let ([h, w], [out_h, out_w]) = (self.input, self.output().expect("the window fits"));
        let mut y = Vec::new();
        for (plane, oy, ox) in places(planes, out_h, out_w) {
            let mut inside = Vec::new();
            for (_, ky, kx) in places(1, self.kernel[0], self.kernel[1]) {
                let row = (oy * self.stride[0] + ky)
                    .checked_sub(self.pads[0])
                    .filter(|row| *row < h);
                let column = (ox * self.stride[1] + kx)
                    .checked_sub(self.pads[1])
                    .filter(|column| *column < w);
                inside.extend(row.zip(column).map(|(row, column)| x[(plane * h + row) * w + column]));
            }
            let size = self.kernel[0] * self.kernel[1];
            let sum = || inside.iter().sum::<f32>();
            y.push(match self.kind {
                PoolKind::Max => {
                    let nan = inside.iter().any(|x| x.is_nan());
                    let max = |max: f32, &x: &f32| if x > max { x } else { max };
                    if nan {
                        f32::NAN
                    } else {
                        inside.iter().fold(f32::NEG_INFINITY, max)
                    }
                }
                PoolKind::Average => sum() / inside.len().max(1) as f32,
                PoolKind::AverageWithPadding => sum() / size as f32,
            });
        }
        y
    }

    fn check(&self, x: &[f32], planes: usize) {
        let output = self.output().expect("the window fits");
        let whole = self.kind != PoolKind::Max && self.kernel == self.input && self.pads == [0; 4];
        let expected = self.plain(x, planes);
        let x = Guarded::new(x);
        for kernel in kernels(Problem::Pool) {
            let Run::Pool(run) = kernel.run else {
                panic!("{}", kernel.name)
            };
            let mut y = Guarded::new(&vec![f32::NAN; expected.len()]);
            run(&mut Pooling {
                kind: self.kind,
                kernel: self.kernel,
                stride: self.stride,
                pads: [self.pads[0], self.pads[1]],
                input: self.input,
                output,
                x: x.get(),
                y: y.get_mut(),
            });
            let y = y.checked();
            if whole {
                let len = self.input[0] * self.input[1];
                for (y, plane) in y.iter().zip(x.get().chunks(len)) {
                    let mean = Approx::mean(plane.iter().map(|&x| Approx::exact(x)), len);
                    assert!(mean.admits(*y), "{}, {self:?}: {y} is not {mean:?}", kernel.name);
                }
            } else {
                assert_same(y, &expected, &(kernel.name, self));
            }
        }
    }
}

fn places(planes: usize, rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..planes * rows * columns).map(move |i| (i / (rows * columns), i / columns % rows, i % columns))
}

const KINDS: [PoolKind; 3] = [PoolKind::Max, PoolKind::Average, PoolKind::AverageWithPadding];

#[test]
fn pools_of_all_widths() {
    let mut rng = Rng::new(5);
    for width in 1..=40 {
        for (kernel, stride, pad) in [(3, 2, 1), (3, 2, 0), (2, 2, 0), (3, 1, 1), (5, 3, 2)] {
            for kind in KINDS {
                let window = Window {
                    kind,
                    kernel: [kernel; 2],
                    stride: [stride; 2],
                    pads: [pad; 4],
                    input: [1 + rng.below(9), width],
                };
                if window.output().is_some() {
                    window.check(&rng.values(2 * window.input[0] * width), 2);
                }
            }
        }
    }
}

#[test]
fn pools_of_any_shape() {
    let mut rng = Rng::new(6);
    let mut run = 0;
    while run < 600 {
        let window = Window {
            kind: rng.pick(&KINDS),
            kernel: [1 + rng.below(5), 1 + rng.below(5)],
            stride: [1 + rng.below(3), 1 + rng.below(3)],
            pads: [rng.below(3), rng.below(3), rng.below(3), rng.below(3)],
            input: [1 + rng.below(20), 1 + rng.below(70)],
        };
        if window.output().is_none() {
            continue;
        }
        let planes = 1 + rng.below(3);
        let mut x = rng.values(planes * window.input[0] * window.input[1]);
        for _ in 0..rng.below(3) {
            let at = rng.below(x.len());
            x[at] = rng.pick(&SPECIALS);
        }
        window.check(&x, planes);
        run += 1;
    }
}

#[test]
fn means_of_whole_planes() {
    let mut rng = Rng::new(7);
    for len in 1..=100 {
        let window = Window {
            kind: PoolKind::Average,
            kernel: [1, len],
            stride: [1; 2],
            pads: [0; 4],
            input: [1, len],
        };
        window.check(&rng.values(3 * len), 3);
    }
    let window = Window {
        kind: PoolKind::Average,
        kernel: [7, 7],
        stride: [1; 2],
        pads: [0; 4],
        input: [7, 7],
    };
    let mut x = rng.values(49 * 4);
    (x[3], x[60], x[140]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
    window.check(&x, 4);
}

/// Where operands may share memory with the output.
#[test]
fn maps_in_place_and_not() {
    let mut rng = Rng::new(8);
    for kernel in kernels(Problem::Map) {
        let Run::Map(run) = kernel.run else {
            panic!("{}", kernel.name)
        };
        for len in (0..=100).chain([1000]) {
            for combine in [Combine::First, Combine::Sum, Combine::Product] {
                for (own_a, own_b) in [(true, true), (true, false), (false, true), (false, false)] {
                    let activation = rng.pick(&ACTIVATIONS);
                    let mut values = || {
                        let mut values = rng.values(len);
                        for special in SPECIALS.iter().take(len / 9) {
                            let at = rng.below(len);
                            values[at] = *special;
                        }
                        Guarded::new(&values)
                    };
                    let (a, b, mut y) = (values(), values(), values());
                    let operand = |own: bool, values: &Guarded| if own { values } else { &y }.get().to_vec();
                    let pairs = operand(own_a, &a).into_iter().zip(operand(own_b, &b));
                    let expected: Vec<f32> = pairs
                        .map(|(a, b)| match combine {
                            Combine::First => a,
                            Combine::Sum => a + b,
                            Combine::Product => a * b,
                        })
                        .map(|x| apply(activation, x))
                        .collect();
                    run(&mut Map {
                        combine,
                        activation,
                        a: own_a.then_some(a.get()),
                        b: own_b.then_some(b.get()),
                        y: y.get_mut(),
                    });
                    assert_same(
                        y.checked(),
                        &expected,
                        &(kernel.name, combine, activation, own_a, own_b),
                    );
                }
            }
        }
    }
}
