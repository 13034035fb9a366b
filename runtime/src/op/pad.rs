//! Constant padding.

use secateur_format::MAX_RANK;

use super::Task;
use super::slice::Lines;
use crate::RunError;

pub(super) fn run(task: &mut Task<'_, '_>, before: &[u16; MAX_RANK], value: f32) -> Result<(), RunError> {
    let (shape, x) = task.input_data()?;
    let target = Lines::new(task.output_shape(), before.map(u32::from), [1; MAX_RANK]);
    let output = &mut *task.memory.output;
    output.fill(value);
    let source = Lines::new(shape, [0; MAX_RANK], [1; MAX_RANK]);
    for line in source.indices(shape) {
        let (Some(from), Some(to)) = (x.get(source.start(line)..), output.get_mut(target.start(line)..)) else {
            continue;
        };
        to.iter_mut().zip(from).take(source.len).for_each(|(y, x)| *y = *x);
    }
    Ok(())
}
