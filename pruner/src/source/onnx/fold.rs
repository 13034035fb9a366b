//! Operators on constants: the shape arithmetic that exporters write into their files.

use super::array::{Array, Constant, Int, axis, broadcast, count, range as range_of, strides};
use super::call::{Call, Value};
use super::graph::{Builder, mixes_batch};
use super::ops::SliceBounds;
use super::schema::data_type;
use crate::source::error::Fault;

/// The fault of what no sound model contains.
fn invalid(problem: impl std::fmt::Display) -> Fault {
    Fault::unreadable(problem, "check the file with onnx.checker")
}

/// Applies an expression to the array in a constant, whatever its elements are.
macro_rules! of_either {
    ($constant:expr, $array:ident => $result:expr) => {
        match $constant {
            Constant::Floats($array) => Constant::Floats($result),
            Constant::Ints($array) => Constant::Ints($result),
        }
    };
}

pub(super) fn constant(_: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    if let Some(value) = call.tensor("value")? {
        return Ok(value.into());
    }
    if let Some(value) = call.int("value_int")? {
        return Ok(Array::scalar(Some(value)).into());
    }
    if let Some(values) = call.int_list("value_ints")? {
        return Ok(Array::vector(values.iter().copied().map(Some).collect::<Vec<Int>>()).into());
    }
    if let Some(value) = call.float("value_float")? {
        return Ok(Array::scalar(value).into());
    }
    let values = call
        .float_list("value_floats")?
        .ok_or_else(|| invalid("it has no value of a supported type"))?;
    Ok(Array::vector(values.to_vec()).into())
}

pub(super) fn identity(_: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    call.inputs
        .first()
        .cloned()
        .flatten()
        .ok_or_else(|| invalid("it has no input"))
}

pub(super) fn cast(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    call.ignore("saturate");
    let to = call.int("to")?.and_then(|to| i32::try_from(to).ok()).unwrap_or(0);
    let input = call.required(0)?;
    let to_float = [
        data_type::FLOAT,
        data_type::FLOAT16,
        data_type::BFLOAT16,
        data_type::DOUBLE,
    ]
    .contains(&to);
    let to_int = [data_type::INT32, data_type::INT64, data_type::BOOL].contains(&to);
    builder.spend(count(input.dims())?)?;
    Ok(match input {
        Constant::Floats(_) if to_float => input.clone().into(),
        Constant::Ints(_) if to_int && to != data_type::BOOL => input.clone().into(),
        Constant::Ints(array) if to_float => {
            let data: Option<Vec<f32>> = array.data().iter().map(|int| int.map(|int| int as f32)).collect();
            Array::new(
                array.dims().to_vec(),
                data.ok_or_else(|| mixes_batch("it computes with the batch size"))?,
            )?
            .into()
        }
        Constant::Floats(array) if to_int && to != data_type::BOOL => {
            // `as` cuts off the fraction, as ONNX says; what does not fit has no defined result there.
            let data = array.data().iter().map(|&x| Some(x as i64)).collect::<Vec<Int>>();
            Array::new(array.dims().to_vec(), data)?.into()
        }
        _ => {
            return Err(Fault::unsupported(
                format!("a constant is converted to element type {to}"),
                "simplify the model first (onnxsim)",
            ));
        }
    })
}

pub(super) fn shape(_: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let dims: Vec<Int> = call.required(0)?.dims().iter().map(|&dim| Some(dim as i64)).collect();
    shape_part(call, dims)
}

/// The part of a shape that the attributes of `Shape` select.
pub(super) fn shape_part(call: &mut Call<'_>, dims: Vec<Int>) -> Result<Value, Fault> {
    let start = call.int("start")?.unwrap_or(0);
    let end = call.int("end")?.unwrap_or(i64::MAX);
    let part = range_of(dims.len(), start, end, 1)?;
    Ok(Array::vector(dims.into_iter().skip(part.start).take(part.count).collect::<Vec<Int>>()).into())
}

pub(super) fn gather(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let at = call.int("axis")?.unwrap_or(0);
    let input = call.required(0)?;
    let at = axis(at, input.dims().len())?;
    let (outer, rest) = input.dims().split_at(at);
    let (&extent, inner) = rest
        .split_first()
        .ok_or_else(|| invalid("it takes elements of a scalar"))?;
    let indices = call.known_ints(1)?.ok_or_else(|| invalid("the indices are missing"))?;
    let chosen: Result<Vec<usize>, Fault> = indices.iter().map(|&index| axis(index, extent)).collect();
    let chosen = chosen?;
    let dims = [outer, call.required(1)?.dims(), inner].concat();
    let elements = count(&dims)?;
    builder.spend(elements)?;
    // With an axis of extent 0 there is nothing to do, but the others may be huge.
    let blocks = if elements == 0 { 0 } else { count(outer)? };
    let block = count(inner)?;
    let starts = (0..blocks).flat_map(|o| chosen.iter().map(move |&index| (o * extent + index) * block));
    Ok(of_either!(input, array => {
        let parts = starts.flat_map(|start| array.data().get(start..start + block).unwrap_or_default());
        Array::new(dims, parts.copied().collect())?
    })
    .into())
}

pub(super) fn concat(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let at = call
        .int("axis")?
        .ok_or_else(|| invalid("attribute `axis` is missing"))?;
    match call.required(0)? {
        Constant::Floats(_) => {
            let arrays: Result<Vec<&Array<f32>>, Fault> =
                (0..call.inputs.len()).map(|i| call.required_floats(i)).collect();
            Ok(join(builder, &arrays?, at)?.into())
        }
        Constant::Ints(_) => {
            let missing = || invalid("an input is missing");
            let arrays: Result<Vec<&Array<Int>>, Fault> = (0..call.inputs.len())
                .map(|i| call.ints(i)?.ok_or_else(missing))
                .collect();
            Ok(join(builder, &arrays?, at)?.into())
        }
    }
}

fn join<T: Copy>(builder: &mut Builder, arrays: &[&Array<T>], at: i64) -> Result<Array<T>, Fault> {
    let first = arrays.first().ok_or_else(|| invalid("it has no inputs"))?;
    let at = axis(at, first.dims().len())?;
    let outer = count(first.dims().get(..at).unwrap_or_default())?;
    let mut dims = first.dims().to_vec();
    let mut joined = 0usize;
    for array in arrays {
        let mut other = array.dims().to_vec();
        if let (Some(extent), Some(own)) = (other.get_mut(at), dims.get(at)) {
            joined = joined.saturating_add(*extent);
            *extent = *own;
        }
        if other != dims {
            return Err(invalid("the shapes of the inputs do not agree"));
        }
    }
    if let Some(extent) = dims.get_mut(at) {
        *extent = joined;
    }
    let elements = count(&dims)?;
    builder.spend(elements)?;
    let mut data = Vec::with_capacity(elements);
    // With an axis of extent 0 there is nothing to do, but the others may be huge.
    for block in 0..if elements == 0 { 0 } else { outer } {
        for array in arrays {
            let length = array.data().len() / outer;
            data.extend_from_slice(
                array
                    .data()
                    .get(block * length..(block + 1) * length)
                    .unwrap_or_default(),
            );
        }
    }
    Array::new(dims, data)
}

/// The shape with extents of 1 at `axes`, which count in the result.
pub(super) fn unsqueeze(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let input = call.required(0)?;
    let axes = call.known_ints(1)?.ok_or_else(|| invalid("the axes are missing"))?;
    let rank = input.dims().len() + axes.len();
    let axes: Result<Vec<usize>, Fault> = axes.iter().map(|&number| axis(number, rank)).collect();
    let axes = axes?;
    let mut old = input.dims().iter().copied();
    let dims = (0..rank)
        .map(|axis| {
            if axes.contains(&axis) {
                1
            } else {
                old.next().unwrap_or(1)
            }
        })
        .collect();
    with_dims(builder, input, dims)
}

pub(super) fn squeeze(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let input = call.required(0)?;
    let rank = input.dims().len();
    let axes: Option<Result<Vec<usize>, Fault>> = call
        .known_ints(1)?
        .map(|axes| axes.iter().map(|&number| axis(number, rank)).collect());
    let axes = axes.transpose()?;
    let dropped = |i: usize, dim: usize| axes.as_ref().map_or(dim == 1, |axes| axes.contains(&i));
    let dims = input
        .dims()
        .iter()
        .enumerate()
        .filter(|&(i, &dim)| !dropped(i, dim))
        .map(|(_, &dim)| dim)
        .collect();
    with_dims(builder, input, dims)
}

pub(super) fn reshape(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let zero_copies = call.int("allowzero")?.unwrap_or(0) == 0;
    let input = call.required(0)?;
    let target = call.known_ints(1)?.ok_or_else(|| invalid("the shape is missing"))?;
    let resolve = |(axis, &dim): (usize, &i64)| match dim {
        0 if zero_copies => input.dims().get(axis).copied().map(Some),
        -1 => Some(None),
        dim => usize::try_from(dim).ok().map(Some),
    };
    let dims: Option<Vec<Option<usize>>> = target.iter().enumerate().map(resolve).collect();
    let dims = dims.ok_or_else(|| invalid("the shape has a wrong dimension"))?;
    let known: Vec<usize> = dims.iter().flatten().copied().collect();
    let missing = count(input.dims())?.checked_div(count(&known)?).unwrap_or(0);
    // With two open dimensions the count no longer fits, unless both are 1: harmless.
    with_dims(
        builder,
        input,
        dims.into_iter().map(|dim| dim.unwrap_or(missing)).collect(),
    )
}

fn with_dims(builder: &mut Builder, input: &Constant, dims: Vec<usize>) -> Result<Value, Fault> {
    builder.spend(count(input.dims())?)?;
    Ok(of_either!(input, array => array.reshaped(dims)?).into())
}

pub(super) fn transpose(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let given = call.int_list("perm")?;
    let input = call.required(0)?;
    let rank = input.dims().len();
    let axes: Vec<usize> = match given {
        Some(axes) => axes
            .iter()
            .map(|&number| axis(number, rank))
            .collect::<Result<_, _>>()?,
        None => (0..rank).rev().collect(),
    };
    let mut sorted = axes.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..rank) {
        return Err(invalid("attribute `perm` is not a permutation of the axes"));
    }
    builder.spend(count(input.dims())?)?;
    Ok(of_either!(input, array => array.transposed(&axes)?).into())
}

pub(super) fn slice(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let input = call.required(0)?;
    let mut dims = input.dims().to_vec();
    let mut strides = strides(&dims);
    let mut offset = 0isize;
    for (number, start, end, step) in SliceBounds::read(call)?.iter() {
        let at = axis(number, dims.len())?;
        let end = end.ok_or_else(|| mixes_batch("a bound is the batch size"))?;
        if let (Some(dim), Some(stride)) = (dims.get_mut(at), strides.get_mut(at)) {
            let selected = range_of(*dim, start, end, step)?;
            offset = offset.saturating_add(stride.saturating_mul(selected.start as isize));
            *stride = stride.saturating_mul(selected.step);
            *dim = selected.count;
        }
    }
    builder.spend(count(&dims)?)?;
    Ok(of_either!(input, array => array.strided(dims, &strides, offset)?).into())
}

pub(super) fn constant_of_shape(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let value = call.tensor("value")?.unwrap_or_else(|| Array::scalar(0.0).into());
    let dims = call.known_ints(0)?.ok_or_else(|| invalid("the shape is missing"))?;
    let dims: Result<Vec<usize>, _> = dims.iter().map(|&dim| usize::try_from(dim)).collect();
    let dims = dims.map_err(|_| invalid("the shape has a negative dimension"))?;
    let elements = count(&dims)?;
    builder.spend(elements)?;
    Ok(of_either!(&value, array => {
        let value = array.single().ok_or_else(|| invalid("attribute `value` is not one element"))?;
        Array::new(dims, vec![value; elements])?
    })
    .into())
}

pub(super) fn range(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let mut bounds = [0i64; 3];
    for (index, bound) in bounds.iter_mut().enumerate() {
        *bound = match call.known_ints(index)?.as_deref() {
            Some([value]) => *value,
            _ => return Err(invalid("start, limit and step must each be one number")),
        };
    }
    let [start, limit, step] = bounds.map(i128::from);
    let distance = if step < 0 { start - limit } else { limit - start };
    let elements = match step {
        0 => return Err(invalid("the step is 0")),
        _ => (distance.max(0) as u128).div_ceil(step.unsigned_abs()),
    };
    let elements = usize::try_from(elements).unwrap_or(usize::MAX);
    builder.spend(elements)?;
    // Each lies between start and limit, so it fits.
    Ok(Array::vector(
        (0..elements)
            .map(|i| Some((start + i as i128 * step) as i64))
            .collect::<Vec<Int>>(),
    )
    .into())
}

pub(super) fn add(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    binary(builder, call, |a, b| a + b, i64::checked_add)
}

pub(super) fn sub(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    binary(builder, call, |a, b| a - b, i64::checked_sub)
}

pub(super) fn mul(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    binary(builder, call, |a, b| a * b, i64::checked_mul)
}

pub(super) fn div(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    binary(builder, call, |a, b| a / b, i64::checked_div)
}

fn binary(
    builder: &mut Builder,
    call: &Call<'_>,
    of_floats: fn(f32, f32) -> f32,
    of_ints: fn(i64, i64) -> Option<i64>,
) -> Result<Value, Fault> {
    let (a, b) = (call.required(0)?, call.required(1)?);
    let dims = broadcast(a.dims(), b.dims())?;
    // The operands are spread to the result's shape first.
    builder.spend(count(&dims)?.saturating_mul(3))?;
    match (a, b) {
        (Constant::Floats(a), Constant::Floats(b)) => {
            let (a, b) = (a.broadcasted(&dims)?, b.broadcasted(&dims)?);
            let data = a.data().iter().zip(b.data()).map(|(&a, &b)| of_floats(a, b)).collect();
            Ok(Array::new(dims, data)?.into())
        }
        (Constant::Ints(a), Constant::Ints(b)) => {
            let (a, b) = (a.broadcasted(&dims)?, b.broadcasted(&dims)?);
            let result = |(&a, &b): (&Int, &Int)| match (a, b) {
                (Some(a), Some(b)) => of_ints(a, b)
                    .map(Some)
                    .ok_or_else(|| invalid("an integer result is undefined")),
                _ => Err(mixes_batch("it computes with the batch size")),
            };
            let data: Result<Vec<Int>, Fault> = a.data().iter().zip(b.data()).map(result).collect();
            Ok(Array::new(dims, data?)?.into())
        }
        _ => Err(invalid("the inputs are of different types")),
    }
}
