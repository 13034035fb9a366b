//! The memory plan: where each value lies in the arena, how long it lives, and
//! the scratch memory of each node. Written into the file, checked by the
//! reader, so that peak RAM is a constant of the model.

#[cfg(feature = "alloc")]
pub mod planner;

use crate::bytes::u32_at;
use crate::geometry::ConvGeometry;
use crate::{FormatError, Limits, Model, Op, Place, Problem, Shape, ValueId};

/// Bytes before the value records.
const HEAD: usize = 8;
/// A value's or node's record.
const RECORD: usize = 8;
/// Largest alignment of a plan.
pub const MAX_ALIGN: u32 = 64;

/// Scratch bytes a node can use: those of the packed convolution, none for
/// other operators. A plan grants all of them or nothing; with nothing, the
/// runtime uses kernels that need none.
///
/// # Errors
/// A [`crate::ShapeError`] when the convolution does not fit its input.
pub fn scratch_bytes(op: &Op, input: Shape) -> Result<u32, crate::ShapeError> {
    match op {
        Op::Conv2d(conv) => Ok(ConvGeometry::new(conv, input)?.scratch_bytes(conv)),
        _ => Ok(0),
    }
}

/// The plan section of a file.
#[derive(Clone, Copy, Debug)]
pub struct PlanView<'a> {
    arena_bytes: u32,
    align: u32,
    values: &'a [u8],
    nodes: &'a [u8],
}

/// Bytes `start..end` of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Range {
    /// Length in bytes.
    pub fn bytes(&self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// The same range in f32 elements: where it lies in an arena of floats.
    pub fn elems(&self) -> core::ops::Range<usize> {
        self.start as usize / 4..self.end as usize / 4
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

impl<'a> PlanView<'a> {
    pub(crate) fn split(section: &'a [u8], values: usize, nodes: usize, limits: &Limits) -> Result<Self, Problem> {
        let expected = (HEAD + RECORD * (values + nodes)) as u64;
        let wrong = Problem::Length {
            expected,
            found: section.len() as u64,
        };
        if section.len() as u64 != expected {
            return Err(wrong);
        }
        let (Some(arena_bytes), Some(align), Some(records)) =
            (u32_at(section, 0), u32_at(section, 4), section.get(HEAD..))
        else {
            return Err(wrong);
        };
        if arena_bytes > limits.arena_bytes {
            return Err(Problem::Limit {
                limit: limits.arena_bytes.into(),
                found: arena_bytes.into(),
            });
        }
        // Ranges that saturate at the end of 32 bits cannot pass for the arena's end.
        if !arena_bytes.is_multiple_of(4) {
            let expected = u64::from(arena_bytes).next_multiple_of(4);
            return Err(Problem::Length {
                expected,
                found: arena_bytes.into(),
            });
        }
        if !align.is_power_of_two() || !(4..=MAX_ALIGN).contains(&align) {
            return Err(Problem::Offset {
                expected: MAX_ALIGN.into(),
                found: align.into(),
            });
        }
        let (values, nodes) = records.split_at_checked(RECORD * values).ok_or(wrong)?;
        Ok(Self {
            arena_bytes,
            align,
            values,
            nodes,
        })
    }

    /// Size of the arena.
    pub fn arena_bytes(&self) -> u32 {
        self.arena_bytes
    }

    /// Alignment of the arena and of every range in it.
    pub fn align(&self) -> u32 {
        self.align
    }

    /// Where a value of `shape` lies.
    pub fn value(&self, id: ValueId, shape: Shape) -> Range {
        let start = u32_at(self.values, usize::from(id.0) * RECORD).unwrap_or(0);
        Range {
            start,
            end: start.saturating_add(shape.bytes()),
        }
    }

    /// The last node that needs a value; the number of nodes for outputs of the model.
    pub fn last_use(&self, id: ValueId) -> u32 {
        u32_at(self.values, usize::from(id.0) * RECORD + 4).unwrap_or(0)
    }

    /// The scratch memory of a node; empty where the plan grants none.
    pub fn scratch(&self, node: usize) -> Range {
        let start = u32_at(self.nodes, node * RECORD).unwrap_or(0);
        let bytes = u32_at(self.nodes, node * RECORD + 4).unwrap_or(0);
        Range {
            start,
            end: start.saturating_add(bytes),
        }
    }

    /// Checks that the plan is right for the graph of `model`: ranges inside
    /// the arena, lives that cover all uses, no overlap of what lives together,
    /// and an arena no larger than needed.
    pub(crate) fn check(&self, model: &Model<'_>) -> Result<(), FormatError> {
        let (values, nodes) = (model.value_count(), model.node_count());
        let mut peak = 0;
        for id in 0..values {
            let fail = |problem| FormatError::new(Place::PlanValue(id as u32), problem);
            let born = self.born(model, id);
            let (range, last_use) = (self.range(model, id), self.last_use(ValueId(id as u16)));
            self.check_range(&range).map_err(fail)?;
            if last_use > nodes as u32 || last_use < born {
                return Err(fail(Problem::Index {
                    bound: nodes as u32 + 1,
                    found: last_use,
                }));
            }
            peak = peak.max(range.end);
            // Inputs live together from the start; node outputs are checked at their node.
            for other in 0..id.min(model.input_count()) {
                if id < model.input_count() && range.overlaps(&self.range(model, other)) {
                    return Err(fail(Problem::Overlap { with: other as u32 }));
                }
            }
        }
        for id in model.outputs() {
            if self.last_use(id) != nodes as u32 {
                let problem = Problem::Count {
                    expected: nodes as u32,
                    found: self.last_use(id),
                };
                return Err(FormatError::new(Place::PlanValue(id.0.into()), problem));
            }
        }
        for node in model.nodes() {
            peak = peak.max(self.check_node(model, &node)?);
        }
        if peak != self.arena_bytes {
            let problem = Problem::Length {
                expected: peak.into(),
                found: self.arena_bytes.into(),
            };
            return Err(FormatError::new(
                Place::Section(crate::container::Section::Plan as u32),
                problem,
            ));
        }
        Ok(())
    }

    /// Returns the end of the node's scratch.
    fn check_node(&self, model: &Model<'_>, node: &crate::Node<'_>) -> Result<u32, FormatError> {
        let index = node.index as u32;
        for id in node.inputs() {
            if self.last_use(id) < index {
                let problem = Problem::Index {
                    bound: index,
                    found: self.last_use(id),
                };
                return Err(FormatError::new(Place::PlanValue(id.0.into()), problem));
            }
        }
        let fail = |problem| FormatError::new(Place::PlanNode(index), problem);
        let output = self.range(model, node.output.0.into());
        let scratch = self.scratch(node.index);
        self.check_range(&scratch).map_err(fail)?;
        if scratch.bytes() == 0 && scratch.start != 0 {
            return Err(fail(Problem::Offset {
                expected: 0,
                found: scratch.start.into(),
            }));
        }
        let input = node.inputs().next().map_or(Shape::SCALAR, |id| model.shape(id));
        let needed = scratch_bytes(&node.op, input).map_err(|e| fail(e.into()))?;
        if scratch.bytes() != 0 && scratch.bytes() != needed {
            return Err(fail(Problem::Length {
                expected: needed.into(),
                found: scratch.bytes().into(),
            }));
        }
        if scratch.overlaps(&output) {
            return Err(fail(Problem::Overlap {
                with: node.output.0.into(),
            }));
        }
        for id in 0..usize::from(node.output.0) {
            let value = ValueId(id as u16);
            if self.last_use(value) < index {
                continue;
            }
            let range = self.range(model, id);
            let reused = node.op.in_place()
                && self.last_use(value) == index
                && range == output
                && node.inputs().any(|input| input == value);
            if scratch.overlaps(&range) || (range.overlaps(&output) && !reused) {
                return Err(fail(Problem::Overlap { with: id as u32 }));
            }
        }
        Ok(if scratch.bytes() == 0 { 0 } else { scratch.end })
    }

    fn range(&self, model: &Model<'_>, id: usize) -> Range {
        let id = ValueId(id as u16);
        self.value(id, model.shape(id))
    }

    /// The first node at which a value exists.
    fn born(&self, model: &Model<'_>, id: usize) -> u32 {
        id.saturating_sub(model.input_count()) as u32
    }

    fn check_range(&self, range: &Range) -> Result<(), Problem> {
        if !range.start.is_multiple_of(self.align) {
            let expected = u64::from(range.start)
                .checked_next_multiple_of(self.align.into())
                .unwrap_or(0);
            return Err(Problem::Offset {
                expected,
                found: range.start.into(),
            });
        }
        if range.end > self.arena_bytes {
            return Err(Problem::Limit {
                limit: self.arena_bytes.into(),
                found: range.end.into(),
            });
        }
        Ok(())
    }
}
