//! Initial values of weights.

use rand_chacha::ChaCha8Rng;
use secateur_format::Op;
use secateur_format::graph::Graph;
use serde::{Deserialize, Serialize};

use super::random::{Purpose, normal, stream, unit};

/// How weights are drawn. Biases and shifts begin as 0, scales as 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// Normal, variance 2 / inputs (He et al., arXiv 1502.01852)
    #[default]
    KaimingNormal,
    /// Uniform, variance 2 / inputs
    KaimingUniform,
    /// Normal, variance 2 / (inputs + outputs) (Glorot and Bengio 2010)
    GlorotNormal,
    /// Uniform, variance 2 / (inputs + outputs)
    GlorotUniform,
}

impl Init {
    /// Draws all weights of a graph anew; running statistics begin as mean 0 and variance 1. Constant `i` has
    /// numbers of its own for a seed.
    pub fn apply(self, graph: &mut Graph, seed: u64) {
        for node in &graph.nodes {
            let fill = |values: &mut [f32], value| values.fill(value);
            if let Op::BatchNorm(bn) = &node.op {
                for (id, value) in [(bn.scale, 1.0), (bn.bias, 0.0), (bn.mean, 0.0), (bn.var, 1.0)] {
                    if let Some(tensor) = graph.tensors.get_mut(usize::from(id.0)) {
                        fill(&mut tensor.data, value);
                    }
                }
            }
            if let Some(tensor) = node.op.bias().and_then(|id| graph.tensors.get_mut(usize::from(id.0))) {
                fill(&mut tensor.data, 0.0);
            }
            let Some(id) = node.op.weight() else { continue };
            if let Some(tensor) = graph.tensors.get_mut(usize::from(id.0)) {
                let outputs = outputs(&node.op, tensor.rows);
                let mut rng = stream(seed, Purpose::Initial, 0, id.0.into());
                self.draw(f64::from(tensor.cols), outputs, &mut rng, &mut tensor.data);
            }
        }
    }

    fn draw(self, inputs: f64, outputs: f64, rng: &mut ChaCha8Rng, weights: &mut [f32]) {
        let variance = match self {
            Self::KaimingNormal | Self::KaimingUniform => 2.0 / inputs,
            Self::GlorotNormal | Self::GlorotUniform => 2.0 / (inputs + outputs),
        };
        for weight in weights {
            let unit = match self {
                Self::KaimingNormal | Self::GlorotNormal => normal(rng),
                // Uniform in ±√3 has the variance 1.
                Self::KaimingUniform | Self::GlorotUniform => 3f64.sqrt() * (2.0 * unit(rng) - 1.0),
            };
            *weight = (variance.sqrt() * unit) as f32;
        }
    }
}

/// How many outputs an input reaches: for convolutions kernel positions times the output channels of a group.
fn outputs(op: &Op, rows: u32) -> f64 {
    match op {
        Op::Conv2d(conv) => {
            let [kh, kw] = conv.kernel.map(f64::from);
            f64::from(rows / conv.groups.max(1)) * kh * kw
        }
        _ => rows.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_have_the_variance_of_their_method() {
        for (init, expected) in [
            (Init::KaimingNormal, 2.0 / 50.0),
            (Init::KaimingUniform, 2.0 / 50.0),
            (Init::GlorotNormal, 2.0 / 250.0),
            (Init::GlorotUniform, 2.0 / 250.0),
        ] {
            let mut weights = vec![0.0; 10_000];
            init.draw(50.0, 200.0, &mut stream(1, Purpose::Initial, 0, 0), &mut weights);
            let mean: f64 = weights.iter().map(|&w| f64::from(w)).sum::<f64>() / 1e4;
            let variance: f64 = weights.iter().map(|&w| (f64::from(w) - mean).powi(2)).sum::<f64>() / 1e4;
            assert!(
                mean.abs() < 0.02 && (variance / expected - 1.0).abs() < 0.05,
                "{init:?}: {mean} {variance}"
            );
        }
    }
}
