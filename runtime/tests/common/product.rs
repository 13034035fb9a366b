//! Products for panel kernels, run as layers: cut up in every way and shared by threads, compared
//! with sums in f64, and bit by bit with a loop over the weights in order.

use std::cmp::Reverse;

use secateur_format::encoding::{Encoding, ValueType};
use secateur_runtime::kernel::panel::{PanelKernel, Planes, Residual, Rows, Shape, Taps};
use secateur_runtime::kernel::{self, Kernel, Offsets, Run, apply};
use secateur_runtime::prepared::{self, Input, Layer, Lines, Threads, Tiling};

use super::approx::Approx;
use super::case::{Case, Data, GUARD, Panel, Task, fused};
use super::matrices::{Rng, Weights};

#[cfg(feature = "parallel")]
const THREADS: &[usize] = &[1, 2, 3];
#[cfg(not(feature = "parallel"))]
const THREADS: &[usize] = &[1];
pub(crate) const ADDENDS: [Addend; 3] = [Addend::None, Addend::Elsewhere, Addend::InOutput];

pub(crate) fn kernels() -> impl Iterator<Item = (&'static Kernel, PanelKernel)> {
    kernel::ALL
        .iter()
        .filter(|k| k.isa.available())
        .filter_map(|k| match k.run {
            Run::Panel(panel) => Some((k, panel)),
            _ => None,
        })
}

/// Where the tensor that is added lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Addend {
    None,
    Elsewhere,
    InOutput,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    pub(crate) case: Case,
    pub(crate) panel: Panel,
    /// Distance of two pixels of a line in the input.
    pub(crate) step: usize,
    /// Given for convolutions.
    pub(crate) taps: Option<Taps>,
    pub(crate) addend: Addend,
}

/// What a product is made from, beside its weights.
pub(crate) struct Operands {
    pub(crate) data: Data,
    /// The input behind a NaN, so that it is not aligned, and nothing behind it.
    pub(crate) x: Vec<f32>,
    /// The same without padding, for convolutions.
    pub(crate) unpadded: Vec<f32>,
    addend: Vec<f32>,
}

impl Operands {
    pub(crate) fn x(&self) -> &[f32] {
        &self.x[1..]
    }
}

/// How a product is cut up, narrowest and shortest first.
pub(crate) fn few_tilings(kernel: &PanelKernel, cols: usize) -> Vec<Tiling> {
    let most = kernel.vectors;
    [(1, 1), (2, cols.div_ceil(2)), (most, 5), (most, cols)]
        .map(|(vectors, window)| Tiling { vectors, window })
        .to_vec()
}

/// Every width of a panel, and one too many.
pub(crate) fn all_tilings(kernel: &PanelKernel, cols: usize) -> Vec<Tiling> {
    let windows = [0, 1, 3, cols / 2, cols - 1, cols, cols + 100];
    (0..=kernel.vectors + 1)
        .flat_map(|vectors| windows.map(|window| Tiling { vectors, window }))
        .collect()
}

pub(crate) fn threads() -> Vec<Threads> {
    THREADS.iter().map(|&count| Threads::sharing(count, 0)).collect()
}

pub(crate) fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

impl Product {
    pub(crate) fn new(rows: usize, cols: usize, panel: Panel) -> Self {
        Self {
            case: Case::new(rows, cols, Task::Spmm(panel)),
            panel,
            step: 1,
            taps: None,
            addend: Addend::None,
        }
    }

    /// A convolution with `lines` x `keep` outputs, of an input without padding.
    pub(crate) fn conv(rows: usize, groups: usize, taps: Taps, [lines, keep]: [usize; 2]) -> Self {
        let extent = [(taps.kernel[0] - 1) * taps.dilation, taps.kernel[1] - 1];
        let input = [0, 1].map(|axis| ([lines, keep][axis] - 1) * taps.stride[axis] + extent[axis] + 1);
        let panel = Panel {
            groups,
            lines,
            line: taps.stride[0] * input[1],
            keep,
            table: true,
        };
        let cols = taps.kernel[0] * taps.kernel[1] * taps.channels;
        Self {
            step: taps.stride[1],
            taps: Some(Taps { input, ..taps }),
            ..Self::new(rows * groups, cols, panel)
        }
    }

    /// The same convolution, of an input with zeros around it: `[top, left, bottom, right]`.
    pub(crate) fn padded(self, [top, left, bottom, right]: [usize; 4]) -> Self {
        let inside = |taps: Taps| Taps {
            input: [taps.input[0] - top - bottom, taps.input[1] - left - right],
            pads: [top, left],
            ..taps
        };
        Self {
            taps: self.taps.map(inside),
            ..self
        }
    }

    pub(crate) fn flat(rows: usize, cols: usize, columns: usize) -> Self {
        Self::new(rows, cols, Panel::flat(columns))
    }

    pub(crate) fn case(self, change: impl FnOnce(Case) -> Case) -> Self {
        Self {
            case: change(self.case),
            ..self
        }
    }

    pub(crate) fn columns(&self) -> usize {
        self.panel.lines * self.panel.keep
    }

    /// Index in the input of what weight column `col` of `row` meets at `pixel`.
    pub(crate) fn at(&self, data: &Data, row: usize, col: usize, pixel: usize) -> usize {
        let group = row / (self.case.rows / self.panel.groups);
        let (line, place) = (pixel / self.panel.keep, pixel % self.panel.keep);
        group * data.group_stride + data.starts[col] as usize + line * self.panel.line + place * self.step
    }

    pub(crate) fn operands(&self, rng: &mut Rng) -> Operands {
        let mut data = self.case.data(rng);
        if let Some(taps) = self.taps {
            let plane = self.plane(&taps);
            let [height, width] = taps.kernel;
            let line = self.panel.line / taps.stride[0];
            let positions = (0..height).flat_map(|ky| (0..width).map(move |kx| ky * taps.dilation * line + kx));
            data.starts = positions
                .flat_map(|position| (0..taps.channels).map(move |channel| (channel * plane + position) as u32))
                .collect();
            data.group_stride = taps.channels * plane;
            data.x = rng.values(self.panel.groups * data.group_stride);
        }
        // What no pixel meets is NaN.
        let mut x = vec![f32::NAN; data.x.len() + 1];
        for row in (0..self.case.rows).step_by(self.case.rows / self.panel.groups) {
            for col in 0..self.case.cols {
                for pixel in 0..self.columns() {
                    let at = self.at(&data, row, col, pixel);
                    x[1 + at] = data.x[at];
                }
            }
        }
        let mut unpadded = vec![f32::NAN];
        if let Some(taps) = self.taps {
            let line = self.panel.line / taps.stride[0];
            for (i, x) in x[1..].iter_mut().enumerate() {
                let place = [i % self.plane(&taps) / line, i % line];
                let inside = [0, 1].map(|axis| {
                    let before = taps.pads[axis];
                    (before..before + taps.input[axis]).contains(&place[axis])
                });
                match inside {
                    [true, true] => unpadded.push(*x),
                    _ => *x = 0.0,
                }
            }
            unpadded.shrink_to_fit();
        }
        Operands {
            x,
            unpadded,
            addend: rng.values(self.case.rows * self.columns()),
            data,
        }
    }

    /// Numbers of a channel of the padded input.
    pub(crate) fn plane(&self, taps: &Taps) -> usize {
        let lines = (self.panel.lines - 1) * taps.stride[0] + (taps.kernel[0] - 1) * taps.dilation + 1;
        lines * self.panel.line / taps.stride[0]
    }

    pub(crate) fn weights(&self, rng: &mut Rng) -> Vec<f32> {
        rng.weights(self.case.rows, self.case.cols, self.case.density, false)
    }

    pub(crate) fn csr(&self, weights: &[f32]) -> Weights {
        Weights::new(weights, self.case.cols, Encoding::Csr16, ValueType::F32)
    }

    pub(crate) fn check(&self) {
        self.check_tilings(few_tilings);
    }

    pub(crate) fn check_tilings(&self, tilings: fn(&PanelKernel, usize) -> Vec<Tiling>) {
        let mut rng = Rng::new(self.case.seed);
        let weights = self.csr(&self.weights(&mut rng));
        self.check_weights(&weights, &self.operands(&mut rng), tilings);
    }

    /// Compares the layers of all kernels with the truth.
    pub(crate) fn check_weights(
        &self,
        weights: &Weights,
        operands: &Operands,
        tilings: fn(&PanelKernel, usize) -> Vec<Tiling>,
    ) {
        let (mut threads, rows) = (threads(), Rows::of(&weights.matrix(), self.case.cols));
        let expected = self.expected(&weights.dense, operands);
        let [plain, fused_once] =
            [false, true].map(|fused| self.in_order(&weights.dense, operands, fused, Order::Columns));
        for (kernel, panel) in kernels() {
            for (i, tiling) in tilings(&panel, self.case.cols).into_iter().enumerate() {
                let mut alike = if fused(kernel.isa) { &fused_once } else { &plain };
                let by_taps;
                let mut shares = panel.shape == Shape::Pair;
                if let (Shape::Direct { rows: height, stacked }, Some(taps)) = (panel.shape, self.taps) {
                    let folded = Planes::new(&taps, self.panel.keep, 1, panel.lanes).folded > 1;
                    shares = stacked && !folded;
                    let two_sums = folded && height == 1;
                    let order = Order::Taps(taps, tiling.window.clamp(1, taps.channels), two_sums);
                    by_taps = self.in_order(&weights.dense, operands, fused(kernel.isa), order);
                    alike = &by_taps;
                }
                let mut first: Option<Vec<f32>> = None;
                for threads in &mut threads {
                    let Some(layer) = self.layer(kernel, &rows, operands, tiling, threads.count()) else {
                        assert!(!self.fits(&panel, tiling), "{}", kernel.name);
                        continue;
                    };
                    // Guards are what a plain build notices; an address sanitizer notices more without.
                    let y = self.run(&layer, operands, threads, [17, 0][i % 2]);
                    // Which entries share what they load is their own affair, but not that of threads.
                    let alike = match shares {
                        true => first.get_or_insert_with(|| y.clone()),
                        false => alike,
                    };
                    for (i, y) in y.iter().enumerate() {
                        let place = || {
                            let (name, encoding, threads) = (kernel.name, weights.desc.encoding, threads.count());
                            format!("{name} on {encoding}, {tiling:?}, {threads} threads, output {i} of {self:?}")
                        };
                        assert!(expected[i].admits(*y), "{}: {y} is not {:?}", place(), expected[i]);
                        assert!(same(*y, alike[i]), "{}: {y}, in order: {}", place(), alike[i]);
                    }
                }
            }
        }
    }

    /// Whether the kernel can run it: direct ones need a line in their registers.
    fn fits(&self, kernel: &PanelKernel, tiling: Tiling) -> bool {
        let registers = tiling.vectors.clamp(1, kernel.vectors) * kernel.lanes;
        match (kernel.shape, self.taps) {
            (Shape::Direct { .. }, taps) => taps.is_some_and(|taps| self.panel.keep + taps.reaches() <= registers + 1),
            _ => true,
        }
    }

    pub(crate) fn layer(
        &self,
        kernel: &'static Kernel,
        rows: &Rows,
        operands: &Operands,
        tiling: Tiling,
        threads: usize,
    ) -> Option<Layer> {
        let task = prepared::Task {
            rows,
            encoding: Encoding::Csr16,
            groups: self.panel.groups,
            lines: Lines {
                lines: self.panel.lines,
                keep: self.panel.keep,
                line: self.panel.line,
                step: self.step,
            },
            offsets: self.offsets(operands),
            group_stride: operands.data.group_stride,
            taps: self.taps,
            padding: None,
        };
        Layer::new(kernel, &task, tiling, threads)
    }

    fn offsets<'t>(&self, operands: &'t Operands) -> Offsets<'t> {
        let starts = &operands.data.starts;
        match self.panel.table {
            true => Offsets::Table(starts),
            false => Offsets::Stride(starts.get(1).map_or(1, |&start| start as usize)),
        }
    }

    /// The output, `margin` numbers around which must not be written.
    pub(crate) fn run(&self, layer: &Layer, operands: &Operands, threads: &mut Threads, margin: usize) -> Vec<f32> {
        let len = operands.addend.len();
        // What is not written stays NaN.
        let mut around = vec![f32::NAN; len + 2 * margin];
        let (front, y) = around.split_at_mut(margin);
        let (y, behind) = y.split_at_mut(len);
        front.fill(GUARD);
        behind.fill(GUARD);
        let residual = match self.addend {
            Addend::None => Residual::None,
            Addend::Elsewhere => Residual::At(&operands.addend),
            Addend::InOutput => {
                y.copy_from_slice(&operands.addend);
                Residual::InOutput
            }
        };
        let data = &operands.data;
        let input = Input {
            x: if layer.pads() {
                &operands.unpadded[1..]
            } else {
                operands.x()
            },
            offsets: self.offsets(operands),
            group_stride: data.group_stride,
            bias: data.bias.as_deref(),
            residual,
            activation: self.case.activation,
        };
        threads.reserve(layer.scratch_bytes());
        layer.run(&input, y, threads);
        assert!(
            front.iter().chain(behind.iter()).all(|guard| *guard == GUARD),
            "{}",
            layer.kernel().name
        );
        y.to_vec()
    }

    /// For every output: its bias, its addend, and its products, each with its weight column.
    fn outputs<'t>(
        &'t self,
        weights: &'t [f32],
        operands: &'t Operands,
    ) -> impl Iterator<Item = (f32, f32, Vec<(usize, f32, f32)>)> + use<'t> {
        let (cols, columns, data) = (self.case.cols, self.columns(), &operands.data);
        (0..self.case.rows * columns).map(move |i| {
            let (row, pixel) = (i / columns, i % columns);
            let line = weights[row * cols..][..cols].iter().enumerate();
            let products = line
                .filter(|(_, w)| **w != 0.0)
                .map(move |(col, &w)| (col, w, operands.x()[self.at(data, row, col, pixel)]));
            let bias = data.bias.as_ref().map_or(0.0, |bias| bias[row]);
            (bias, operands.addend[i], products.collect())
        })
    }

    fn added(&self) -> bool {
        self.addend != Addend::None
    }

    pub(crate) fn expected(&self, weights: &[f32], operands: &Operands) -> Vec<Approx> {
        let added = (self.case.cols, f32::from(self.added()));
        self.outputs(weights, operands)
            .map(|(bias, addend, products)| {
                let terms = products.into_iter().chain([(added.0, added.1, addend)]);
                Approx::dot(bias, terms.map(|(_, w, x)| (w, Approx::exact(x)))).activate(self.case.activation)
            })
            .collect()
    }

    pub(crate) fn in_order(&self, weights: &[f32], operands: &Operands, fused: bool, order: Order) -> Vec<f32> {
        let multiply = |sum: f32, &(_, w, x): &(usize, f32, f32)| match fused {
            true => x.mul_add(w, sum),
            false => x * w + sum,
        };
        self.outputs(weights, operands)
            .map(|(bias, addend, mut products)| {
                let sum = match order {
                    Order::Columns => products.iter().fold(bias, multiply),
                    Order::Taps(taps, window, two_sums) => {
                        let window = |&(col, ..): &(usize, f32, f32)| col % taps.channels / window;
                        let reach = |col: usize| col / taps.channels % taps.kernel[1] / taps.stride[1];
                        products.sort_by_key(|product| (window(product), Reverse(reach(product.0)), product.0));
                        (0..taps.channels).fold(bias, |before, at| {
                            let group = |wanted: usize| {
                                let here = products.iter().filter(move |product| window(product) == at);
                                here.filter(move |product| reach(product.0) == wanted)
                            };
                            let groups = (0..taps.reaches()).rev();
                            groups.fold(0.0, |sum, wanted| match two_sums {
                                true => {
                                    let odd = group(wanted).skip(1).step_by(2).fold(0.0, multiply);
                                    group(wanted).step_by(2).fold(sum, multiply) + odd
                                }
                                false => group(wanted).fold(sum, multiply),
                            }) + before
                        })
                    }
                };
                let sum = if self.added() { sum + addend } else { sum };
                apply(self.case.activation, sum)
            })
            .collect()
    }
}

/// The order of a sum.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    Columns,
    /// So many channels at a time, each of them from the kernel columns that reach farthest to the first.
    /// If so, every other product of a group is added to a sum of its own.
    Taps(Taps, usize, bool),
}
