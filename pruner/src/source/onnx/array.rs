//! Constants of a model, and the rearrangements that shape arithmetic needs.

use crate::source::error::Fault;

/// Most dimensions of a constant.
const MAX_DIMS: usize = 16;

/// An integer of a shape computation; `None` is the batch size, which no model may fix.
pub(super) type Int = Option<i64>;

/// A dense row-major array; no dimensions for a scalar.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array<T> {
    dims: Vec<usize>,
    data: Vec<T>,
}

/// A constant value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Constant {
    /// Weights and other real numbers.
    Floats(Array<f32>),
    /// Shapes, axes, indices and flags.
    Ints(Array<Int>),
}

impl From<Array<f32>> for Constant {
    fn from(array: Array<f32>) -> Self {
        Self::Floats(array)
    }
}

impl From<Array<Int>> for Constant {
    fn from(array: Array<Int>) -> Self {
        Self::Ints(array)
    }
}

impl Constant {
    /// The dimensions.
    pub(super) fn dims(&self) -> &[usize] {
        match self {
            Self::Floats(array) => array.dims(),
            Self::Ints(array) => array.dims(),
        }
    }
}

/// Number of elements, if it can be counted.
pub(super) fn count(dims: &[usize]) -> Result<usize, Fault> {
    dims.iter()
        .try_fold(1usize, |product, &dim| product.checked_mul(dim))
        .ok_or_else(|| {
            Fault::unreadable(
                format!("the shape {dims:?} has too many elements"),
                "export the model again",
            )
        })
}

/// The distance between neighbours along each axis of a dense array.
pub(super) fn strides(dims: &[usize]) -> Vec<isize> {
    let mut strides: Vec<isize> = Vec::with_capacity(dims.len());
    let mut stride = 1isize;
    for &dim in dims.iter().rev() {
        strides.push(stride);
        stride = stride.saturating_mul(dim as isize);
    }
    strides.reverse();
    strides
}

impl<T> Array<T> {
    /// An array of `dims`, the product of which must be the number of elements.
    pub(super) fn new(dims: Vec<usize>, data: Vec<T>) -> Result<Self, Fault> {
        if dims.len() > MAX_DIMS {
            let problem = format!("a constant has {} dimensions", dims.len());
            return Err(Fault::unsupported(problem, "at most 16 are supported"));
        }
        if count(&dims)? != data.len() {
            let problem = format!("a constant of shape {dims:?} holds {} elements", data.len());
            return Err(Fault::unreadable(
                problem,
                "the file is damaged: export the model again",
            ));
        }
        Ok(Self { dims, data })
    }

    /// A vector.
    pub(super) fn vector(data: Vec<T>) -> Self {
        Self {
            dims: vec![data.len()],
            data,
        }
    }

    /// A scalar.
    pub(super) fn scalar(value: T) -> Self {
        Self {
            dims: Vec::new(),
            data: vec![value],
        }
    }

    /// The dimensions.
    pub(super) fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The elements.
    pub(super) fn data(&self) -> &[T] {
        &self.data
    }
}

impl<T: Copy> Array<T> {
    /// The only element of a scalar or of an array of one element.
    pub(super) fn single(&self) -> Option<T> {
        match self.data.as_slice() {
            [value] => Some(*value),
            _ => None,
        }
    }

    /// The same elements under other dimensions.
    pub(super) fn reshaped(&self, dims: Vec<usize>) -> Result<Self, Fault> {
        Self::new(dims, self.data.clone())
    }

    /// The array of `dims` whose element at an index is found at `offset` plus the sum of index
    /// times stride: slices, transpositions and broadcasts in one. The caller has limited the
    /// number of elements.
    pub(super) fn strided(&self, dims: Vec<usize>, strides: &[isize], offset: isize) -> Result<Self, Fault> {
        let outside = || Fault::unreadable("an index lies outside a constant", "export the model again");
        let mut data = Vec::with_capacity(count(&dims)?);
        let mut index = vec![0usize; dims.len()];
        let mut at = offset;
        for _ in 0..count(&dims)? {
            let element = usize::try_from(at).ok().and_then(|at| self.data.get(at));
            data.push(*element.ok_or_else(outside)?);
            for ((i, &dim), &stride) in index.iter_mut().zip(&dims).zip(strides).rev() {
                *i += 1;
                at = at.wrapping_add(stride);
                if *i < dim {
                    break;
                }
                at = at.wrapping_sub(stride.wrapping_mul(dim as isize));
                *i = 0;
            }
        }
        Self::new(dims, data)
    }

    /// The axes in the order of `axes`, which must be a permutation.
    pub(super) fn transposed(&self, axes: &[usize]) -> Result<Self, Fault> {
        let own = strides(&self.dims);
        let pick = |axis: &usize| Some((*self.dims.get(*axis)?, *own.get(*axis)?));
        let picked: Option<Vec<(usize, isize)>> = axes.iter().map(pick).collect();
        let picked =
            picked.ok_or_else(|| Fault::unreadable("an axis lies outside a constant", "export the model again"))?;
        let (dims, strides): (Vec<usize>, Vec<isize>) = picked.into_iter().unzip();
        self.strided(dims, &strides, 0)
    }

    /// The array repeated along new axes and along those of extent 1, to the shape `dims` that
    /// [`broadcast`] gave.
    pub(super) fn broadcasted(&self, dims: &[usize]) -> Result<Self, Fault> {
        let new_axes = dims.len().saturating_sub(self.dims.len());
        let own = strides(&self.dims)
            .into_iter()
            .zip(&self.dims)
            .map(|(s, &dim)| if dim == 1 { 0 } else { s });
        let strides: Vec<isize> = std::iter::repeat_n(0, new_axes).chain(own).collect();
        self.strided(dims.to_vec(), &strides, 0)
    }
}

/// The shape that two shapes have in common under NumPy's rules.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Fault> {
    let rank = a.len().max(b.len());
    let extent = |dims: &[usize], axis: usize| {
        (axis + dims.len())
            .checked_sub(rank)
            .and_then(|i| dims.get(i).copied())
            .unwrap_or(1)
    };
    let common = |axis| match (extent(a, axis), extent(b, axis)) {
        (x, y) if x == y => Some(x),
        (1, y) => Some(y),
        (x, 1) => Some(x),
        _ => None,
    };
    let dims: Option<Vec<usize>> = (0..rank).map(common).collect();
    dims.ok_or_else(|| {
        Fault::unreadable(
            format!("the shapes {a:?} and {b:?} do not agree"),
            "export the model again",
        )
    })
}

/// An axis counted from the front; negative axes count from behind.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Fault> {
    let from_front = if axis < 0 {
        axis.saturating_add(rank as i64)
    } else {
        axis
    };
    usize::try_from(from_front)
        .ok()
        .filter(|&axis| axis < rank)
        .ok_or_else(|| {
            Fault::unreadable(
                format!("axis {axis} lies outside the {rank} dimensions"),
                "export the model again",
            )
        })
}

/// A range of an axis: its first index, its number of indices and their distance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub(super) start: usize,
    pub(super) count: usize,
    pub(super) step: isize,
}

/// What ONNX's `Slice` selects of an axis: negative bounds count from the end, and bounds
/// outside the axis are moved to its ends.
pub(super) fn range(extent: usize, start: i64, end: i64, step: i64) -> Result<Range, Fault> {
    let extent = extent as i64;
    let wrapped = |bound: i64| if bound < 0 { bound.saturating_add(extent) } else { bound };
    let (start, distance) = match step {
        0 => return Err(Fault::unreadable("a slice has step 0", "export the model again")),
        1.. => {
            let start = wrapped(start).clamp(0, extent);
            (start, wrapped(end).clamp(0, extent) - start)
        }
        // From the last element downwards: there may be none.
        _ if extent == 0 => (0, 0),
        _ => {
            let start = wrapped(start).clamp(0, extent - 1);
            (start, start - wrapped(end).clamp(-1, extent - 1))
        }
    };
    // Steps beyond the axis select one element, as one of the axis' extent does.
    let step = step.clamp(-extent.max(1), extent.max(1));
    let count = (distance.max(0) as u64).div_ceil(step.unsigned_abs());
    Ok(Range {
        start: start as usize,
        count: count as usize,
        step: step as isize,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(dims: &[usize]) -> Array<usize> {
        Array::new(dims.to_vec(), (0..dims.iter().product()).collect()).unwrap()
    }

    #[test]
    fn transposition_moves_the_axes() {
        let turned = numbers(&[2, 3]).transposed(&[1, 0]).unwrap();
        assert_eq!((turned.dims(), turned.data()), (&[3, 2][..], &[0, 3, 1, 4, 2, 5][..]));
        assert!(numbers(&[2]).transposed(&[1]).is_err());
    }

    #[test]
    fn broadcasts_repeat() {
        let dims = broadcast(&[2, 1], &[3]).unwrap();
        assert_eq!(dims, [2, 3]);
        assert_eq!(numbers(&[2, 1]).broadcasted(&dims).unwrap().data(), [0, 0, 0, 1, 1, 1]);
        assert_eq!(numbers(&[3]).broadcasted(&dims).unwrap().data(), [0, 1, 2, 0, 1, 2]);
        assert!(broadcast(&[2], &[3]).is_err());
    }

    #[test]
    fn ranges_are_those_of_onnx() {
        let indices = |extent, start, end, step| {
            let range = range(extent, start, end, step).unwrap();
            (0..range.count as isize)
                .map(|i| range.start as isize + i * range.step)
                .collect::<Vec<_>>()
        };
        assert_eq!(indices(5, 0, i64::MAX, 2), [0, 2, 4]);
        assert_eq!(indices(5, -2, i64::MAX, 1), [3, 4]);
        assert_eq!(indices(5, -1, i64::MIN, -1), [4, 3, 2, 1, 0]);
        assert_eq!(indices(5, 4, 0, -3), [4, 1]);
        assert_eq!(indices(5, 1, 4, i64::MAX), [1]);
        assert_eq!(indices(5, 4, 2, 1), [0isize; 0]);
        assert_eq!(indices(0, 0, 5, 1), [0isize; 0]);
        assert_eq!(indices(0, -1, i64::MIN, -1), [0isize; 0]);
        assert!(range(5, 0, 1, 0).is_err());
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(Array::new(vec![2, 2], vec![0; 3]).is_err());
        assert!(Array::new(vec![usize::MAX, 2], vec![0; 3]).is_err());
        assert!(Array::new(vec![1; 17], vec![0]).is_err());
        assert!(axis(2, 2).is_err() && axis(-3, 2).is_err());
        assert_eq!(axis(-2, 2), Ok(0));
    }
}
