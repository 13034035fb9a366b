//! Whether the zeros of a convolution make up whole filters, input channels or kernels, more than chance does.

use crate::layer::Layer;

/// Units of one kind, and how many of them have no weight left.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Units {
    /// All of them.
    pub count: usize,
    /// Entirely zero.
    pub zero: usize,
    /// How many would be if zeros fell anywhere: `count · sᵏ`, s the sparsity of the layer and k the weights of a unit.
    pub expected: f64,
}

impl Units {
    fn of(left: &[bool], size: usize, sparsity: f64) -> Self {
        Self {
            count: left.len(),
            zero: left.iter().filter(|&&left| !left).count(),
            expected: left.len() as f64 * sparsity.powf(size as f64),
        }
    }

    /// Adds those of another layer.
    pub fn add(&mut self, other: Self) {
        self.count += other.count;
        self.zero += other.zero;
        self.expected += other.expected;
    }

    /// The share that is entirely zero.
    pub fn share(&self) -> f64 {
        self.zero as f64 / self.count.max(1) as f64
    }

    /// What [`share`](Self::share) would be by chance.
    pub fn chance(&self) -> f64 {
        self.expected / self.count.max(1) as f64
    }
}

/// The units of convolutions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Structure {
    /// All weights of an output channel.
    pub filters: Units,
    /// All weights of an input channel.
    pub inputs: Units,
    /// The weights of an output channel for an input channel: 2-D kernels.
    pub kernels: Units,
}

impl Structure {
    /// Each kind with its name.
    pub fn kinds(&self) -> [(&'static str, Units); 3] {
        [
            ("filters", self.filters),
            ("inputs", self.inputs),
            ("kernels", self.kernels),
        ]
    }

    /// Adds that of another layer.
    pub fn add(&mut self, other: &Self) {
        self.filters.add(other.filters);
        self.inputs.add(other.inputs);
        self.kernels.add(other.kernels);
    }
}

/// The units of a layer that `kept` (`[rows, cols]`, `true` keeps a weight) leaves no weight of (arXiv 2001.05050; what
/// is counted, and chance, are ours).
pub fn structure(layer: &Layer, kept: &[bool]) -> Structure {
    let [cols, channels, group_rows] = [layer.cols, layer.channels, layer.group_rows].map(|n| n.max(1) as usize);
    let rows = layer.rows as usize;
    let (mut filters, mut inputs, mut kernels) = (
        vec![false; rows],
        vec![false; layer.groups() * channels],
        vec![false; rows * channels],
    );
    let left = kept.iter().enumerate().filter(|(_, kept)| **kept);
    for (index, _) in left {
        // Columns are ordered (ky, kx, ci).
        let (row, channel) = (index / cols, index % cols % channels);
        filters[row] = true;
        inputs[row / group_rows * channels + channel] = true;
        kernels[row * channels + channel] = true;
    }
    let zeros = kept.iter().filter(|kept| !**kept).count();
    let sparsity = zeros as f64 / kept.len().max(1) as f64;
    let positions = cols / channels;
    Structure {
        filters: Units::of(&filters, cols, sparsity),
        inputs: Units::of(&inputs, group_rows * positions, sparsity),
        kernels: Units::of(&kernels, positions, sparsity),
    }
}

#[cfg(test)]
mod tests {
    use secateur_format::TensorId;

    use super::*;

    /// `groups` groups of 2 filters over 3 channels, kernels of 4 positions.
    fn layer(groups: u32) -> Layer {
        Layer {
            name: "c".into(),
            op: "Conv2d",
            tensor: TensorId(0),
            rows: 2 * groups,
            cols: 12,
            group_rows: 2,
            channels: 3,
            extents: 0,
        }
    }

    #[test]
    fn units_without_a_weight_are_counted() {
        // Filter 0 keeps position 2 of channel 1; filter 1 keeps nothing.
        let mut kept = vec![false; 24];
        kept[2 * 3 + 1] = true;
        let found = structure(&layer(1), &kept);
        assert_eq!((found.filters.count, found.filters.zero), (2, 1));
        assert_eq!((found.inputs.count, found.inputs.zero), (3, 2));
        assert_eq!((found.kernels.count, found.kernels.zero), (6, 5));
        // The same channel in another group is another one.
        let mut two = kept.clone();
        two.extend([true; 24]);
        let found = structure(&layer(2), &two);
        assert_eq!((found.inputs.count, found.inputs.zero), (6, 2));
    }

    /// algorithms.md 5.1
    #[test]
    fn chance_is_the_sparsity_to_the_power_of_the_weights() {
        for (size, expected) in [(27, 0.058_150), (9, 0.387_420)] {
            let found = Units::of(&[true; 10], size, 0.9).chance();
            assert!((found - expected).abs() < 1e-6, "{found}");
        }
        let mut sum = Units::of(&[true, false], 1, 0.5);
        sum.add(Units::of(&[false; 2], 1, 1.0));
        assert_eq!((sum.share(), sum.chance()), (0.75, 0.75));
    }
}
