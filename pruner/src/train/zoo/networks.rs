//! The networks.

use secateur_format::{Activation, MAX_RANK, Op, ShapeError, ValueId};

use super::builder::{Builder, Conv};

type Built = Result<(), ShapeError>;

pub(super) fn lenet_300_100(b: &mut Builder, classes: u32) -> Built {
    if b.shape().rank() > 1 {
        b.flatten("flatten")?;
    }
    b.linear("fc1", 300)?;
    b.relu("relu1")?;
    b.linear("fc2", 100)?;
    b.relu("relu2")?;
    b.linear("fc3", classes)?;
    Ok(())
}

pub(super) fn lenet_5(b: &mut Builder, classes: u32) -> Built {
    for (index, filters) in [(1, 20), (2, 50)] {
        let valid = Conv {
            pads: [0; 4],
            ..Conv::square(filters, 5, 1)
        };
        b.conv(&format!("conv{index}"), valid, true)?;
        b.max_pool(&format!("pool{index}"))?;
    }
    b.flatten("flatten")?;
    b.linear("fc1", 500)?;
    b.relu("relu")?;
    b.linear("fc2", classes)?;
    Ok(())
}

pub(super) fn vgg_small(b: &mut Builder, classes: u32) -> Built {
    for (stage, filters) in [(1, 32), (2, 64), (3, 128)] {
        for layer in 1..=2 {
            b.conv_block("", &format!("{stage}_{layer}"), Conv::square(filters, 3, 1))?;
        }
        b.max_pool(&format!("pool{stage}"))?;
    }
    b.push("mean", Op::GlobalAvgPool)?;
    b.linear("fc", classes)?;
    Ok(())
}

/// Three stages of `blocks` residual blocks of 16, 32 and 64 channels; shortcuts without weights.
pub(super) fn resnet(b: &mut Builder, blocks: u32, classes: u32) -> Built {
    b.conv_block("", "1", Conv::square(16, 3, 1))?;
    for (stage, filters) in [(1, 16), (2, 32), (3, 64)] {
        for block in 0..blocks {
            let name = format!("layer{stage}.{block}.");
            let stride = if stage > 1 && block == 0 { 2 } else { 1 };
            let before = b.last();
            b.conv_block(&name, "1", Conv::square(filters, 3, stride))?;
            b.conv(&format!("{name}conv2"), Conv::square(filters, 3, 1), false)?;
            let body = b.batch_norm(&format!("{name}bn2"))?;
            let shortcut = match stride {
                1 => before,
                _ => shortcut(b, &name, before)?,
            };
            b.join(&format!("{name}add"), Op::Add(Activation::Relu), &[body, shortcut])?;
        }
    }
    b.push("mean", Op::GlobalAvgPool)?;
    b.linear("linear", classes)?;
    Ok(())
}

/// Every second pixel, and zeros for the channels that are new (option A of arXiv 1512.03385).
fn shortcut(b: &mut Builder, name: &str, before: ValueId) -> Result<ValueId, ShapeError> {
    let filters = b.channels();
    let end = b.shape_of(before).padded_dims();
    let channels = end[0];
    let slice = Op::Slice {
        start: [0; MAX_RANK],
        end,
        step: [1, 2, 2, 1],
    };
    b.join(&format!("{name}shortcut.slice"), slice, &[before])?;
    let missing = filters - channels;
    let sides = |count: u32| {
        let mut pads = [0; MAX_RANK];
        pads[0] = count as u16;
        pads
    };
    let pad = Op::Pad {
        before: sides(missing / 2),
        after: sides(missing - missing / 2),
        value: 0.0,
    };
    b.push(&format!("{name}shortcut.pad"), pad)
}

/// A depthwise convolution and one of 1 x 1.
fn separable(b: &mut Builder, index: u32, filters: u32, stride: u16) -> Built {
    let channels = b.channels();
    let depthwise = Conv {
        groups: channels,
        ..Conv::square(channels, 3, stride)
    };
    b.conv_block("", &format!("{index}.depthwise"), depthwise)?;
    b.conv_block("", &format!("{index}.pointwise"), Conv::square(filters, 1, 1))?;
    Ok(())
}

pub(super) fn ds_cnn(b: &mut Builder, classes: u32) -> Built {
    // "Same" for an even kernel: one more behind than before.
    let first = Conv {
        filters: 64,
        kernel: [10, 4],
        stride: 2,
        pads: [4, 1, 5, 2],
        groups: 1,
    };
    b.conv_block("", "0", first)?;
    for index in 1..=4 {
        separable(b, index, 64, 1)?;
    }
    b.push("mean", Op::GlobalAvgPool)?;
    b.linear("fc", classes)?;
    Ok(())
}

pub(super) fn mobilenet_v1(b: &mut Builder, classes: u32) -> Built {
    b.conv_block("", "0", Conv::square(8, 3, 2))?;
    let blocks = [
        (16, 1),
        (32, 2),
        (32, 1),
        (64, 2),
        (64, 1),
        (128, 2),
        (128, 1),
        (128, 1),
        (128, 1),
        (128, 1),
        (128, 1),
        (256, 2),
        (256, 1),
    ];
    for (index, (filters, stride)) in (1..).zip(blocks) {
        separable(b, index, filters, stride)?;
    }
    b.push("mean", Op::GlobalAvgPool)?;
    b.linear("fc", classes)?;
    Ok(())
}
