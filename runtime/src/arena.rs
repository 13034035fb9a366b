//! The arena: one block of memory that holds every value and scratch buffer.

use secateur_format::plan::Range;
#[cfg(feature = "alloc")]
use secateur_format::{Model, Node, ValueId};

/// The parts of the arena that one node works on.
pub(crate) struct Carved<'a> {
    /// The node's output.
    pub(crate) output: &'a mut [f32],
    /// Its scratch memory; empty if it has none.
    pub(crate) scratch: &'a mut [f32],
    /// What is left, each piece with the index of its first element.
    rest: [(usize, &'a [f32]); 3],
}

impl<'a> Carved<'a> {
    /// Cuts output and scratch out of the arena; `None` if they overlap or lie outside.
    pub(crate) fn new(arena: &'a mut [f32], output: Range, scratch: Range) -> Option<Self> {
        let elems = |range: Range| (range.elems().start, range.elems().len());
        let (output, scratch) = (elems(output), elems(scratch));
        if scratch.1 == 0 {
            let (before, output_slice, after) = cut(arena, 0, output)?;
            let rest = [(0, before as &[f32]), (output.0 + output.1, after), (0, &[])];
            return Some(Self {
                output: output_slice,
                scratch: &mut [],
                rest,
            });
        }
        let (first, second) = if output.0 < scratch.0 {
            (output, scratch)
        } else {
            (scratch, output)
        };
        let (before, first_slice, after) = cut(arena, 0, first)?;
        let (between, second_slice, behind) = cut(after, first.0 + first.1, second)?;
        let rest = [
            (0, before as &[f32]),
            (first.0 + first.1, between),
            (second.0 + second.1, behind),
        ];
        let (output, scratch) = if output.0 < scratch.0 {
            (first_slice, second_slice)
        } else {
            (second_slice, first_slice)
        };
        Some(Self { output, scratch, rest })
    }

    /// The memory of a node whose result is `output`, and the node's first input; `None`: never, for
    /// a model that was read.
    #[cfg(feature = "alloc")]
    pub(crate) fn of_node(
        model: &Model<'_>,
        node: &Node<'_>,
        output: ValueId,
        arena: &'a mut [f32],
    ) -> Option<(Self, &'a [f32])> {
        let plan = model.plan();
        let memory = Self::new(arena, plan.value(output, model.shape(output)), plan.scratch(node.index))?;
        let input = node.inputs().next()?;
        let x = memory.get(plan.value(input, model.shape(input)))?;
        Some((memory, x))
    }

    /// The elements of a range outside output and scratch.
    pub(crate) fn get(&self, range: Range) -> Option<&'a [f32]> {
        let range = range.elems();
        self.rest
            .iter()
            .find_map(|&(base, piece)| piece.get(range.start.checked_sub(base)?..range.end.checked_sub(base)?))
    }
}

type Pieces<'a> = (&'a mut [f32], &'a mut [f32], &'a mut [f32]);

/// Splits `memory`, whose first element has index `base`, around `(start, len)`.
fn cut(memory: &mut [f32], base: usize, (start, len): (usize, usize)) -> Option<Pieces<'_>> {
    let (before, rest) = memory.split_at_mut_checked(start.checked_sub(base)?)?;
    let (piece, after) = rest.split_at_mut_checked(len)?;
    Some((before, piece, after))
}

/// An arena on the heap, aligned for every plan.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug)]
pub struct ArenaBuf {
    lines: alloc::vec::Vec<Line>,
    bytes: usize,
}

/// 64 bytes: the largest alignment of a plan.
#[cfg(feature = "alloc")]
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, bytemuck::Zeroable, bytemuck::Pod)]
struct Line([u8; 64]);

#[cfg(feature = "alloc")]
impl ArenaBuf {
    /// `bytes` zero bytes.
    pub fn new(bytes: usize) -> Self {
        Self {
            lines: alloc::vec![Line([0; 64]); bytes.div_ceil(64)],
            bytes,
        }
    }

    /// Exactly what the plan of `model` needs.
    pub fn for_model(model: &secateur_format::Model<'_>) -> Self {
        Self::new(model.plan().arena_bytes() as usize)
    }

    /// A copy of `bytes`, aligned: for models that come from memory that is not.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut copy = Self::new(bytes.len());
        copy.as_mut().iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        copy
    }
}

#[cfg(feature = "alloc")]
impl AsRef<[u8]> for ArenaBuf {
    fn as_ref(&self) -> &[u8] {
        let bytes: &[u8] = bytemuck::cast_slice(&self.lines);
        bytes.get(..self.bytes).unwrap_or(bytes)
    }
}

#[cfg(feature = "alloc")]
impl AsMut<[u8]> for ArenaBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.lines);
        let len = self.bytes.min(bytes.len());
        bytes.split_at_mut(len).0
    }
}
