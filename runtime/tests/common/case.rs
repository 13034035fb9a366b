//! A problem that every kernel must solve: in every encoding and value type of
//! its layout, compared with sums in f64 over the decoded weights, and, where
//! the order of accumulation is fixed, with each other bit by bit.

use std::collections::BTreeSet;

use secateur_format::encoding::{Encoding, Matrix};
use secateur_format::geometry::ConvGeometry;
use secateur_format::op::Conv2d;
use secateur_format::{Activation, Shape, TensorId};
use secateur_runtime::kernel::slices::{Slices, Windows};
use secateur_runtime::kernel::{self, DirectConv, Isa, Kernel, Layout, Offsets, Problem, Run, Spmm, Spmv};

use super::approx::Approx;
use super::matrices::{Rng, Weights, encodings};
use super::reference;

/// Whether the kernels of an instruction set multiply and add with one rounding.
pub(crate) fn fused(isa: Isa) -> bool {
    match isa {
        Isa::Scalar | Isa::Simd128 => false,
        Isa::Portable => cfg!(any(target_feature = "fma", target_arch = "aarch64")),
        Isa::Avx2 | Isa::Avx512 | Isa::Neon => true,
    }
}

/// Before and behind every output.
pub(crate) const GUARD: f32 = 12345.0;

/// The runs of an SpMM.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panel {
    pub(crate) groups: usize,
    pub(crate) lines: usize,
    pub(crate) line: usize,
    pub(crate) keep: usize,
    /// Columns start at random places, not at equal distances.
    pub(crate) table: bool,
}

impl Panel {
    /// One line that is kept whole.
    pub(crate) fn flat(run: usize) -> Self {
        Self {
            groups: 1,
            lines: 1,
            line: run,
            keep: run,
            table: false,
        }
    }

    /// As in a convolution, the run ends with what is kept of the last line.
    pub(crate) fn run(&self) -> usize {
        (self.lines - 1) * self.line + self.keep
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    Spmv,
    Spmm(Panel),
    Conv { conv: Conv2d, input: [u32; 3] },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// Share of weights that are not zero.
    pub(crate) density: f32,
    pub(crate) bias: bool,
    pub(crate) activation: Activation,
    /// Replaces inputs that only meet non-zero weights.
    pub(crate) special: Option<f32>,
    /// Replaces inputs that meet no weight.
    pub(crate) unmet: Option<f32>,
    pub(crate) task: Task,
    pub(crate) seed: u64,
}

/// Everything about a case but its weights.
pub(crate) struct Data {
    pub(crate) bias: Option<Vec<f32>>,
    pub(crate) x: Vec<f32>,
    /// SpMM: start of each column's run.
    pub(crate) starts: Vec<u32>,
    pub(crate) group_stride: usize,
}

/// What one set of weights must give.
struct Truth {
    weights: Vec<f32>,
    expected: Vec<Approx>,
    /// The scalar kernel of the same value type, on the weights stored dense.
    oracle: Vec<f32>,
    /// The first fused SpMM kernel's result, which all others repeat.
    fused: Option<Vec<f32>>,
}

impl Case {
    pub(crate) fn new(rows: usize, cols: usize, task: Task) -> Self {
        Self {
            rows,
            cols,
            density: 0.5,
            bias: true,
            activation: Activation::Identity,
            special: None,
            unmet: None,
            task,
            seed: 1,
        }
    }

    /// A convolution with all its weights.
    pub(crate) fn conv(conv: Conv2d, input: [u32; 3]) -> Self {
        let cols = conv.cols(input[0]).unwrap() as usize;
        Self::new(conv.out_channels as usize, cols, Task::Conv { conv, input })
    }

    pub(crate) fn problem(&self) -> Problem {
        match self.task {
            Task::Spmv => Problem::Spmv,
            Task::Spmm(_) => Problem::Spmm,
            Task::Conv { .. } => Problem::DirectConv,
        }
    }

    /// Runs all kernels of the problem; returns the names of those that fit.
    pub(crate) fn check(&self) -> BTreeSet<&'static str> {
        let mut rng = Rng::new(self.seed);
        let mut weights = rng.weights(self.rows, self.cols, self.density, self.special.is_some());
        if self.unmet.is_some() {
            let hidden = weights.iter_mut().enumerate().filter(|(i, _)| is_unmet(i % self.cols));
            hidden.for_each(|(_, w)| *w = 0.0);
        }
        let data = self.data(&mut rng);
        let mut run = BTreeSet::new();
        for oracle in kernel::SCALAR
            .iter()
            .filter(|k| self.fits(k) && k.layout == Layout::Dense)
        {
            let mut truth = self.truth(oracle, &weights, &data);
            for kernel in kernel::ALL.iter().filter(|k| self.fits(k) && k.values == oracle.values) {
                let encodings = encodings(kernel.layout, self.rows, self.cols).into_iter();
                for encoding in encodings.filter(|&e| self.unmet.is_none() || !stores_zeros(e)) {
                    let weights = Weights::new(&weights, self.cols, encoding, kernel.values);
                    // Most encodings hold the same weights, but N:M drops some.
                    if weights.dense != truth.weights {
                        truth = self.truth(oracle, &weights.dense, &data);
                    }
                    self.compare(kernel, &weights, &data, &mut truth);
                    run.insert(kernel.name);
                }
            }
        }
        run
    }

    /// Whether a kernel solves the problem; of weights side by side it is the same one.
    pub(crate) fn fits(&self, kernel: &Kernel) -> bool {
        let problem = match kernel.problem() {
            Problem::Slices => Problem::Spmv,
            problem => problem,
        };
        problem == self.problem() && kernel.isa.available()
    }

    fn truth(&self, oracle: &Kernel, weights: &[f32], data: &Data) -> Truth {
        let dense = Weights::new(weights, self.cols, Encoding::Dense, oracle.values);
        Truth {
            expected: self.expected(&dense.dense, data),
            oracle: self.run(oracle, &dense, data),
            fused: None,
            weights: dense.dense,
        }
    }

    fn compare(&self, kernel: &Kernel, weights: &Weights, data: &Data, truth: &mut Truth) {
        let y = self.run(kernel, weights, data);
        let place = |i: usize| format!("{} on {} of {self:?}, output {i}", kernel.name, weights.desc.encoding);
        for (i, (y, expected)) in y.iter().zip(&truth.expected).enumerate() {
            assert!(expected.admits(*y), "{}: {y} is not {expected:?}", place(i));
        }
        let alike = match (kernel.isa, self.problem()) {
            // To the dense kernel, what meets no weight meets a zero.
            _ if self.unmet.is_some() => return,
            (Isa::Scalar, _) => &truth.oracle,
            (isa, Problem::Spmm) if !fused(isa) => &truth.oracle,
            (_, Problem::Spmm) => truth.fused.get_or_insert_with(|| y.clone()),
            _ => return,
        };
        for (i, (y, alike)) in y.iter().zip(alike).enumerate() {
            let same = y.to_bits() == alike.to_bits() || (y.is_nan() && alike.is_nan());
            assert!(same, "{}: {y}, another kernel: {alike}", place(i));
        }
    }

    pub(crate) fn data(&self, rng: &mut Rng) -> Data {
        let bias = self.bias.then(|| rng.values(self.rows));
        let (starts, group_stride, len) = match self.task {
            Task::Spmv => (Vec::new(), 0, self.cols),
            Task::Conv { input, .. } => (Vec::new(), 0, input.iter().product::<u32>() as usize),
            Task::Spmm(panel) => {
                // Runs overlap, as those of a convolution do, unless column 0 must be on its own.
                let stride = match self.special {
                    Some(_) => panel.run(),
                    None => panel.run().div_ceil(2),
                };
                let starts: Vec<u32> = (0..self.cols)
                    .map(|col| match panel.table {
                        true => rng.below(self.cols * 3) as u32,
                        false => (col * stride) as u32,
                    })
                    .collect();
                let reach = starts.iter().max().map_or(0, |&s| s as usize);
                // Not one element more than needed: a read past a run finds nothing.
                (starts, reach + 1, panel.groups * (reach + 1) + panel.run() - 1)
            }
        };
        let mut x = rng.values(len);
        if let (Some(special), Some(first)) = (self.special, x.first_mut()) {
            *first = special;
        }
        if let Some(unmet) = self.unmet {
            let hidden = x.iter_mut().enumerate().filter(|(col, _)| is_unmet(*col));
            hidden.for_each(|(_, x)| *x = unmet);
        }
        Data {
            bias,
            x,
            starts,
            group_stride,
        }
    }

    fn run(&self, kernel: &Kernel, weights: &Weights, data: &Data) -> Vec<f32> {
        // Off by one number, so that no vector is aligned.
        let unaligned: Vec<f32> = std::iter::once(0.0).chain(data.x.iter().copied()).collect();
        let (bias, activation, x) = (data.bias.as_deref(), self.activation, &unaligned[1..]);
        // What is not written stays NaN; what is around must not be written.
        let mut around = vec![f32::NAN; self.output_len() + 2];
        let (first, last) = (0, around.len() - 1);
        (around[first], around[last]) = (GUARD, GUARD);
        let y = &mut around[1..last];
        match (kernel.run, self.task) {
            (Run::Spmv(run), Task::Spmv) => {
                run(&weights.matrix(), &mut Spmv { bias, activation, x, y });
            }
            (Run::Slices(kernel), Task::Spmv) => {
                let Matrix::Csr16(matrix) = weights.matrix() else {
                    panic!("no csr16");
                };
                let windows: &[Windows] = match kernel.narrow {
                    true => &[Windows::Packed, Windows::Narrow],
                    false => &[Windows::One],
                };
                let mut results = windows.iter().map(|&windows| {
                    let slices = Slices::new(&matrix, kernel.lanes, windows).expect("a valid matrix");
                    y.fill(f32::NAN);
                    (kernel.run)(&slices, &mut Spmv { bias, activation, x, y });
                    y.iter().map(|y| y.to_bits()).collect::<Vec<_>>()
                });
                let first = results.next();
                assert!(
                    results.all(|other| Some(&other) == first.as_ref()),
                    "{windows:?} differ"
                );
            }
            (Run::Spmm(run), Task::Spmm(panel)) => {
                let stride = data.starts.get(1).copied().unwrap_or(1) as usize;
                let mut spmm = Spmm {
                    bias,
                    activation,
                    x,
                    offsets: match panel.table {
                        true => Offsets::Table(&data.starts),
                        false => Offsets::Stride(stride),
                    },
                    group_rows: self.rows / panel.groups,
                    group_stride: data.group_stride,
                    span: panel.run(),
                    line: panel.line,
                    keep: panel.keep,
                    y,
                };
                run(&weights.matrix(), &mut spmm);
            }
            (Run::DirectConv(run), Task::Conv { conv, input }) => {
                let conv = Conv2d { activation, ..conv };
                let geometry = ConvGeometry::new(&conv, Shape::new(&input).unwrap()).unwrap();
                let mut direct = DirectConv {
                    conv: &conv,
                    geometry: &geometry,
                    bias,
                    x,
                    y,
                };
                run(&weights.matrix(), &mut direct);
            }
            _ => panic!("{} does not solve {:?}", kernel.name, self.task),
        }
        assert_eq!([around[first], around[last]], [GUARD; 2], "{}", kernel.name);
        around[1..last].to_vec()
    }

    fn output_len(&self) -> usize {
        match self.task {
            Task::Spmv => self.rows,
            Task::Spmm(panel) => self.rows * panel.lines * panel.keep,
            Task::Conv { conv, input } => {
                let op = secateur_format::Op::Conv2d(conv);
                op.infer(&[Shape::new(&input).unwrap()]).unwrap().elems()
            }
        }
    }

    fn expected(&self, weights: &[f32], data: &Data) -> Vec<Approx> {
        let x: Vec<Approx> = data.x.iter().map(|&x| Approx::exact(x)).collect();
        if let Task::Conv { conv, input } = self.task {
            let conv = Conv2d {
                activation: self.activation,
                ..conv
            };
            return reference::conv(&conv, weights, data.bias.as_deref(), &x, input);
        }
        let dot = |row: usize, at: &dyn Fn(usize) -> usize| {
            let bias = data.bias.as_ref().map_or(0.0, |bias| bias[row]);
            let line = weights[row * self.cols..][..self.cols].iter().enumerate();
            Approx::dot(bias, line.map(|(col, &w)| (w, x[at(col)]))).activate(self.activation)
        };
        let mut y = Vec::new();
        for row in 0..self.rows {
            match self.task {
                Task::Spmm(panel) => {
                    let base = row / (self.rows / panel.groups) * data.group_stride;
                    for pixel in 0..panel.lines * panel.keep {
                        let at = pixel / panel.keep * panel.line + pixel % panel.keep;
                        y.push(dot(row, &|col| base + data.starts[col] as usize + at));
                    }
                }
                _ => y.push(dot(row, &|col| col)),
            }
        }
        y
    }
}

/// Columns that have no weights if [`Case::unmet`] is set: lone ones, and all of a vector.
fn is_unmet(col: usize) -> bool {
    col % 7 == 3 || col % 64 >= 48
}

/// Whether an encoding stores weights for columns that need none.
fn stores_zeros(encoding: Encoding) -> bool {
    match encoding {
        Encoding::Dense | Encoding::Nm { .. } => true,
        Encoding::Block { c, .. } => c > 1,
        _ => false,
    }
}

/// A plain 3×3 convolution, to be changed field by field.
pub(crate) const CONV: Conv2d = Conv2d {
    weight: TensorId(0),
    bias: None,
    out_channels: 4,
    groups: 1,
    kernel: [3, 3],
    stride: [1, 1],
    dilation: [1, 1],
    pads: [0; 4],
    activation: Activation::Identity,
};
