//! Operators that give the same elements another shape.

use super::super::array::{Array, Int, axis};
use super::super::call::{Call, Value};
use super::super::graph::{Builder, mixes_batch};
use crate::source::error::Fault;
use secateur_format::{Op, Shape, ValueId};

/// Emits a reshape to `dims`, without the batch.
fn emit(builder: &mut Builder, call: &Call<'_>, input: ValueId, dims: &[u32]) -> Result<Value, Fault> {
    let unusable = |error| {
        Fault::unsupported(
            format!("its result is {dims:?}: {error}"),
            "1 to 4 dimensions after the batch are supported",
        )
    };
    let shape = Shape::new(dims).map_err(unusable)?;
    if shape == builder.shape(input) {
        return Ok(Value::Computed(input));
    }
    builder.emit(call.name(), Op::Reshape(shape), &[input])
}

pub(super) fn flatten(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let input = call.computed(0)?;
    let shape = builder.shape(input);
    let at = call.int("axis")?.unwrap_or(1);
    if axis(at, shape.rank() + 1)? != 1 {
        return Err(mixes_batch(format!("it flattens from axis {at}, not from axis 1")));
    }
    emit(builder, call, input, &[shape.elems() as u32])
}

pub(super) fn reshape(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let zero_copies = call.int("allowzero")?.unwrap_or(0) == 0;
    let input = call.computed(0)?;
    let shape = builder.shape(input);
    let target = call
        .ints(1)?
        .ok_or_else(|| Fault::unreadable("the shape is missing", "export the model again"))?;
    let mixes = || {
        mixes_batch(format!(
            "a value of shape {shape} (without the batch) gets the shape {}",
            shown_dims(target)
        ))
    };
    let (batch, rest) = target.data().split_first().ok_or_else(mixes)?;
    // How many elements the dimensions after the batch must have in all; unknown if the batch
    // takes what they leave.
    let mut known = 1u64;
    let mut dims = Vec::with_capacity(rest.len());
    for (axis, &dim) in rest.iter().enumerate() {
        let copied = || shape.dims().get(axis).copied().map(i64::from);
        let dim = match dim.ok_or_else(mixes)? {
            0 if zero_copies => copied().ok_or_else(mixes)?,
            dim => dim,
        };
        if dim > 0 {
            known = known.saturating_mul(dim as u64);
        }
        dims.push(dim);
    }
    let elems = shape.elems() as u64;
    let open = dims.iter().filter(|&&dim| dim == -1).count();
    let same_batch = match *batch {
        None | Some(0) => zero_copies || batch.is_none(),
        // It takes what the others leave, which is the batch if they hold a whole sample.
        Some(-1) => open == 0,
        // Without an open dimension, the numbers of elements show that the batch is kept.
        Some(batch) => open == 0 || builder.batch == Some(batch),
    };
    let missing = if open == 1 {
        elems.checked_div(known).unwrap_or(0)
    } else {
        1
    };
    if !same_batch || open > 1 || known.saturating_mul(missing) != elems {
        return Err(mixes());
    }
    let dims: Result<Vec<u32>, _> = dims
        .into_iter()
        .map(|dim| u32::try_from(if dim == -1 { missing as i64 } else { dim }))
        .collect();
    emit(builder, call, input, &dims.map_err(|_| mixes())?)
}

/// A target shape in a message; `N` is the batch.
fn shown_dims(dims: &Array<Int>) -> String {
    let texts: Vec<String> = dims
        .data()
        .iter()
        .take(8)
        .map(|dim| dim.map_or_else(|| "N".to_owned(), |dim| dim.to_string()))
        .collect();
    format!("[{}]", texts.join(", "))
}

/// The axes that `Squeeze` and `Unsqueeze` are given, counted with the batch in a value of `rank`.
fn axes(call: &Call<'_>, rank: usize) -> Result<Vec<usize>, Fault> {
    let axes = call
        .known_ints(1)?
        .ok_or_else(|| mixes_batch("it has no axes, so that they depend on the batch"))?;
    let normal: Result<Vec<usize>, Fault> = axes.iter().map(|&number| axis(number, rank)).collect();
    let mut normal = normal?;
    normal.sort_unstable();
    normal.dedup();
    match normal.first() {
        Some(0) => Err(mixes_batch("it works on axis 0, the batch dimension")),
        _ => Ok(normal),
    }
}

pub(super) fn squeeze(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let input = call.computed(0)?;
    let shape = builder.shape(input);
    let axes = axes(call, shape.rank() + 1)?;
    let kept = shape
        .dims()
        .iter()
        .enumerate()
        .filter(|(i, _)| !axes.contains(&(i + 1)))
        .map(|(_, &dim)| dim);
    let kept: Vec<u32> = kept.collect();
    if kept.is_empty() {
        // A value without dimensions but the batch has one element: [1] without the batch.
        return Err(Fault::unsupported(
            "no dimension but the batch is left",
            "keep one of them",
        ));
    }
    emit(builder, call, input, &kept)
}

pub(super) fn unsqueeze(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let input = call.computed(0)?;
    let shape = builder.shape(input);
    let count = call.ints(1)?.map_or(0, |axes| axes.data().len());
    let axes = axes(call, shape.rank() + 1 + count)?;
    let mut old = shape.dims().iter().copied();
    let new = (1..shape.rank() + 1 + axes.len()).map(|axis| {
        if axes.contains(&axis) {
            1
        } else {
            old.next().unwrap_or(1)
        }
    });
    let new: Vec<u32> = new.take(64).collect();
    emit(builder, call, input, &new)
}

/// The shape of a computed value, the batch standing for itself.
pub(super) fn shape(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let dims = builder.shape(call.computed(0)?);
    let dims = dims.dims().iter().map(|&dim| Some(i64::from(dim)));
    let all: Vec<Int> = std::iter::once(None).chain(dims).collect();
    super::super::fold::shape_part(call, all)
}
