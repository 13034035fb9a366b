//! Operators that move elements.

use super::super::array::{axis, range};
use super::super::call::{Call, Value};
use super::super::graph::{Builder, mixes_batch};
use crate::source::error::Fault;
use secateur_format::{MAX_RANK, Op, ValueId};

pub(super) fn concat(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let at = call
        .int("axis")?
        .ok_or_else(|| Fault::unreadable("attribute `axis` is missing", "export the model again"))?;
    let inputs: Result<Vec<ValueId>, Fault> = (0..call.inputs.len()).map(|index| call.computed(index)).collect();
    let inputs = inputs?;
    let axis = builder.axis(call.computed(0)?, at)?;
    match inputs.as_slice() {
        [only] => Ok(Value::Computed(*only)),
        _ => builder.emit(call.name(), Op::Concat { axis }, &inputs),
    }
}

pub(super) fn pad(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    if call.text("mode")?.is_some_and(|mode| mode != b"constant") {
        return Err(Fault::unsupported(
            "attribute `mode` is not \"constant\"",
            "only constant padding is supported",
        ));
    }
    let input = call.computed(0)?;
    let rank = builder.shape(input).rank() + 1;
    let amounts = call
        .known_ints(1)?
        .ok_or_else(|| Fault::unreadable("the pads are missing", "export the model again"))?;
    let value = call.floats(2)?.map_or(Some(0.0), |value| value.single());
    let value =
        value.ok_or_else(|| Fault::unreadable("the padding value is not one number", "export the model again"))?;
    if !value.is_finite() {
        return Err(Fault::unsupported(
            format!("the padding value is {value}"),
            "pad with a finite number",
        ));
    }
    let axes = match call.known_ints(3)? {
        Some(axes) => axes,
        None => (0..rank as i64).collect(),
    };
    if amounts.len() != axes.len().saturating_mul(2) {
        let problem = format!("{} pads are given for {} axes", amounts.len(), axes.len());
        return Err(Fault::unreadable(problem, "export the model again"));
    }
    let (mut before, mut after) = ([0; MAX_RANK], [0; MAX_RANK]);
    let (first, last) = amounts.split_at(axes.len());
    for ((&number, &first), &last) in axes.iter().zip(first).zip(last) {
        if (first, last) == (0, 0) {
            continue;
        }
        let at = usize::from(builder.axis(input, number)?);
        let amount = |amount: i64| {
            let problem = format!("axis {number} is padded by {amount}");
            u16::try_from(amount).map_err(|_| Fault::unsupported(problem, "amounts from 0 to 65535 are supported"))
        };
        if let (Some(before), Some(after)) = (before.get_mut(at), after.get_mut(at)) {
            (*before, *after) = (amount(first)?, amount(last)?);
        }
    }
    builder.emit(call.name(), Op::Pad { before, after, value }, &[input])
}

pub(super) fn slice(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let input = call.computed(0)?;
    let shape = builder.shape(input);
    let bounds = SliceBounds::read(call)?;
    let (mut start, mut end, mut step) = ([0; MAX_RANK], shape.padded_dims(), [1; MAX_RANK]);
    let mut seen = [false; MAX_RANK + 1];
    for (number, first, last, by) in bounds.iter() {
        if let Some(seen) = seen.get_mut(axis(number, shape.rank() + 1)?)
            && std::mem::replace(seen, true)
        {
            return Err(Fault::unreadable(
                format!("axis {number} is given twice"),
                "check the file with onnx.checker",
            ));
        }
        let Some(at) = axis(number, shape.rank() + 1)?.checked_sub(1) else {
            // The end is the batch itself, or beyond any batch.
            let all = last.is_none_or(|last| last >= builder.batch.unwrap_or(i64::from(i32::MAX)));
            if first == 0 && by == 1 && all {
                continue;
            }
            return Err(mixes_batch("it selects samples of the batch"));
        };
        let last = last.ok_or_else(|| mixes_batch("a bound is the batch size"))?;
        if by < 1 {
            return Err(Fault::unsupported(
                format!("axis {number} has step {by}"),
                "only positive steps are supported",
            ));
        }
        if let (Some(start), Some(end), Some(step)) = (start.get_mut(at), end.get_mut(at), step.get_mut(at)) {
            let selected = range(*end as usize, first, last, by)?;
            // All within the axis, so that they fit.
            let stop =
                (selected.start as u64).saturating_add((selected.count as u64).saturating_mul(selected.step as u64));
            *end = stop.min(u64::from(*end)) as u32;
            *start = selected.start as u32;
            *step = selected.step as u32;
        }
    }
    builder.emit(call.name(), Op::Slice { start, end, step }, &[input])
}

/// The inputs of a `Slice`.
pub(in super::super) struct SliceBounds {
    axes: Vec<i64>,
    starts: Vec<i64>,
    ends: Vec<Option<i64>>,
    steps: Vec<i64>,
}

impl SliceBounds {
    pub(in super::super) fn read(call: &Call<'_>) -> Result<Self, Fault> {
        let fault = || Fault::unreadable("the bounds do not belong together", "check the file with onnx.checker");
        let starts = call.known_ints(1)?.ok_or_else(fault)?;
        let ends = call.ints(2)?.ok_or_else(fault)?.data().to_vec();
        let axes = call
            .known_ints(3)?
            .unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = call.known_ints(4)?.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return Err(fault());
        }
        Ok(Self {
            axes,
            starts,
            ends,
            steps,
        })
    }

    /// Axis, start, end and step.
    pub(in super::super) fn iter(&self) -> impl Iterator<Item = (i64, i64, Option<i64>, i64)> {
        let bounds = self.axes.iter().zip(&self.starts).zip(&self.ends).zip(&self.steps);
        bounds.map(|(((&axis, &start), &end), &step)| (axis, start, end, step))
    }
}

pub(super) fn transpose(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let input = call.computed(0)?;
    let rank = builder.shape(input).rank() + 1;
    let axes: Vec<i64> = call
        .int_list("perm")?
        .map_or_else(|| (0..rank as i64).rev().collect(), <[i64]>::to_vec);
    if axes.iter().copied().eq(0..rank as i64) {
        return Ok(Value::Computed(input));
    }
    let axes = axes.get(..8).unwrap_or(&axes);
    Err(Fault::unsupported(
        format!("a computed value is transposed to the axes {axes:?}"),
        "models must keep the channels first (NCHW): export with tf2onnx's --inputs-as-nchw and \
         --outputs-as-nchw, or convert a channels-last model before",
    ))
}
