//! One suite for all kernels of the registry: named edge cases, then properties.
//! See `common/case.rs` for what a case checks.

#[cfg(test)]
mod common;

use std::collections::BTreeSet;

use common::case::{CONV, Case, GUARD, Panel, Task};
use common::matrices::{Rng, encodings};
use proptest::prelude::*;
use secateur_format::encoding::{Matrix, Quantized, pack};
use secateur_format::op::Conv2d;
use secateur_runtime::kernel::{self, Isa, Kernel, Run, Spmv};
use secateur_runtime::{Activation, ArenaBuf};

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

/// A case of each problem, large enough for every encoding.
fn plain() -> [Case; 3] {
    let panel = Panel {
        groups: 1,
        lines: 3,
        line: 16,
        keep: 14,
        table: false,
    };
    let conv = Conv2d {
        out_channels: 16,
        ..CONV
    };
    [
        Case::new(16, 720, Task::Spmv),
        Case::new(16, 48, Task::Spmm(panel)),
        Case::conv(conv, [16, 5, 6]),
    ]
}

#[test]
fn all_kernels_are_reached_and_named_once() {
    let run: BTreeSet<&str> = plain().iter().flat_map(Case::check).collect();
    let here = |k: &&Kernel| plain().iter().any(|case| case.fits(k));
    let all: BTreeSet<&str> = kernel::ALL.iter().filter(here).map(|k| k.name).collect();
    assert_eq!(run, all);
    let names: BTreeSet<&str> = kernel::ALL.iter().map(|k| k.name).collect();
    assert_eq!(names.len(), kernel::ALL.len());
}

/// Instruction sets follow each other from the best to the plainest, and a list
/// that starts with any of them has all that is plainer.
#[test]
fn lists_end_with_the_plain_kernels() {
    for kernel in kernel::ALL {
        let list = kernel::up_to(kernel.isa);
        assert!(list.iter().any(|k| k.name == kernel.name), "{}", kernel.name);
        assert!(list.iter().any(|k| k.isa == Isa::Scalar));
        assert!(list.first().is_some_and(|first| first.isa == kernel.isa));
    }
}

#[test]
fn densities() {
    for density in [0.0, 0.02, 0.1, 0.9, 1.0] {
        for case in plain() {
            Case { density, ..case }.check();
        }
    }
}

#[test]
fn activations_with_and_without_bias() {
    for activation in ACTIVATIONS {
        for bias in [false, true] {
            for case in plain() {
                Case {
                    activation,
                    bias,
                    ..case
                }
                .check();
            }
        }
    }
}

#[test]
fn thin_matrices() {
    for (rows, cols) in [(1, 1), (1, 9), (9, 1), (1, 64), (16, 1), (2, 7), (3, 257), (1, 600)] {
        for task in [Task::Spmv, Task::Spmm(Panel::flat(11))] {
            Case::new(rows, cols, task).check();
            Case {
                density: 1.0,
                ..Case::new(rows, cols, task)
            }
            .check();
        }
    }
}

/// Every split of a row into vectors, and of a matrix into groups of rows.
#[test]
fn rows_and_columns_around_vectors() {
    for cols in (1..=70).chain([127, 128, 130, 255, 256, 257, 512, 520]) {
        for (rows, density) in [(1, 1.0), (5, 0.5), (8, 0.3)] {
            Case {
                density,
                ..Case::new(rows, cols, Task::Spmv)
            }
            .check();
        }
    }
    for rows in 1..=17 {
        Case::new(rows, 48, Task::Spmv).check();
    }
}

/// More windows and columns than a kernel holds at once.
#[test]
fn wide_matrices() {
    for (rows, cols, density) in [(4, 2500, 1.0), (4, 70_000, 0.02), (48, 8400, 0.1), (16, 6000, 0.9)] {
        Case {
            density,
            ..Case::new(rows, cols, Task::Spmv)
        }
        .check();
    }
}

/// Whatever bytes an index has, kernels end, and write nothing but their rows.
#[test]
fn indices_that_are_wrong() {
    let (rows, cols) = (16, 6000);
    let mut rng = Rng::new(1);
    for kernel in kernel::ALL.iter().filter(|k| k.isa.available()) {
        let Run::Spmv(run) = kernel.run else { continue };
        for encoding in encodings(kernel.layout, rows, cols) {
            let weights = rng.weights(rows, cols, 0.2, false);
            let Ok(packed) = Quantized::new(&weights, cols as u32, kernel.values).and_then(|w| pack(&w, encoding))
            else {
                continue;
            };
            for mask in [0x00, 0x01, 0x13, 0xff] {
                let bytes: Vec<u8> = packed.payload.iter().map(|b| b ^ (rng.next() as u8 & mask)).collect();
                let payload = ArenaBuf::copy_of(&bytes);
                let Ok(matrix) = Matrix::view(&packed.desc, payload.as_ref(), 0) else {
                    continue;
                };
                let (x, mut y) = (rng.values(cols), vec![GUARD; rows + 64]);
                let mut task = Spmv {
                    bias: None,
                    activation: Activation::Identity,
                    x: &x,
                    y: &mut y[32..32 + rows],
                };
                run(&matrix, &mut task);
                let guards = y[..32].iter().chain(&y[32 + rows..]);
                assert!(guards.into_iter().all(|&y| y == GUARD), "{} {encoding}", kernel.name);
            }
        }
    }
}

/// An input that meets no weight has no influence, whatever it is.
#[test]
fn inputs_without_weights() {
    for unmet in [f32::NAN, f32::INFINITY, f32::MAX] {
        for (cols, density) in [(16, 1.0), (48, 0.5), (200, 0.3), (720, 0.1)] {
            Case {
                unmet: Some(unmet),
                density,
                ..Case::new(16, cols, Task::Spmv)
            }
            .check();
        }
    }
}

/// Every split of a run into vectors and small tiles, and the ends of wide tiles and bands.
#[test]
fn run_lengths() {
    for run in (1..=2 * 32 + 7).chain([127, 128, 129, 145, 196, 255, 256, 257, 400, 513]) {
        for rows in [3, 10, 16] {
            Case::new(rows, 16, Task::Spmm(Panel::flat(run))).check();
        }
    }
}

/// More entries than are decoded at once.
#[test]
fn long_rows() {
    for cols in [127, 128, 129, 384, 400] {
        for density in [0.4, 1.0] {
            let gaps = Panel {
                groups: 2,
                lines: 5,
                line: 16,
                keep: 14,
                table: true,
            };
            for panel in [Panel::flat(7), Panel::flat(49), gaps] {
                Case {
                    density,
                    ..Case::new(8, cols, Task::Spmm(panel))
                }
                .check();
            }
        }
    }
}

/// What lies between the end of one output line and the start of the next is dropped.
#[test]
fn lines_longer_than_kept() {
    for (lines, line, keep) in [
        (1, 9, 9),
        (2, 2, 1),
        (5, 3, 1),
        (7, 7, 6),
        (4, 10, 8),
        (3, 34, 32),
        (9, 33, 1),
        (2, 70, 64),
        (30, 3, 2),
    ] {
        for table in [false, true] {
            let panel = Panel {
                groups: 1,
                lines,
                line,
                keep,
                table,
            };
            Case::new(8, 24, Task::Spmm(panel)).check();
        }
    }
}

#[test]
fn groups_up_to_depthwise() {
    for groups in [1, 2, 3, 6, 12, 24] {
        for table in [false, true] {
            let panel = Panel {
                groups,
                lines: 3,
                line: 12,
                keep: 10,
                table,
            };
            Case::new(24, 8, Task::Spmm(panel)).check();
            Case::new(48, 9, Task::Spmm(panel)).check();
        }
        let conv = Conv2d {
            out_channels: 48,
            groups: groups as u32,
            ..CONV
        };
        Case::conv(conv, [24, 4, 5]).check();
    }
}

#[test]
fn convolutions() {
    for (kernel, stride, dilation, pads) in [
        ([1, 1], [1, 1], [1, 1], [0, 0, 0, 0]),
        ([1, 1], [2, 3], [1, 1], [0, 0, 0, 0]),
        ([3, 3], [2, 2], [1, 1], [1, 1, 1, 1]),
        ([2, 5], [1, 1], [3, 1], [0, 4, 2, 1]),
        ([5, 2], [3, 2], [1, 4], [1, 0, 0, 3]),
        // Some kernel positions never leave the padding.
        ([3, 3], [4, 4], [1, 1], [3, 3, 3, 3]),
        ([7, 1], [1, 1], [1, 1], [6, 0, 6, 0]),
    ] {
        let conv = Conv2d {
            kernel,
            stride,
            dilation,
            pads,
            out_channels: 8,
            ..CONV
        };
        for input in [[4, 9, 8], [1, 7, 5]] {
            Case::conv(conv, input).check();
        }
    }
}

/// NaN and infinities come through, and stay where they belong.
#[test]
fn special_inputs() {
    let conv = Conv2d {
        kernel: [1, 1],
        out_channels: 8,
        ..CONV
    };
    for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for activation in ACTIVATIONS {
            for case in [
                Case::new(16, 48, Task::Spmv),
                // A full vector of entries and none left over.
                Case {
                    density: 1.0,
                    ..Case::new(16, 8, Task::Spmv)
                },
                Case::new(16, 48, Task::Spmm(Panel::flat(9))),
                Case::new(16, 48, Task::Spmm(Panel::flat(40))),
                Case::conv(conv, [16, 3, 4]),
            ] {
                Case {
                    special: Some(special),
                    activation,
                    ..case
                }
                .check();
            }
        }
    }
}

/// Extents that many encodings divide, and some that few do.
fn extent() -> impl Strategy<Value = usize> {
    prop_oneof![1..=20usize, Just(16), Just(32), Just(36), Just(48)]
}

fn panel() -> impl Strategy<Value = Panel> {
    (1..=3usize, 1..=5usize, 1..=40usize, 0..=3usize, any::<bool>()).prop_map(|(groups, lines, keep, gap, table)| {
        Panel {
            groups,
            lines,
            line: keep + gap,
            keep,
            table,
        }
    })
}

fn conv() -> impl Strategy<Value = Case> {
    let pair = |most: u16| [1..=most, 1..=most];
    let channels = (1..=3u32, 1..=6u32, 1..=8u32);
    (
        channels,
        pair(5),
        pair(3),
        pair(3),
        [0..=3u16, 0..=3u16, 0..=3u16, 0..=3u16],
        [0..=6u32, 0..=9],
    )
        .prop_map(|((groups, ins, outs), kernel, stride, dilation, pads, slack)| {
            let conv = Conv2d {
                out_channels: groups * outs,
                groups,
                kernel,
                stride,
                dilation,
                pads,
                ..CONV
            };
            let span = |axis: usize| u32::from((kernel[axis] - 1) * dilation[axis] + 1) + slack[axis];
            let padding = |axis: usize| u32::from(pads[axis] + pads[axis + 2]);
            let input = |axis: usize| span(axis).saturating_sub(padding(axis)).max(1);
            Case::conv(conv, [groups * ins, input(0), input(1)])
        })
}

fn spmv() -> impl Strategy<Value = Case> {
    (extent(), prop_oneof![extent(), 240..=600usize]).prop_map(|(rows, cols)| Case::new(rows, cols, Task::Spmv))
}

fn spmm() -> impl Strategy<Value = Case> {
    (extent(), extent(), panel())
        .prop_map(|(rows, cols, panel)| Case::new(panel.groups * rows, cols, Task::Spmm(panel)))
}

/// A case on random weights.
fn case(shaped: impl Strategy<Value = Case>) -> impl Strategy<Value = Case> {
    let density = prop_oneof![0.0..=1.0f32, Just(0.1)];
    let activation = prop::sample::select(ACTIVATIONS.to_vec());
    (shaped, density, any::<bool>(), activation, any::<u64>()).prop_map(|(case, density, bias, activation, seed)| {
        Case {
            density,
            bias,
            activation,
            seed,
            ..case
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn spmv_is_right(case in case(spmv())) {
        case.check();
    }

    #[test]
    fn spmm_is_right(case in case(spmm())) {
        case.check();
    }

    #[test]
    fn direct_conv_is_right(case in case(conv())) {
        case.check();
    }
}
