//! One suite for the panel kernels, through the layers that use them (see `common/product.rs`
//! for what is checked): named edge cases, then properties.

#[cfg(test)]
mod common;

use std::collections::BTreeSet;

use common::case::{Case, Panel, fused};
use common::matrices::{Rng, Weights, encodings, layouts};
use common::product::{ADDENDS, Order, Product, all_tilings, few_tilings, kernels, same, threads};
use proptest::prelude::*;
use secateur_format::encoding::ValueType;
use secateur_runtime::Activation;
use secateur_runtime::kernel::panel::{Residual, Rows, Shape, Taps};
use secateur_runtime::kernel::{self, Isa, Kernel, Offsets, Run};
use secateur_runtime::prepared::{Input, Threads, Tiling};

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
/// 3x3 kernel positions.
const TAPS: Taps = Taps {
    kernel: [3, 3],
    stride: [1, 1],
    dilation: 1,
    channels: 2,
    input: [0, 0],
    pads: [0, 0],
};

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
    assert_eq!(isas(&|k| matches!(shape(k), Some(Shape::Direct { .. }))), all);
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
                ..TAPS
            };
            for (output, addend) in [[1, 1], [4, 3], [7, 7], [9, 14], [14, 30]]
                .into_iter()
                .zip(ADDENDS.into_iter().cycle())
            {
                let product = Product::conv(5, groups, taps, output);
                Product { addend, ..product }.check();
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
    for stride in [[1, 1], [2, 2]] {
        let taps = Taps {
            channels: 4,
            stride,
            ..TAPS
        };
        Product::conv(5, 2, taps, [6, 5]).check_tilings(all_tilings);
    }
}

/// A plane per remainder modulo the stride; some that no kernel position reads.
#[test]
fn strided_convolutions() {
    for kernel in [[1, 2], [2, 2], [3, 3], [5, 4], [7, 7]] {
        for (stride, dilation, groups) in [([2, 2], 1, 1), ([1, 2], 2, 2), ([3, 1], 1, 1), ([2, 2], 2, 1)] {
            let taps = Taps {
                kernel,
                stride,
                dilation,
                ..TAPS
            };
            for output in [[1, 1], [4, 3], [7, 7], [5, 33]] {
                let product = Product::conv(5, groups, taps, output);
                product.check();
                let pads = [kernel[0] / 2, kernel[1] / 2, 0, kernel[1] / 2];
                if output != [1, 1] {
                    product.padded(pads).check();
                }
            }
        }
    }
}

/// Direct kernels pad on their way: bands that begin, end and lie in the padding.
#[test]
fn padded_convolutions() {
    for (taps, pads) in [
        (TAPS, [1; 4]),
        (TAPS, [0, 2, 1, 0]),
        (TAPS, [3, 0, 0, 5]),
        (TAPS, [0, 0, 7, 1]),
        (Taps { dilation: 2, ..TAPS }, [2, 1, 2, 1]),
        (Taps { kernel: [5, 7], ..TAPS }, [2, 3, 2, 3]),
    ] {
        for output in [[8, 6], [13, 30], [14, 65]] {
            for groups in [1, 3] {
                let product = Product::conv(4, groups, taps, output).padded(pads);
                product.check();
            }
        }
    }
    let taps = Taps { channels: 4, ..TAPS };
    let product = Product::conv(5, 2, taps, [6, 5]).padded([1; 4]);
    product.check_tilings(all_tilings);
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
        let expected = product.expected(&weights.dense, &operands);
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
                Shape::Dense { .. } | Shape::Direct { .. } => continue,
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
                            // Pairs have an order of their own.
                            let is_clean = match panel.shape {
                                Shape::Pair => expected[i].admits(y),
                                _ => same(y, clean[i]),
                            };
                            assert!(
                                is_clean,
                                "{} {tiling:?} output {i}: {y} is not {}",
                                kernel.name, clean[i]
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
    operands.unpadded[1 + 2 * plane..].fill(f32::NAN);
    let weight = |i: usize| f32::from(i % 3 != 2 || i == 2 * 27 - 1);
    let rows = Rows::of(&product.csr(&(0..54).map(weight).collect::<Vec<_>>()).matrix(), 27);
    for (kernel, panel) in kernels().filter(|(_, panel)| matches!(panel.shape, Shape::Direct { rows: 1, .. })) {
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
    let halves = Taps { stride: [2, 2], ..TAPS };
    let wide_conv = || Product::conv(9, 1, TAPS, [9, 30]);
    let cases = [
        [Product::flat(9, 80, 300), Product::flat(5, 33, 21)],
        [wide_conv(), Product::conv(9, 1, TAPS, [4, 6])],
        [wide_conv(), Product::conv(5, 1, TAPS, [7, 7]).padded([1; 4])],
        [wide_conv(), Product::conv(5, 1, TAPS, [5, 14]).padded([1; 4])],
        [wide_conv(), Product::conv(5, 1, halves, [5, 13]).padded([1, 1, 0, 0])],
        [wide_conv(), Product::conv(5, 1, halves, [3, 7]).padded([1, 1, 0, 0])],
    ];
    for [wide, narrow] in cases {
        let mut rng = Rng::new(2);
        let [(wide_weights, mut wide_operands), (weights, operands)] = [wide, narrow].map(|product| {
            let weights = product.weights(&mut rng);
            (product.csr(&weights), product.operands(&mut rng))
        });
        wide_operands.x.fill(f32::NAN);
        wide_operands.unpadded.fill(f32::NAN);
        let wide_rows = Rows::of(&wide_weights.matrix(), wide.case.cols);
        let rows = Rows::of(&weights.matrix(), narrow.case.cols);
        for (kernel, panel) in kernels() {
            for tiling in few_tilings(&panel, narrow.case.cols) {
                for mut threads in threads() {
                    let (count, fresh) = (threads.count(), &mut Threads::sharing(threads.count(), 0));
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

fn lines() -> impl Strategy<Value = Product> {
    let panel = (1..=4usize, 1..=9usize, 1..=70usize, 0..=3usize, any::<bool>());
    let panel = panel.prop_map(|(groups, lines, keep, gap, table)| Panel {
        groups,
        lines,
        line: keep + gap,
        keep,
        table,
    });
    (panel, 1..=20usize, prop_oneof![1..=40usize, 100..=200usize])
        .prop_map(|(panel, rows, cols)| Product::new(panel.groups * rows, cols, panel))
}

fn conv() -> impl Strategy<Value = Product> {
    let output = [1..=12usize, 1..=60usize];
    (
        1..=9usize,
        1..=3usize,
        [1..=5usize, 2..=5usize],
        [1..=3usize, 1..=2usize],
        1..=3usize,
        1..=9usize,
        output,
    )
        .prop_map(|(rows, groups, kernel, stride, dilation, channels, output)| {
            let taps = Taps {
                kernel,
                stride,
                dilation,
                channels,
                ..TAPS
            };
            Product::conv(rows, groups, taps, output)
        })
}

/// A product with random weights and ends.
fn product(shaped: impl Strategy<Value = Product>) -> impl Strategy<Value = Product> {
    let density = prop_oneof![0.0..=1.0f32, Just(0.1)];
    let activation = prop::sample::select(ACTIVATIONS.to_vec());
    let addend = prop::sample::select(ADDENDS.to_vec());
    (shaped, density, any::<bool>(), activation, addend, any::<u64>()).prop_map(
        |(product, density, bias, activation, addend, seed)| {
            let product = product.case(|case| Case {
                density,
                bias,
                activation,
                seed,
                ..case
            });
            Product { addend, ..product }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn products_are_right(product in product(lines())) {
        product.check();
    }

    #[test]
    fn convolutions_are_right(product in product(conv())) {
        product.check();
    }
}
