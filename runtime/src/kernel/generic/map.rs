//! Element-wise functions, in place or not.

use crate::kernel::activation::activate;
use crate::kernel::planar::{Combine, Map};
use crate::kernel::vector::Vector;

/// One vector at a time.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
pub(in crate::kernel) unsafe fn map<V: Vector>(task: &mut Map<'_>) {
    match task.combine {
        // SAFETY: the caller's.
        Combine::First => unsafe { zip::<V>(task, |a, _| a) },
        // SAFETY: as above.
        Combine::Sum => unsafe { zip::<V>(task, |a, b| a.add(b)) },
        // SAFETY: as above.
        Combine::Product => unsafe { zip::<V>(task, |a, b| a.mul(b)) },
    }
}

/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
unsafe fn zip<V: Vector>(task: &mut Map<'_>, combine: impl Fn(V, V) -> V) {
    let len = |operand: Option<&[f32]>| operand.map_or(usize::MAX, <[f32]>::len);
    let len = task.y.len().min(len(task.a)).min(len(task.b));
    let y = task.y.as_mut_ptr();
    // What an operand shares with the output is read through the pointer that writes it.
    let [a, b] = [task.a, task.b].map(|operand| operand.map_or(y.cast_const(), <[f32]>::as_ptr));
    let whole = len - len % V::LANES;
    // SAFETY: the caller's instruction set; all three have `len` numbers.
    unsafe {
        let mut i = 0;
        while i < whole {
            let result = combine(V::load(a.add(i)), V::load(b.add(i)));
            activate(task.activation, result).store(y.add(i));
            i += V::LANES;
        }
        let rest = len - whole;
        let result = combine(V::load_first(a.add(whole), rest), V::load_first(b.add(whole), rest));
        activate(task.activation, result).store_first(y.add(whole), rest);
    }
}
