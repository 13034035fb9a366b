//! The order of a sample's axes.

/// Turns samples `[..., C]` into `[C, ...]`; those of rank below 3 have no axis for channels.
pub(super) fn move_channels_first(values: &mut [f32], sample_shape: &mut [usize]) {
    let &mut [_, _, .., channels] = sample_shape else {
        return;
    };
    sample_shape.rotate_right(1);
    let features = sample_shape.iter().product::<usize>();
    if channels < 2 || features == 0 {
        return;
    }
    let mut sample = vec![0.0; features];
    for values in values.chunks_exact_mut(features) {
        sample.copy_from_slice(values);
        for (channel, plane) in values.chunks_exact_mut(features / channels).enumerate() {
            let stored = sample.iter().skip(channel).step_by(channels);
            plane.iter_mut().zip(stored).for_each(|(to, &from)| *to = from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_channel_moves_without_reordering() {
        let (mut values, mut shape) = ([1.0, 2.0, 3.0, 4.0], [2, 2, 1]);
        move_channels_first(&mut values, &mut shape);
        assert_eq!((values, shape), ([1.0, 2.0, 3.0, 4.0], [1, 2, 2]));
        let mut flat = [4];
        move_channels_first(&mut values, &mut flat);
        assert_eq!(flat, [4]);
    }

    #[test]
    fn channels_become_planes() {
        let mut values = [1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0];
        let mut shape = [1, 2, 2];
        move_channels_first(&mut values, &mut shape);
        assert_eq!(values, [1.0, 2.0, 10.0, 20.0, 3.0, 4.0, 30.0, 40.0]);
        assert_eq!(shape, [2, 1, 2]);
    }
}
