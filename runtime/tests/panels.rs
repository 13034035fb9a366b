//! One suite for the panel kernels, through the layers that use them: every
//! kernel this CPU can run, products cut up in every way and shared by threads, compared with sums
//! in f64, and bit by bit with a loop over the weights in order.

#[cfg(test)]
mod common;

use std::cmp::Reverse;
use std::collections::BTreeSet;

use common::approx::Approx;
use common::case::{Case, Data, Panel, Task, fused};
use common::matrices::{Rng, Weights, encodings, layouts};
use proptest::prelude::*;
use secateur_format::encoding::{Encoding, ValueType};
use secateur_runtime::Activation;
use secateur_runtime::kernel::panel::{PanelKernel, Residual, Rows, Shape, Taps};
use secateur_runtime::kernel::{self, Isa, Kernel, Offsets, Run, apply};
use secateur_runtime::prepared::{self, Input, Layer, Lines, Threads, Tiling};

const ACTIVATIONS: [Activation; 9] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Relu6,
    Activation::LeakyRelu(0.125),
    Activation::Gelu,
    Activation::Silu,
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::HardSwish,
];
const ADDENDS: [Addend; 3] = [Addend::None, Addend::Elsewhere, Addend::InOutput];
/// Before and behind an output.
const GUARD: f32 = 12345.0;
#[cfg(feature = "parallel")]
const THREADS: &[usize] = &[1, 2, 3];
#[cfg(not(feature = "parallel"))]
const THREADS: &[usize] = &[1];

fn kernels() -> impl Iterator<Item = (&'static Kernel, PanelKernel)> {
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
enum Addend {
    None,
    Elsewhere,
    InOutput,
}

#[derive(Clone, Copy, Debug)]
struct Product {
    case: Case,
    panel: Panel,
    /// Given for convolutions of stride 1.
    taps: Option<Taps>,
    addend: Addend,
}

/// 3x3 kernel positions.
const TAPS: Taps = Taps {
    kernel: [3, 3],
    dilation: 1,
    channels: 2,
};

/// What a product is made from, beside its weights.
struct Operands {
    data: Data,
    /// The input behind a NaN, so that it is not aligned, and nothing behind it.
    x: Vec<f32>,
    addend: Vec<f32>,
}

impl Operands {
    fn x(&self) -> &[f32] {
        &self.x[1..]
    }
}

/// How a product is cut up, narrowest and shortest first.
fn few_tilings(kernel: &PanelKernel, cols: usize) -> Vec<Tiling> {
    let most = kernel.vectors;
    [(1, 1), (2, cols.div_ceil(2)), (most, 5), (most, cols)]
        .map(|(vectors, window)| Tiling { vectors, window })
        .to_vec()
}

/// Every width of a panel, and one too many.
fn all_tilings(kernel: &PanelKernel, cols: usize) -> Vec<Tiling> {
    let windows = [0, 1, 3, cols / 2, cols - 1, cols, cols + 100];
    (0..=kernel.vectors + 1)
        .flat_map(|vectors| windows.map(|window| Tiling { vectors, window }))
        .collect()
}

fn threads() -> Vec<Threads> {
    THREADS.iter().map(|&count| Threads::new(count)).collect()
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

impl Product {
    fn new(rows: usize, cols: usize, panel: Panel) -> Self {
        Self {
            case: Case::new(rows, cols, Task::Spmm(panel)),
            panel,
            taps: None,
            addend: Addend::None,
        }
    }

    /// A convolution of stride 1 with `lines` x `keep` outputs.
    fn conv(rows: usize, groups: usize, taps: Taps, [lines, keep]: [usize; 2]) -> Self {
        let panel = Panel {
            groups,
            lines,
            line: keep + taps.kernel[1] - 1,
            keep,
            table: true,
        };
        let cols = taps.kernel[0] * taps.kernel[1] * taps.channels;
        Self {
            taps: Some(taps),
            ..Self::new(rows * groups, cols, panel)
        }
    }

    fn flat(rows: usize, cols: usize, columns: usize) -> Self {
        Self::new(rows, cols, Panel::flat(columns))
    }

    fn case(self, change: impl FnOnce(Case) -> Case) -> Self {
        Self {
            case: change(self.case),
            ..self
        }
    }

    fn columns(&self) -> usize {
        self.panel.lines * self.panel.keep
    }

    /// Index in the input of what weight column `col` of `row` meets at `pixel`.
    fn at(&self, data: &Data, row: usize, col: usize, pixel: usize) -> usize {
        let group = row / (self.case.rows / self.panel.groups);
        let (line, place) = (pixel / self.panel.keep, pixel % self.panel.keep);
        group * data.group_stride + data.starts[col] as usize + line * self.panel.line + place
    }

    fn operands(&self, rng: &mut Rng) -> Operands {
        let mut data = self.case.data(rng);
        if let Some(taps) = self.taps {
            let plane = self.plane(&taps);
            let [height, width] = taps.kernel;
            let positions =
                (0..height).flat_map(|ky| (0..width).map(move |kx| ky * taps.dilation * self.panel.line + kx));
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
        Operands {
            x,
            addend: rng.values(self.case.rows * self.columns()),
            data,
        }
    }

    /// Numbers of a channel of the input.
    fn plane(&self, taps: &Taps) -> usize {
        (self.panel.lines + taps.halo()) * self.panel.line
    }

    fn weights(&self, rng: &mut Rng) -> Vec<f32> {
        rng.weights(self.case.rows, self.case.cols, self.case.density, false)
    }

    fn csr(&self, weights: &[f32]) -> Weights {
        Weights::new(weights, self.case.cols, Encoding::Csr16, ValueType::F32)
    }

    fn check(&self) {
        self.check_tilings(few_tilings);
    }

    fn check_tilings(&self, tilings: fn(&PanelKernel, usize) -> Vec<Tiling>) {
        let mut rng = Rng::new(self.case.seed);
        let weights = self.csr(&self.weights(&mut rng));
        self.check_weights(&weights, &self.operands(&mut rng), tilings);
    }

    /// Compares the layers of all kernels with the truth.
    fn check_weights(&self, weights: &Weights, operands: &Operands, tilings: fn(&PanelKernel, usize) -> Vec<Tiling>) {
        let (mut threads, rows) = (threads(), Rows::of(&weights.matrix(), self.case.cols));
        let expected = self.expected(&weights.dense, operands);
        let [plain, fused_once] =
            [false, true].map(|fused| self.in_order(&weights.dense, operands, fused, Order::Columns));
        for (kernel, panel) in kernels() {
            for (i, tiling) in tilings(&panel, self.case.cols).into_iter().enumerate() {
                let mut alike = if fused(kernel.isa) { &fused_once } else { &plain };
                let by_taps;
                if let (Shape::Direct, Some(taps)) = (panel.shape, self.taps) {
                    let order = Order::Taps(taps, tiling.window.clamp(1, taps.channels));
                    by_taps = self.in_order(&weights.dense, operands, fused(kernel.isa), order);
                    alike = &by_taps;
                }
                for threads in &mut threads {
                    let Some(layer) = self.layer(kernel, &rows, operands, tiling, threads.count()) else {
                        assert!(!self.fits(&panel, tiling), "{}", kernel.name);
                        continue;
                    };
                    // Guards are what a plain build notices; an address sanitizer notices more without.
                    let y = self.run(&layer, operands, threads, [17, 0][i % 2]);
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
        let vectors = tiling.vectors.clamp(1, kernel.vectors);
        kernel.shape != Shape::Direct || (self.taps.is_some() && self.panel.line <= vectors * kernel.lanes)
    }

    fn layer(
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
            },
            offsets: self.offsets(operands),
            group_stride: operands.data.group_stride,
            channel_stride: self.taps.map_or(0, |taps| self.plane(&taps)),
            taps: self.taps,
            unpadded: None,
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
    fn run(&self, layer: &Layer, operands: &Operands, threads: &mut Threads, margin: usize) -> Vec<f32> {
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
            x: operands.x(),
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

    fn expected(&self, weights: &[f32], operands: &Operands) -> Vec<Approx> {
        let added = (self.case.cols, f32::from(self.added()));
        self.outputs(weights, operands)
            .map(|(bias, addend, products)| {
                let terms = products.into_iter().chain([(added.0, added.1, addend)]);
                Approx::dot(bias, terms.map(|(_, w, x)| (w, Approx::exact(x)))).activate(self.case.activation)
            })
            .collect()
    }

    fn in_order(&self, weights: &[f32], operands: &Operands, fused: bool, order: Order) -> Vec<f32> {
        let multiply = |sum: f32, &(_, w, x): &(usize, f32, f32)| match fused {
            true => x.mul_add(w, sum),
            false => x * w + sum,
        };
        self.outputs(weights, operands)
            .map(|(bias, addend, mut products)| {
                let sum = match order {
                    Order::Columns => products.iter().fold(bias, multiply),
                    Order::Taps(taps, window) => {
                        let window = |&(col, ..): &(usize, f32, f32)| col % taps.channels / window;
                        let across = |col: usize| col / taps.channels % taps.kernel[1];
                        products.sort_by_key(|product| (window(product), Reverse(across(product.0)), product.0));
                        (0..taps.channels).fold(bias, |before, at| {
                            let here = products.iter().filter(|product| window(product) == at);
                            here.fold(0.0, multiply) + before
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
enum Order {
    Columns,
    /// So many channels at a time, each of them from the last kernel column to the first.
    Taps(Taps, usize),
}

/// Each instruction set has its kernels, and none is left out here.
#[test]
fn instruction_sets_have_panel_kernels() {
    let isas = |with: &dyn Fn(&Kernel) -> bool| -> BTreeSet<String> {
        let all = kernel::ALL.iter().filter(|k| k.isa != Isa::Scalar && with(k));
        all.map(|k| format!("{:?}", k.isa)).collect()
    };
    let shape = |k: &Kernel| match k.run {
        Run::Panel(panel) => Some(panel.shape),
        _ => None,
    };
    let all = isas(&|_| true);
    assert_eq!(isas(&|k| shape(k) == Some(Shape::Pair)), all);
    assert_eq!(isas(&|k| matches!(shape(k), Some(Shape::Dense { .. }))), all);
    assert_eq!(isas(&|k| matches!(shape(k), Some(Shape::Block { .. }))), all);
    assert_eq!(isas(&|k| shape(k) == Some(Shape::Direct)), all);
}

#[test]
fn other_kernels_make_no_layers() {
    let (product, mut rng) = (Product::conv(2, 1, TAPS, [3, 4]), Rng::new(1));
    let rows = Rows::of(&product.csr(&[1.0; 36]).matrix(), 18);
    let (operands, tiling) = (product.operands(&mut rng), Tiling { vectors: 8, window: 18 });
    for kernel in kernel::ALL {
        let layer = product.layer(kernel, &rows, &operands, tiling, 1);
        assert_eq!(layer.is_some(), matches!(kernel.run, Run::Panel(_)), "{}", kernel.name);
    }
}

/// Rows that fill no strip, parts that have no rows.
#[test]
fn row_counts() {
    for rows in (1..=18).chain([23, 25, 31, 32, 33, 39]) {
        Product::flat(rows, 20, 19).check();
        Product::flat(rows, 3, 130).check();
    }
}

/// Every tail of every panel.
#[test]
fn column_counts() {
    for columns in 1..=200 {
        Product::flat(3, 9, columns).check();
    }
    for columns in [255, 256, 257, 384, 400, 1000] {
        Product::flat(9, 12, columns).check();
    }
}

#[test]
fn weight_column_counts() {
    for cols in [1, 2, 3, 4, 5, 31, 63, 64, 65, 128, 255, 256, 257, 511, 600] {
        for columns in [1, 49, 196] {
            Product::flat(10, cols, columns).check();
        }
    }
}

#[test]
fn windows_and_widths() {
    let gaps = Panel {
        groups: 2,
        lines: 26,
        line: 5,
        keep: 3,
        table: true,
    };
    for panel in [Panel::flat(1), Panel::flat(49), Panel::flat(130), gaps] {
        Product::new(6, 23, panel).check_tilings(all_tilings);
    }
    // What is added must not be added once per window.
    for addend in ADDENDS {
        let product = Product::flat(5, 6, 21);
        Product { addend, ..product }.check_tilings(all_tilings);
    }
}

/// Weights and panels that do not fit their share of the cache: several chunks and batches.
#[test]
fn chunks_and_batches() {
    for density in [0.3, 1.0] {
        let product = Product::flat(40, 900, 700);
        product
            .case(|case| Case { density, ..case })
            .check_tilings(|kernel, cols| {
                let vectors = kernel.vectors;
                [cols, 100].map(|window| Tiling { vectors, window }).to_vec()
            });
    }
}

/// Direct kernels: bands of lines, lines of several vectors, sums that move down.
#[test]
fn convolutions() {
    for kernel in [[1, 2], [3, 3], [2, 5], [5, 5], [7, 7]] {
        for (channels, groups, dilation) in [(1, 1, 1), (5, 1, 2), (3, 3, 1)] {
            let taps = Taps {
                kernel,
                dilation,
                channels,
            };
            for output in [[1, 1], [4, 3], [7, 7], [9, 14], [14, 30]] {
                for addend in ADDENDS {
                    let product = Product::conv(5, groups, taps, output);
                    Product { addend, ..product }.check();
                }
            }
        }
    }
    // Lines up to the widest that any register file holds.
    for keep in (1..=226).step_by(5).chain([62, 63, 126, 127, 222]) {
        let product = Product::conv(2, 1, TAPS, [3, keep]);
        product.check_tilings(|kernel, _| {
            let vectors = kernel.vectors;
            [1, 2].map(|window| Tiling { vectors, window }).to_vec()
        });
    }
    Product::conv(5, 2, Taps { channels: 4, ..TAPS }, [6, 5]).check_tilings(all_tilings);
}

/// As in a convolution, what lies between the end of a line and the start of the next is dropped.
#[test]
fn lines_and_groups() {
    for (lines, line, keep) in [
        (1, 9, 9),
        (5, 3, 1),
        (7, 9, 7),
        (14, 16, 14),
        (3, 34, 32),
        (9, 33, 1),
        (2, 170, 130),
        (30, 3, 2),
    ] {
        for groups in 1..=4 {
            for table in [false, true] {
                let panel = Panel {
                    groups,
                    lines,
                    line,
                    keep,
                    table,
                };
                Product::new(5 * groups, 11, panel).check();
            }
        }
    }
}

#[test]
fn densities_and_empty_rows() {
    for density in [0.0, 0.02, 0.1, 0.9, 1.0] {
        for rows in [1, 8, 19] {
            let product = Product::flat(rows, 70, 50);
            product.case(|case| Case { density, ..case }).check();
        }
    }
    // Only one row has weights, and only in the last window.
    for filled in 0..9 {
        let (product, mut rng) = (Product::flat(9, 40, 21), Rng::new(3));
        let mut weights = vec![0.0; 9 * 40];
        weights[filled * 40 + 38] = 1.5;
        let weights = product.csr(&weights);
        product.check_weights(&weights, &product.operands(&mut rng), few_tilings);
    }
}

#[test]
fn ends_of_a_sum() {
    for activation in ACTIVATIONS {
        for bias in [false, true] {
            for addend in ADDENDS {
                let product = Product::flat(7, 18, 37).case(|case| Case {
                    activation,
                    bias,
                    ..case
                });
                Product { addend, ..product }.check();
            }
        }
    }
}

/// The same bits, however the weights are stored.
#[test]
fn encodings_and_value_types() {
    for panel in [
        Panel::flat(25),
        Panel {
            groups: 2,
            ..Panel::flat(40)
        },
    ] {
        for values in [ValueType::F32, ValueType::F16, ValueType::Bf16] {
            let product = Product::new(32, 144, panel);
            let mut rng = Rng::new(5);
            let (weights, operands) = (product.weights(&mut rng), product.operands(&mut rng));
            for encoding in layouts().into_iter().flat_map(|layout| encodings(layout, 32, 144)) {
                let weights = Weights::new(&weights, 144, encoding, values);
                product.check_weights(&weights, &operands, |kernel, _| {
                    vec![Tiling {
                        vectors: kernel.vectors,
                        window: 50,
                    }]
                });
            }
        }
    }
}

/// Rows of which some meet NaN and infinities: the others stay finite, whatever strips they share.
#[test]
fn special_inputs_stay_where_they_belong() {
    let product = Product::flat(23, 30, 45);
    for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut rng = Rng::new(9);
        let weights = rng.weights(23, 30, 0.1, false);
        let weights = product.csr(&weights);
        let rows = Rows::of(&weights.matrix(), 30);
        let mut operands = product.operands(&mut rng);
        let clean = product.in_order(&weights.dense, &operands, true, Order::Columns);
        let clean_plain = product.in_order(&weights.dense, &operands, false, Order::Columns);
        let cols = [0, 13, 29];
        for col in cols {
            let start = operands.data.starts[col] as usize;
            // The middle, which no other column meets.
            operands.x[1 + start + 23..][..22].fill(special);
        }
        for (kernel, panel) in kernels() {
            // Blocks and dense strips multiply the zeros beside their weights.
            let strip = match panel.shape {
                Shape::Pair => 1,
                Shape::Block { rows } => rows,
                Shape::Dense { .. } | Shape::Direct => continue,
            };
            for tiling in all_tilings(&panel, 30) {
                for threads in &mut threads() {
                    let layer = product
                        .layer(kernel, &rows, &operands, tiling, threads.count())
                        .unwrap();
                    let y = product.run(&layer, &operands, threads, 1);
                    let clean = if fused(kernel.isa) { &clean } else { &clean_plain };
                    for (i, &y) in y.iter().enumerate() {
                        let (row, pixel) = (i / 45, i % 45);
                        let meets = |row: usize| {
                            let line = weights.dense.get(row * 30..(row + 1) * 30);
                            let special = |line: &[f32]| {
                                (0..30).any(|col| {
                                    line[col] != 0.0
                                        && !operands.x()[product.at(&operands.data, row, col, pixel)].is_finite()
                                })
                            };
                            line.is_some_and(special)
                        };
                        let first = row / strip * strip;
                        if meets(row) {
                            assert!(!y.is_finite(), "{} {tiling:?} output {i}: {y}", kernel.name);
                        } else if !(first..first + strip).any(meets) {
                            assert!(
                                same(y, clean[i]),
                                "{} {tiling:?} output {i}: {y} is not {}",
                                kernel.name,
                                clean[i]
                            );
                        }
                    }
                }
            }
        }
    }
}

/// A row that does not meet NaN stays finite beside rows that do.
#[test]
fn special_inputs_of_convolutions() {
    let taps = Taps { channels: 3, ..TAPS };
    let (product, mut rng) = (Product::conv(2, 1, taps, [4, 5]), Rng::new(8));
    let mut operands = product.operands(&mut rng);
    // The last channel is NaN, and only the second row has weights for it.
    let plane = product.plane(&taps);
    operands.x[1 + 2 * plane..].fill(f32::NAN);
    let weight = |i: usize| f32::from(i % 3 != 2 || i == 2 * 27 - 1);
    let rows = Rows::of(&product.csr(&(0..54).map(weight).collect::<Vec<_>>()).matrix(), 27);
    for (kernel, panel) in kernels().filter(|(_, panel)| panel.shape == Shape::Direct) {
        for tiling in all_tilings(&panel, 3) {
            for threads in &mut threads() {
                if let Some(layer) = product.layer(kernel, &rows, &operands, tiling, threads.count()) {
                    let y = product.run(&layer, &operands, threads, 1);
                    assert!(
                        y[..20].iter().all(|y| y.is_finite()),
                        "{} {tiling:?}: {y:?}",
                        kernel.name
                    );
                    assert!(y[20..].iter().all(|y| y.is_nan()), "{} {tiling:?}: {y:?}", kernel.name);
                }
            }
        }
    }
}

/// Nothing is left over in the threads' memory for the next layer.
#[test]
fn layers_share_threads() {
    let convs = [[9, 30], [4, 6]].map(|output| Product::conv(9, 1, TAPS, output));
    for [wide, narrow] in [[Product::flat(9, 80, 300), Product::flat(5, 33, 21)], convs] {
        let mut rng = Rng::new(2);
        let [(wide_weights, mut wide_operands), (weights, operands)] = [wide, narrow].map(|product| {
            let weights = product.weights(&mut rng);
            (product.csr(&weights), product.operands(&mut rng))
        });
        wide_operands.x.fill(f32::NAN);
        let wide_rows = Rows::of(&wide_weights.matrix(), wide.case.cols);
        let rows = Rows::of(&weights.matrix(), narrow.case.cols);
        for (kernel, panel) in kernels() {
            for tiling in few_tilings(&panel, narrow.case.cols) {
                for mut threads in threads() {
                    let (count, fresh) = (threads.count(), &mut Threads::new(threads.count()));
                    if let Some(layer) = wide.layer(kernel, &wide_rows, &wide_operands, tiling, count) {
                        wide.run(&layer, &wide_operands, &mut threads, 1);
                    }
                    let Some(layer) = narrow.layer(kernel, &rows, &operands, tiling, count) else {
                        continue;
                    };
                    let y = narrow.run(&layer, &operands, &mut threads, 1);
                    let alone = narrow.run(&layer, &operands, fresh, 1);
                    let alike = y.iter().zip(&alone).all(|(y, alone)| same(*y, *alone));
                    assert!(alike, "{} {tiling:?}", kernel.name);
                }
            }
        }
    }
}

/// A layer is made for a number of threads, and right with any other.
#[test]
fn layers_run_on_any_number_of_threads() {
    for product in [
        Product::flat(21, 40, 9),
        Product::flat(21, 40, 300),
        Product::conv(9, 1, TAPS, [20, 9]),
    ] {
        let (mut rng, cols) = (Rng::new(4), product.case.cols);
        let weights = product.csr(&product.weights(&mut rng));
        let (rows, operands) = (Rows::of(&weights.matrix(), cols), product.operands(&mut rng));
        for (kernel, panel) in kernels() {
            for tiling in few_tilings(&panel, cols) {
                let layers = [1, 2, 3, 5].map(|count| product.layer(kernel, &rows, &operands, tiling, count));
                let mut first: Option<Vec<f32>> = None;
                for layer in layers.iter().flatten() {
                    for threads in &mut threads() {
                        let y = product.run(layer, &operands, threads, 1);
                        let first = first.get_or_insert_with(|| y.clone());
                        let alike = y.iter().zip(first).all(|(y, first)| same(*y, *first));
                        assert!(alike, "{} {tiling:?}, {} threads", kernel.name, threads.count());
                    }
                }
            }
        }
    }
}

/// Operands that are too short (impossible for a checked plan) are never read past their ends.
#[test]
fn short_operands_are_left_alone() {
    let (product, mut rng) = (Product::flat(5, 6, 20), Rng::new(6));
    let weights = product.csr(&product.weights(&mut rng));
    let (rows, operands) = (Rows::of(&weights.matrix(), 6), product.operands(&mut rng));
    let (x, short, bias) = (vec![1.0; 120], vec![1.0; 99], vec![1.0; 4]);
    let table: Vec<u32> = vec![0, 20, 40, 60, 80, 119];
    let whole = Input {
        x: &x,
        offsets: Offsets::Stride(20),
        group_stride: 0,
        bias: None,
        residual: Residual::None,
        activation: Activation::Relu,
    };
    let inputs = [
        Input { x: &[], ..whole },
        Input { x: &short, ..whole },
        Input {
            bias: Some(&bias),
            ..whole
        },
        Input {
            residual: Residual::At(&short),
            ..whole
        },
        Input {
            offsets: Offsets::Stride(21),
            ..whole
        },
        Input {
            offsets: Offsets::Stride(usize::MAX),
            ..whole
        },
        Input {
            offsets: Offsets::Table(&table),
            ..whole
        },
        Input {
            offsets: Offsets::Table(&table[..3]),
            ..whole
        },
        Input {
            offsets: Offsets::Table(&[]),
            ..whole
        },
    ];
    for (kernel, panel) in kernels() {
        for tiling in few_tilings(&panel, 6) {
            for threads in &mut threads() {
                let Some(layer) = product.layer(kernel, &rows, &operands, tiling, threads.count()) else {
                    continue;
                };
                threads.reserve(layer.scratch_bytes());
                for input in &inputs {
                    layer.run(input, &mut [0.0; 100], threads);
                }
                for rows in 0..5 {
                    layer.run(&whole, &mut vec![0.0; 20 * rows], threads);
                }
            }
        }
    }
}

fn product() -> impl Strategy<Value = Product> {
    let panel = (1..=4usize, 1..=9usize, 1..=70usize, 0..=3usize, any::<bool>());
    let panel = panel.prop_map(|(groups, lines, keep, gap, table)| Panel {
        groups,
        lines,
        line: keep + gap,
        keep,
        table,
    });
    let density = prop_oneof![0.0..=1.0f32, Just(0.1)];
    let ends = (
        any::<bool>(),
        prop::sample::select(ACTIVATIONS.to_vec()),
        prop::sample::select(ADDENDS.to_vec()),
    );
    (
        panel,
        1..=20usize,
        prop_oneof![1..=40usize, 100..=200usize],
        density,
        ends,
        any::<u64>(),
    )
        .prop_map(|(panel, rows, cols, density, (bias, activation, addend), seed)| {
            let product = Product::new(panel.groups * rows, cols, panel).case(|case| Case {
                density,
                bias,
                activation,
                seed,
                ..case
            });
            Product { addend, ..product }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn products_are_right(product in product()) {
        product.check();
    }
}
