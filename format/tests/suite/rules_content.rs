//! Tensors, data, plan and text: each rule, broken.

use secateur_format::{Activation, FormatError, Op, Place, Problem};

use crate::change::{Parts, error, put};
use crate::samples::{Sample, small};

const TENSORS: u32 = 2;
const PLAN: u32 = 3;
const DATA: u32 = 4;
const NAMES: u32 = 5;
const PREPROCESS: u32 = 6;
const INFO: u32 = 7;
const TUNING: u32 = 17;

fn parts() -> Parts {
    Parts::of(&small())
}

fn section(kind: u32, problem: Problem) -> Option<FormatError> {
    error(Place::Section(kind), problem)
}

#[test]
fn tensor_table() {
    // Conv weights 1x9 dense i8, bias 1x1, linear weights 2x16 csr16 f16.
    let set = |at: usize, byte: u8| parts().changed(TENSORS, |b| b[at] = byte);
    let tensor = |index, problem| error(Place::Tensor(index), problem);
    let len = 8 + 3 * 32;
    let limit = parts().changed(TENSORS, |b| put(b, 0, u32::MAX.to_le_bytes()));
    assert_eq!(
        limit,
        section(
            TENSORS,
            Problem::Limit {
                limit: 16384,
                found: u32::MAX.into()
            }
        )
    );
    assert_eq!(
        set(0, 4),
        section(
            TENSORS,
            Problem::Length {
                expected: len + 32,
                found: len
            }
        )
    );
    assert_eq!(set(4, 1), section(TENSORS, Problem::NotZero { offset: 4 }));
    let empty = parts().changed(TENSORS, Vec::clear);
    assert_eq!(empty, section(TENSORS, Problem::Truncated { needed: 4, found: 0 }));
    assert_eq!(set(8, 7), tensor(0, Problem::Code { found: 7 }));
    assert_eq!(set(9, 4), tensor(0, Problem::Code { found: 4 }));
    assert_eq!(
        set(10, 1),
        tensor(0, Problem::Code { found: 0 }),
        "parameters where there are none"
    );
    assert_eq!(set(12, 2), tensor(0, Problem::Encoding), "dense stores all");
    assert_eq!(
        set(8 + 24, 20),
        tensor(
            0,
            Problem::Length {
                expected: 16,
                found: 20
            }
        )
    );
    assert_eq!(
        set(8 + 32 + 16, 20),
        tensor(
            1,
            Problem::Offset {
                expected: 16,
                found: 20
            }
        )
    );
    assert_eq!(
        set(8 + 32 + 16, 0),
        tensor(1, Problem::Offset { expected: 16, found: 0 }),
        "overlap"
    );
    let absurd = parts().changed(TENSORS, |b| put(b, 8 + 24, (u64::MAX - 7).to_le_bytes()));
    assert!(matches!(absurd.unwrap().problem, Problem::Truncated { .. }));
    for (code, (n, m)) in [
        (4, (0, 3)),
        (4, (3, 3)),
        (4, (1, 17)),
        (5, (1, 1)),
        (5, (1, 9)),
        (6, (3, 1)),
        (6, (0, 0)),
    ] {
        let refusal = parts().changed(TENSORS, |b| b[8..12].copy_from_slice(&[code, 3, n, m]));
        assert_eq!(refusal, tensor(0, Problem::Encoding), "code {code}, {n}, {m}");
    }
}

#[test]
fn data() {
    let len = parts().section(DATA).len() as u64;
    let longer = parts().changed(DATA, |b| b.push(0));
    assert_eq!(
        longer,
        section(
            DATA,
            Problem::Length {
                expected: len,
                found: len + 1
            }
        )
    );
    let cut = parts().changed(DATA, |b| b.truncate(len as usize - 1));
    assert_eq!(
        cut,
        error(
            Place::Tensor(2),
            Problem::Truncated {
                needed: len,
                found: len - 1
            }
        )
    );
    let padding = parts().changed(DATA, |b| b[13] = 1);
    assert_eq!(
        padding,
        error(Place::Tensor(0), Problem::NotZero { offset: 13 }),
        "behind nine bytes"
    );
    let gap = parts().changed(DATA, |b| b[20] = 1);
    assert_eq!(gap, error(Place::Tensor(2), Problem::NotZero { offset: 20 }));
    let scale = parts().changed(DATA, |b| put(b, 0, f32::INFINITY.to_le_bytes()));
    assert_eq!(scale, error(Place::Tensor(0), Problem::NotFinite));
    let mut undeclared = parts();
    undeclared.features = 0;
    assert_eq!(
        undeclared.refusal(),
        error(Place::Tensor(0), Problem::Features { unknown: 1 })
    );
}

#[test]
fn plan_fields() {
    let arena = small().layout().plan().arena_bytes;
    let set = |at: usize, field: u32| parts().changed(PLAN, |b| put(b, at, field.to_le_bytes()));
    let offset = |id: u32, field| (set(8 + 8 * id as usize, field), Place::PlanValue(id));
    assert_eq!(
        set(0, u32::MAX - 3),
        section(
            PLAN,
            Problem::Limit {
                limit: 1 << 30,
                found: u64::from(u32::MAX) - 3
            }
        )
    );
    assert_eq!(
        set(0, arena + 2),
        section(
            PLAN,
            Problem::Length {
                expected: u64::from(arena) + 4,
                found: u64::from(arena) + 2
            }
        )
    );
    assert_eq!(
        set(0, arena + 64),
        section(
            PLAN,
            Problem::Length {
                expected: arena.into(),
                found: u64::from(arena) + 64
            }
        )
    );
    let small_arena = set(0, arena - 4).unwrap();
    assert_eq!(
        small_arena.problem,
        Problem::Limit {
            limit: u64::from(arena) - 4,
            found: arena.into()
        }
    );
    for align in [0, 2, 48, 128] {
        assert_eq!(
            set(4, align),
            section(
                PLAN,
                Problem::Offset {
                    expected: 64,
                    found: align.into()
                }
            )
        );
    }
    for (found, expected) in [(4, 64), (u32::MAX - 3, 1 << 32)] {
        let (refusal, place) = offset(1, found);
        assert_eq!(
            refusal,
            error(
                place,
                Problem::Offset {
                    expected,
                    found: found.into()
                }
            )
        );
    }
    let (refusal, place) = offset(1, 1 << 20);
    assert_eq!(
        refusal,
        error(
            place,
            Problem::Limit {
                limit: arena.into(),
                found: (1 << 20) + 64
            }
        )
    );
    let longer = parts().changed(PLAN, |b| b.push(0));
    assert_eq!(
        longer,
        section(
            PLAN,
            Problem::Length {
                expected: 96,
                found: 97
            }
        )
    );
}

#[test]
fn plan_of_lives() {
    let plan = small().layout().plan().clone();
    let set = |at: usize, field: u32| parts().changed(PLAN, |b| put(b, at, field.to_le_bytes()));
    let last_use = |id: usize, field| set(12 + 8 * id, field);
    let place = |id| Place::PlanValue(id);
    assert_eq!(
        last_use(0, 0),
        error(place(0), Problem::Index { bound: 1, found: 0 }),
        "x is read by node 1"
    );
    assert_eq!(
        last_use(2, 0),
        error(place(2), Problem::Index { bound: 6, found: 0 }),
        "before its birth"
    );
    assert_eq!(last_use(2, 6), error(place(2), Problem::Index { bound: 6, found: 6 }));
    assert_eq!(
        last_use(5, 4),
        error(place(5), Problem::Count { expected: 5, found: 4 }),
        "an output"
    );
    // x and the convolution's result live at once.
    let same = set(8 + 8, plan.values[0].0);
    assert_eq!(same, error(Place::PlanNode(0), Problem::Overlap { with: 0 }));
    // Product, leaky and flat run in place; a longer life forbids that.
    assert_eq!(plan.values[2].0, plan.values[3].0);
    assert_eq!(last_use(2, 3), error(Place::PlanNode(2), Problem::Overlap { with: 2 }));
}

#[test]
fn plan_of_scratch() {
    let plan = small().layout().plan().clone();
    let (offset, bytes) = plan.scratch[0];
    // 1 x 1 phase of 6 x 6, and nine offsets.
    assert_eq!(bytes, 4 * (36 + 9));
    let scratch = |node: usize, offset: u32, bytes: u32| {
        parts().changed(PLAN, |b| {
            put(b, 8 + 48 + 8 * node, offset.to_le_bytes());
            put(b, 8 + 48 + 8 * node + 4, bytes.to_le_bytes());
        })
    };
    let at = |node, problem| error(Place::PlanNode(node), problem);
    assert_eq!(
        scratch(0, offset, bytes - 4),
        at(
            0,
            Problem::Length {
                expected: 180,
                found: 176
            }
        )
    );
    assert_eq!(scratch(1, 0, 64), at(1, Problem::Length { expected: 0, found: 64 }));
    assert_eq!(scratch(1, 64, 0), at(1, Problem::Offset { expected: 0, found: 64 }));
    assert_eq!(
        scratch(0, plan.values[0].0, bytes).map(|e| e.place),
        Some(Place::PlanNode(0))
    );
    let over_output = scratch(0, plan.values[1].0, bytes).unwrap().problem;
    assert!(matches!(over_output, Problem::Overlap { .. } | Problem::Limit { .. }));
    let without = scratch(0, 0, 0).map(|e| e.problem);
    let rest = plan.values.iter().map(|(offset, _)| offset + 64).max().unwrap();
    let smaller = Problem::Length {
        expected: rest.into(),
        found: plan.arena_bytes.into(),
    };
    assert_eq!(without, (rest < plan.arena_bytes).then_some(smaller));
}

#[test]
fn inputs_live_together() {
    let mut sample = Sample::default();
    let a = sample.input("a", &[4]);
    sample.input("b", &[4]);
    let y = sample.node("y", Op::Activation(Activation::Relu), &[a]);
    sample.graph.outputs = vec![y];
    let shared = Parts::of(&sample).changed(PLAN, |b| b.copy_within(8..12, 16));
    assert_eq!(shared, error(Place::PlanValue(1), Problem::Overlap { with: 0 }));
    // No node reads b: it may live longer all the same.
    let longer = Parts::of(&sample).changed(PLAN, |b| put(b, 8 + 12, [1]));
    assert_eq!(longer, None);
}

#[test]
fn text() {
    let names = |change: fn(&mut Vec<u8>)| parts().changed(NAMES, change);
    assert_eq!(names(|b| b.push(0)), section(NAMES, Problem::Utf8));
    assert_eq!(
        names(|b| b[2] = 0xFF),
        section(NAMES, Problem::Count { expected: 6, found: 0 })
    );
    assert_eq!(
        names(Vec::clear),
        section(NAMES, Problem::Count { expected: 6, found: 0 })
    );
    assert_eq!(
        names(|b| b.truncate(b.len() - 1)),
        section(NAMES, Problem::Count { expected: 6, found: 5 })
    );
    let info = |change: fn(&mut Vec<u8>)| parts().changed(INFO, change);
    assert_eq!(
        info(|b| b.extend([0, 0])),
        section(INFO, Problem::Count { expected: 6, found: 5 })
    );
    assert_eq!(info(|b| b[2] = 0xFF), section(INFO, Problem::Utf8));
    assert_eq!(info(|b| b.push(1)), section(INFO, Problem::Utf8));
    assert_eq!(info(Vec::clear), None);
}

#[test]
fn tuning() {
    let operators = Parts::of(&crate::samples::operators());
    let change = |change: fn(&mut Vec<u8>)| operators.changed(TUNING, change);
    let utf8 = section(TUNING, Problem::Utf8);
    assert_eq!(change(|b| b[2] = 0xFF), utf8, "machine");
    assert_eq!(change(Vec::clear), utf8);
    assert_eq!(change(|b| b.push(0)), utf8);
    assert_eq!(change(|b| b.truncate(b.len() - 1)), utf8);
    assert_eq!(change(|b| b.truncate(11)), None, "no nodes");
    // The first node is behind the machine: two bytes and nine letters.
    assert_eq!(
        change(|b| put(b, 11, 3u16.to_le_bytes())),
        section(TUNING, Problem::NotAscending { found: 3 })
    );
    let bound = crate::samples::operators().graph.nodes.len() as u32;
    let found = u16::MAX.into();
    assert_eq!(
        change(|b| put(b, 11, [0xFF; 2])),
        section(TUNING, Problem::Index { bound, found })
    );
}

#[test]
fn preprocess() {
    // One mean and one std for an input of one channel.
    let len = parts().section(PREPROCESS).len() as u64;
    assert_eq!(len, 16);
    let change = |change: fn(&mut Vec<u8>)| parts().changed(PREPROCESS, change);
    let not_finite = section(PREPROCESS, Problem::NotFinite);
    assert_eq!(change(|b| put(b, 0, f32::NAN.to_le_bytes())), not_finite);
    assert_eq!(change(|b| put(b, 0, (-0.0f32).to_le_bytes())), not_finite, "scale 0");
    assert_eq!(change(|b| put(b, 8, f32::INFINITY.to_le_bytes())), not_finite, "mean");
    assert_eq!(change(|b| b[12..].fill(0)), not_finite, "std 0");
    assert_eq!(change(|b| put(b, 12, (-1.0f32).to_le_bytes())), None, "std -1");
    assert_eq!(change(|b| b[8..12].fill(0)), None, "mean 0");
    let wrong = |expected, found| section(PREPROCESS, Problem::Length { expected, found });
    assert_eq!(change(|b| b.push(0)), wrong(len, len + 1));
    assert_eq!(change(|b| put(b, 4, [2])), wrong(len + 4, len));
    assert_eq!(change(|b| put(b, 4, [0xFF; 4])), wrong(8 + 8 * 65535, len));
    assert_eq!(
        change(|b| b.truncate(7)),
        section(PREPROCESS, Problem::Truncated { needed: 8, found: 7 })
    );
}

#[test]
fn preprocess_counts_are_those_of_the_first_input() {
    // Four channels; the other input has three.
    let operators = Parts::of(&crate::samples::operators());
    for at in [4, 6] {
        for found in 0..7u8 {
            let refusal = operators.changed(PREPROCESS, |b| {
                b[4..8].fill(0);
                b[at] = found;
                b.resize(8, 0);
                b.extend([0, 0, 0x80, 0x3F].repeat(found.into()));
            });
            let count = Problem::Count {
                expected: 4,
                found: found.into(),
            };
            let fits = [0, 1, 4].contains(&found);
            assert_eq!(refusal, section(PREPROCESS, count).filter(|_| !fits), "{found}");
        }
    }
}
