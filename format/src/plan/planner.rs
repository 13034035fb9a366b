//! Makes the memory plan: liveness, then greedy placement by size and by
//! breadth, whichever arena is smaller.

use alloc::vec;
use alloc::vec::Vec;

use super::scratch_bytes;
use crate::graph::{Graph, GraphError};
use crate::{Shape, ValueId};

/// Whether nodes get scratch memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scratch {
    /// Convolutions pack their input: the fast kernels.
    #[default]
    Packed,
    /// None: the smallest arena, for microcontrollers.
    None,
}

/// What the plan may spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// Scratch memory.
    pub scratch: Scratch,
    /// Alignment of every range: a power of two from 4 to 64.
    pub align: u32,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            scratch: Scratch::Packed,
            align: 64,
        }
    }
}

/// A memory plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Size of the arena.
    pub arena_bytes: u32,
    /// Alignment of every range.
    pub align: u32,
    /// Per value: offset, and last node that needs it.
    pub values: Vec<(u32, u32)>,
    /// Per node: offset and bytes of its scratch memory.
    pub scratch: Vec<(u32, u32)>,
    /// No plan can do with less than this: the most bytes that live at once.
    pub lower_bound: u32,
}

/// Something to place: bytes needed from node `first` to node `last`.
#[derive(Clone, Copy, Debug)]
struct Buffer {
    bytes: u64,
    first: u32,
    last: u32,
}

impl Buffer {
    fn lives_with(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Plans the arena of `graph`.
///
/// # Errors
/// A [`GraphError`] from shape inference, or [`GraphError::ArenaTooLarge`].
pub fn plan(graph: &Graph, options: &PlanOptions) -> Result<Plan, GraphError> {
    let shapes = graph.shapes()?;
    let last_use = last_uses(graph);
    let buffer_of = share_in_place(graph, &shapes, &last_use);

    let mut buffers: Vec<Buffer> = Vec::new();
    for (id, shape) in shapes.iter().enumerate() {
        let first = id.saturating_sub(graph.inputs.len()) as u32;
        let last = last_use.get(id).copied().unwrap_or(0);
        match buffers.get_mut(buffer_of[id]) {
            Some(buffer) => buffer.last = buffer.last.max(last),
            None => buffers.push(Buffer {
                bytes: shape.bytes().into(),
                first,
                last,
            }),
        }
    }
    let value_buffers = buffers.len();
    let mut scratch = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let input = node.inputs.first().and_then(|id| shapes.get(usize::from(id.0)));
        let bytes = match options.scratch {
            Scratch::Packed => scratch_bytes(&node.op, *input.unwrap_or(&Shape::SCALAR))
                .map_err(|error| graph.shape_error(index, error))?,
            Scratch::None => 0,
        };
        let index = index as u32;
        buffers.push(Buffer {
            bytes: bytes.into(),
            first: index,
            last: index,
        });
        scratch.push(bytes);
    }

    let step_bytes = |step: u32| -> u64 {
        buffers
            .iter()
            .filter(|b| b.first <= step && step <= b.last)
            .map(|b| b.bytes)
            .sum()
    };
    let steps = graph.nodes.len() as u32;
    let lower_bound = (0..steps).map(step_bytes).max().unwrap_or(0);

    let align = u64::from(options.align.clamp(4, super::MAX_ALIGN).next_power_of_two());
    let by_size = place(&buffers, &order_by_size(&buffers), align);
    let by_breadth = place(&buffers, &order_by_breadth(&buffers, steps, step_bytes), align);
    let (arena, offsets) = if by_breadth.0 < by_size.0 { by_breadth } else { by_size };
    let narrow = |bytes: u64| u32::try_from(bytes).map_err(|_| GraphError::ArenaTooLarge { bytes });
    let (arena_bytes, lower_bound) = (narrow(arena)?, narrow(lower_bound)?);
    let (value_offsets, scratch_offsets) = offsets.split_at(value_buffers);
    Ok(Plan {
        arena_bytes,
        align: align as u32,
        values: buffer_of
            .iter()
            .zip(&last_use)
            .map(|(&b, &last)| (value_offsets[b] as u32, last))
            .collect(),
        scratch: scratch_offsets
            .iter()
            .zip(scratch)
            .map(|(&offset, bytes)| if bytes == 0 { (0, 0) } else { (offset as u32, bytes) })
            .collect(),
        lower_bound,
    })
}

/// The last node that needs each value; the number of nodes for graph outputs.
fn last_uses(graph: &Graph) -> Vec<u32> {
    let mut last: Vec<u32> = (0..graph.value_count())
        .map(|id| id.saturating_sub(graph.inputs.len()) as u32)
        .collect();
    for (index, node) in graph.nodes.iter().enumerate() {
        for id in &node.inputs {
            if let Some(slot) = last.get_mut(usize::from(id.0)) {
                *slot = index as u32;
            }
        }
    }
    for id in &graph.outputs {
        if let Some(slot) = last.get_mut(usize::from(id.0)) {
            *slot = graph.nodes.len() as u32;
        }
    }
    last
}

/// The buffer of each value, in order of first use: an operator that may run in
/// place takes over the buffer of an input that dies there. Of two it takes the older one: the
/// newer one is never stored if the addition is done by the product right before it, and so the
/// sum is written to memory that was read just before.
fn share_in_place(graph: &Graph, shapes: &[Shape], last_use: &[u32]) -> Vec<usize> {
    let mut buffer_of: Vec<usize> = (0..graph.inputs.len()).collect();
    let mut next = buffer_of.len();
    for (index, node) in graph.nodes.iter().enumerate() {
        let output = &shapes[graph.inputs.len() + index];
        let dies_here = |id: &&ValueId| {
            let id = usize::from(id.0);
            last_use[id] == index as u32 && shapes[id].bytes() == output.bytes()
        };
        let dying = node.inputs.iter().filter(dies_here);
        let reused = dying.min_by_key(|id| id.0).filter(|_| node.op.in_place());
        buffer_of.push(match reused {
            Some(id) => buffer_of[usize::from(id.0)],
            None => {
                next += 1;
                next - 1
            }
        });
    }
    buffer_of
}

/// Largest first.
fn order_by_size(buffers: &[Buffer]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&i| (core::cmp::Reverse(buffers[i].bytes), buffers[i].first, i));
    order
}

/// The buffers of the widest step first, largest first within a step.
fn order_by_breadth(buffers: &[Buffer], steps: u32, step_bytes: impl Fn(u32) -> u64) -> Vec<usize> {
    let mut by_breadth: Vec<u32> = (0..steps).collect();
    by_breadth.sort_by_cached_key(|&step| core::cmp::Reverse(step_bytes(step)));
    let by_size = order_by_size(buffers);
    let mut placed = vec![false; buffers.len()];
    let mut order = Vec::with_capacity(buffers.len());
    for step in by_breadth {
        for &i in &by_size {
            if buffers[i].first <= step && step <= buffers[i].last && !placed[i] {
                placed[i] = true;
                order.push(i);
            }
        }
    }
    // Values that only live past the last step: outputs no node reads.
    order.extend(by_size.into_iter().filter(|&i| !placed[i]));
    order
}

/// Puts each buffer, in `order`, into the lowest gap between the placed buffers
/// it lives with. Returns the arena's size and the offsets.
fn place(buffers: &[Buffer], order: &[usize], align: u64) -> (u64, Vec<u64>) {
    let mut offsets = vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(buffers.len());
    let mut arena = 0;
    for &i in order {
        let buffer = &buffers[i];
        if buffer.bytes == 0 {
            continue;
        }
        let mut neighbours: Vec<(u64, u64)> = placed
            .iter()
            .filter(|&&j| buffers[j].lives_with(buffer))
            .map(|&j| (offsets[j], offsets[j] + buffers[j].bytes))
            .collect();
        neighbours.sort_unstable();
        let mut offset = 0;
        for (start, end) in neighbours {
            if offset + buffer.bytes <= start {
                break;
            }
            offset = offset.max(end.next_multiple_of(align));
        }
        offsets[i] = offset;
        arena = arena.max(offset + buffer.bytes);
        placed.push(i);
    }
    (arena, offsets)
}
