//! The graph section: each rule, broken.

use secateur_format::encoding::{Encoding, ValueType};
use secateur_format::graph::Tensor;
use secateur_format::op::Linear;
use secateur_format::{Activation, FormatError, Op, Place, Problem, ShapeError};

use crate::change::{Parts, error, put};
use crate::forge::u32_at;
use crate::samples::{self, Sample};

const GRAPH: u32 = 1;

const NODES: u32 = 5;
/// Offset in the graph section of the first shape, the outputs, the nodes.
const SHAPES: usize = 16;
const OUTPUTS: usize = SHAPES + 20 * (1 + NODES as usize);
const RECORDS: usize = OUTPUTS + 4;
/// Offsets of the node records: conv, mul, leaky relu, reshape, linear.
const RECORD: [usize; 5] = [RECORDS, RECORDS + 40, RECORDS + 48, RECORDS + 60, RECORDS + 88];

fn parts() -> Parts {
    Parts::of(&samples::small())
}

fn graph(at: usize, field: impl AsRef<[u8]>) -> Option<FormatError> {
    parts().changed(GRAPH, |b| {
        b[at..at + field.as_ref().len()].copy_from_slice(field.as_ref())
    })
}

fn section(kind: u32, problem: Problem) -> Option<FormatError> {
    error(Place::Section(kind), problem)
}

fn node(index: u32, problem: Problem) -> Option<FormatError> {
    error(Place::Node(index), problem)
}

#[test]
fn the_offsets_above_are_right() {
    assert_eq!(parts().refusal(), None);
    let graph = parts().section(GRAPH).clone();
    let mut at = RECORDS;
    for (record, op) in RECORD.into_iter().zip([1, 5, 3, 9, 2]) {
        assert_eq!((at, graph[at]), (record, op));
        at += 4 * usize::from(graph[at + 3]);
    }
    assert_eq!(at, graph.len());
}

#[test]
fn graph_counts() {
    let len = parts().section(GRAPH).len() as u64;
    for at in [0, 4, 8] {
        assert_eq!(
            graph(at, [0; 4]),
            section(GRAPH, Problem::Count { expected: 1, found: 0 })
        );
    }
    let limit = |found| section(GRAPH, Problem::Limit { limit: 8192, found });
    assert_eq!(graph(0, [0xFF; 4]), limit(u64::from(u32::MAX) + u64::from(NODES)));
    assert_eq!(graph(8, [0xFF; 4]), limit(u32::MAX.into()));
    assert_eq!(
        graph(4, [6]),
        section(
            GRAPH,
            Problem::Truncated {
                needed: len + 20,
                found: len
            }
        )
    );
    assert_eq!(graph(12, [0xFF; 4]).map(|e| e.place), Some(Place::Section(GRAPH)));
    let longer = parts().changed(GRAPH, |b| b.push(0));
    assert_eq!(
        longer,
        section(
            GRAPH,
            Problem::Length {
                expected: len,
                found: len + 1
            }
        )
    );
    let head = parts().changed(GRAPH, |b| b.truncate(15));
    assert_eq!(head, section(GRAPH, Problem::Truncated { needed: 16, found: 15 }));
    let more_records = parts().changed(GRAPH, |b| {
        let nodes_len = u32_at(b, 12).unwrap();
        put(b, 12, (nodes_len + 8).to_le_bytes());
        b.extend([5, 0, 1, 2, 0, 0, 0, 0]);
    });
    assert!(matches!(more_records.unwrap().problem, Problem::Length { .. }));
    assert_eq!(
        graph(OUTPUTS, [6]),
        section(GRAPH, Problem::Index { bound: 6, found: 6 })
    );
    let padding = Problem::NotZero {
        offset: OUTPUTS as u64 + 2,
    };
    assert_eq!(graph(OUTPUTS + 2, [1]), section(GRAPH, padding));
}

#[test]
fn shapes() {
    let value = |index, problem: ShapeError| error(Place::Value(index), problem.into());
    assert_eq!(graph(SHAPES, [5]), value(0, ShapeError::Rank { found: 5 }));
    assert_eq!(graph(SHAPES, [0]), value(0, ShapeError::Rank { found: 0 }));
    assert_eq!(
        graph(SHAPES, [2]),
        value(0, ShapeError::Rank { found: 2 }),
        "a dimension past the rank"
    );
    assert_eq!(graph(SHAPES + 20 + 8, [0]), value(1, ShapeError::ZeroDim));
    assert_eq!(
        graph(SHAPES + 20 + 4, (1u32 << 26).to_le_bytes()),
        value(1, ShapeError::TooLarge)
    );
    assert_eq!(
        graph(SHAPES + 40 + 4, [2]),
        node(1, ShapeError::Mismatch.into()),
        "not what is inferred"
    );
}

#[test]
fn node_records() {
    assert_eq!(graph(RECORD[0], [13]), node(0, Problem::Code { found: 13 }));
    assert_eq!(graph(RECORD[0], [0]), node(0, Problem::Code { found: 0 }));
    assert_eq!(graph(RECORD[0] + 1, [9]), node(0, Problem::Code { found: 9 }));
    assert_eq!(
        graph(RECORD[1] + 1, [1]),
        node(1, Problem::NotZero { offset: 1 }),
        "mul fuses nothing"
    );
    assert_eq!(
        graph(RECORD[0] + 4, [1]),
        node(0, Problem::Index { bound: 1, found: 1 }),
        "its own output"
    );
    assert_eq!(
        graph(RECORD[1] + 6, [0xFF; 2]),
        node(1, Problem::Index { bound: 2, found: 65535 })
    );
    assert_eq!(
        graph(RECORD[0] + 6, [1]),
        node(0, Problem::NotZero { offset: 6 }),
        "padding of the inputs"
    );
    assert_eq!(
        graph(RECORD[2] + 8, f32::NAN.to_le_bytes()),
        node(2, Problem::NotFinite)
    );
    assert_eq!(
        graph(RECORD[0] + 3, [11]),
        node(
            0,
            Problem::Length {
                expected: 40,
                found: 44
            }
        )
    );
    assert_eq!(
        graph(RECORD[0] + 3, [9]),
        node(0, Problem::Truncated { needed: 37, found: 36 })
    );
    assert_eq!(
        graph(RECORD[0] + 3, [0]),
        node(0, Problem::Truncated { needed: 1, found: 0 })
    );
    assert_eq!(
        graph(RECORD[4] + 3, [255]),
        node(
            4,
            Problem::Truncated {
                needed: 1020,
                found: 16
            }
        )
    );
    let two_inputs = ShapeError::InputCount { expected: 1, found: 2 };
    assert_eq!(graph(RECORD[2] + 2, [2]), node(2, two_inputs.into()));
    assert_eq!(graph(RECORD[3] + 8, [5]), node(3, ShapeError::Rank { found: 5 }.into()));
}

#[test]
fn attributes() {
    let shape = |index, problem: ShapeError| node(index, problem.into());
    // Behind the inputs: weight, bias, out_channels, groups, kernel, stride, dilation, pads.
    let conv = RECORD[0] + 8;
    assert_eq!(graph(conv + 4, [0]), shape(0, ShapeError::ZeroDim));
    assert_eq!(graph(conv + 8, [0]), shape(0, ShapeError::Groups));
    assert_eq!(graph(conv + 12, [0]), shape(0, ShapeError::Groups), "kernel");
    assert_eq!(graph(conv + 12, [7]), shape(0, ShapeError::KernelLarger));
    assert_eq!(graph(conv + 16, [0]), shape(0, ShapeError::Attribute), "stride");
    assert_eq!(graph(conv + 20, [0]), shape(0, ShapeError::Attribute), "dilation");
    assert_eq!(graph(conv + 24, [2]), shape(0, ShapeError::Mismatch), "pads");

    let operators = Parts::of(&samples::operators());
    let with_op = |op: u8, at: usize, byte: u8| {
        operators.changed(GRAPH, |b| {
            let mut record = 16 + 20 * u32_at(b, 0).unwrap() as usize + 20 * u32_at(b, 4).unwrap() as usize + 8;
            while b[record] != op {
                record += 4 * usize::from(b[record + 3]);
            }
            b[record + at] = byte;
        })
    };
    let problem = |op, at, byte| with_op(op, at, byte).map(|e| e.problem);
    assert_eq!(
        problem(6, 12, 4),
        Some(Problem::Index { bound: 4, found: 4 }),
        "concat axis"
    );
    assert_eq!(
        problem(6, 12, 3),
        Some(ShapeError::Mismatch.into()),
        "concat axis past the rank"
    );
    assert_eq!(problem(7, 8, 3), Some(Problem::Code { found: 3 }), "pool kind");
    assert_eq!(
        problem(7, 20, 2),
        Some(ShapeError::Attribute.into()),
        "padding as large as the kernel"
    );
    assert_eq!(
        problem(10, 14, 1),
        Some(ShapeError::OutOfRange.into()),
        "padding past the rank"
    );
    assert_eq!(
        problem(11, 8 + 32, 0),
        Some(ShapeError::OutOfRange.into()),
        "slice step"
    );
    assert_eq!(
        problem(11, 8 + 32 + 4, 2),
        Some(ShapeError::Mismatch.into()),
        "another step"
    );
    assert_eq!(
        problem(11, 8 + 32 + 12, 2),
        Some(ShapeError::OutOfRange.into()),
        "slice step past the rank"
    );
    assert_eq!(
        problem(11, 8 + 16, 2),
        Some(ShapeError::OutOfRange.into()),
        "empty slice"
    );
    assert_eq!(problem(12, 8, 2), Some(ShapeError::OutOfRange.into()), "softmax axis");
    assert_eq!(
        problem(9, 12, 4),
        Some(ShapeError::Mismatch.into()),
        "reshape to fewer elements"
    );
}

#[test]
fn too_many_inputs() {
    let mut sample = Sample::default();
    let x = sample.input("x", &[1]);
    let joined = sample.node("joined", Op::Concat { axis: 0 }, &[x; 8]);
    sample.graph.outputs = vec![joined];
    let nine = Parts::of(&sample).changed(GRAPH, |b| {
        let record = 16 + 40 + 4;
        (b[record + 2], b[record + 3]) = (9, b[record + 3] + 1);
        b.extend([0; 4]);
        let len = b.len() - record;
        put(b, 12, (len as u32).to_le_bytes());
    });
    assert_eq!(nine, node(0, Problem::Limit { limit: 8, found: 9 }));
}

#[test]
fn constants_of_operators() {
    let conv = RECORD[0] + 8;
    assert_eq!(graph(conv, [3]), node(0, Problem::Index { bound: 3, found: 3 }));
    let swapped = Problem::TensorShape {
        expected: (1, 9),
        found: (1, 1),
    };
    assert_eq!(graph(conv, [1]), node(0, swapped));
    assert_eq!(graph(conv + 2, [0xFF; 2]), None, "no bias");

    // A bias is dense f32, even if it is the weight too.
    let mut sample = Sample::default();
    let x = sample.input("x", &[1]);
    let one = Tensor {
        name: "w".into(),
        rows: 1,
        cols: 1,
        data: vec![2.0],
    };
    let weight = sample.tensor(one, Encoding::Csr16, ValueType::F32);
    let linear = Linear {
        weight,
        bias: None,
        out_features: 1,
        activation: Activation::Identity,
    };
    let y = sample.node("y", Op::Linear(linear), &[x]);
    sample.graph.outputs = vec![y];
    let shared = Parts::of(&sample).changed(GRAPH, |b| {
        let at = b.len() - 6;
        put(b, at, weight.0.to_le_bytes());
    });
    assert_eq!(shared, node(0, Problem::Encoding));
}
