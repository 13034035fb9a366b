//! Rows side by side, a lane each: see [`crate::kernel::slices`].

use core::marker::PhantomData;

use secateur_format::encoding::Value;

#[cfg(target_arch = "x86_64")]
use super::Near;
use super::ahead::Ahead;
use super::{Decode, FAR_BYTES};
use crate::kernel::Spmv;
#[cfg(target_arch = "x86_64")]
use crate::kernel::slices::Packed;
use crate::kernel::slices::{Column, GROUP, NARROW, Slices};
use crate::kernel::vector::MOST_LANES;

/// How far ahead memory is asked for: not so far that what comes displaces the sums of a group.
const AHEAD: usize = 8192;
/// Of the rows of slices, which are a few per cent of the bytes.
const ORDER_AHEAD: usize = 1024;

/// Columns that inputs are fetched by.
pub(in crate::kernel) trait Fetch<V>: Column {
    /// The inputs of as many columns as `V` has lanes.
    ///
    /// # Safety
    /// The CPU must have the instruction set of `V`. There are as many columns, all inside `x`, or those of a step in a
    /// narrow window with another one behind them, and `x` has [`NARROW`] inputs or more.
    unsafe fn fetch(x: *const f32, columns: *const Self) -> V;
}

impl<V: Decode> Fetch<V> for u16 {
    #[inline(always)]
    unsafe fn fetch(x: *const f32, columns: *const Self) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::inputs::<1, 1>(x, columns) }
    }
}

#[cfg(target_arch = "x86_64")]
impl<V: Near> Fetch<V> for u8 {
    #[inline(always)]
    unsafe fn fetch(x: *const f32, columns: *const Self) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::near(x, V::bytes(columns)) }
    }
}

#[cfg(target_arch = "x86_64")]
impl<V: Near> Fetch<V> for Packed {
    #[inline(always)]
    unsafe fn fetch(x: *const f32, columns: *const Self) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::near(x, V::packed(columns)) }
    }
}

/// With one window.
///
/// # Safety
/// The CPU must have the instruction set of `V`.
#[inline(always)]
pub(in crate::kernel) unsafe fn spmv_slices<V: Decode, T: Value>(
    slices: &Slices,
    task: &mut Spmv<'_>,
    _: PhantomData<T>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match slices.bytes() > FAR_BYTES {
            true => spmv::<V, T, u16, true>(slices, task),
            false => spmv::<V, T, u16, false>(slices, task),
        }
    }
}

/// With narrow windows.
///
/// # Safety
/// The CPU must have the instruction set of `V`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(in crate::kernel) unsafe fn spmv_narrow<V: Near, T: Value>(
    slices: &Slices,
    task: &mut Spmv<'_>,
    _: PhantomData<T>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        spmv::<V, T, u8, false>(slices, task);
        spmv::<V, T, Packed, true>(slices, task);
    }
}

/// The sums of a row are in the order of its entries. Slices that store their columns in another form are left alone.
///
/// # Safety
/// The CPU must have the instruction set of `V`.
#[inline(always)]
unsafe fn spmv<V: Decode, T: Value, C: Fetch<V>, const FAR: bool>(slices: &Slices, task: &mut Spmv<'_>) {
    let (Some(values), Some(columns)) = (slices.values::<T>(), C::of(slices)) else {
        return;
    };
    let (rows, cols) = (slices.rows(), slices.cols());
    let (Some(x), Some(sums)) = (task.x.get(..cols), task.y.get_mut(..rows)) else {
        return;
    };
    if slices.lanes() != V::LANES {
        return;
    }
    sums.fill(0.0);
    let mut stream = Stream {
        values: values.as_ptr(),
        columns: columns.as_ptr(),
        order: slices.order.as_ptr(),
        steps: slices.steps.as_ptr(),
    };
    // SAFETY: the caller's promise. `Slices::new`, of which there is no other source, has a slice for each that is
    // read here, rows inside the group and columns inside the window.
    unsafe {
        for sums in sums.chunks_mut(GROUP) {
            for x in x.chunks(slices.window) {
                let mut last = [0.0; NARROW];
                let x = match last.get_mut(..x.len()) {
                    Some(last) if x.len() < slices.window => {
                        last.copy_from_slice(x);
                        last.as_ptr()
                    }
                    _ => x.as_ptr(),
                };
                for slice in (0..sums.len()).step_by(V::LANES) {
                    let rows = V::LANES.min(sums.len() - slice);
                    stream.multiply::<V, FAR>(x, sums.as_mut_ptr(), rows);
                }
            }
        }
        let mut row = 0;
        while row + V::LANES <= rows {
            let sum = V::load(task.y.as_ptr().add(row));
            task.finish_vector(row, sum);
            row += V::LANES;
        }
        for row in row..rows {
            let sum = *task.y.as_ptr().add(row);
            task.finish(row, &[sum]);
        }
    }
}

/// What comes next of [`Slices`].
struct Stream<T, C> {
    values: *const T,
    columns: *const C,
    order: *const u16,
    steps: *const u16,
}

impl<T: Value, C: Column> Stream<T, C> {
    /// Adds the next slice, of `rows` rows, to the sums of its group.
    ///
    /// # Safety
    /// The CPU must have the instruction set of `V`. There is such a slice: as many of everything as its steps say, a step of
    /// columns behind the last one, and indices inside `x` and `sums`.
    #[inline(always)]
    unsafe fn multiply<V: Decode, const FAR: bool>(&mut self, x: *const f32, sums: *mut f32, rows: usize)
    where
        C: Fetch<V>,
    {
        // SAFETY: the caller's promise.
        unsafe {
            let (whole, part) = (usize::from(*self.steps), usize::from(*self.steps.add(1)));
            let counts = self.steps.add(2);
            let order = self.order;
            self.steps = counts.add(part);
            self.order = order.add(V::LANES);
            if FAR {
                let columns = (whole + part) * C::of_step(V::LANES) * size_of::<C>();
                Ahead::from(self.columns, AHEAD / size_of::<T>()).pass::<V>(columns);
                Ahead::from(order, ORDER_AHEAD).pass::<V>(V::LANES * size_of::<u16>());
            }
            if whole + part == 0 {
                return;
            }
            let mut sum = V::inputs::<1, 1>(sums, order);
            for _ in 0..whole {
                if FAR {
                    // Not for the whole slice at once: processors take only so many requests.
                    Ahead::from(self.values, AHEAD).pass::<V>(V::LANES * size_of::<T>());
                }
                sum = V::widen(self.values).mul_add(C::fetch(x, self.columns), sum);
                self.pass(V::LANES);
            }
            for step in 0..part {
                let count = usize::from(*counts.add(step));
                if FAR {
                    Ahead::from(self.values, AHEAD).pass::<V>(count * size_of::<T>());
                }
                // Not even zero times an input that may be infinite.
                let inputs = C::fetch(x, self.columns).keep_first(count);
                sum = V::widen_first(self.values, count).mul_add(inputs, sum);
                self.pass(count);
            }
            let mut lanes = [0.0; MOST_LANES];
            sum.store(lanes.as_mut_ptr());
            let put = |rows: usize| {
                for (i, lane) in lanes.iter().enumerate().take(rows) {
                    *sums.add(usize::from(*order.add(i))) = *lane;
                }
            };
            // The usual case as straight code.
            match rows == V::LANES {
                true => put(V::LANES),
                false => put(rows),
            }
        }
    }

    /// # Safety
    /// There are as many entries.
    #[inline(always)]
    unsafe fn pass(&mut self, entries: usize) {
        // SAFETY: the caller's promise.
        unsafe { (self.values, self.columns) = (self.values.add(entries), self.columns.add(C::of_step(entries))) }
    }
}
