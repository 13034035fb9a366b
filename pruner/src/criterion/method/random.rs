//! Random scores: the same for a seed and layer name on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::{Method, Needs, Unit};

pub(super) const METHOD: Method = Method {
    name: "random",
    aliases: &[],
    summary: "uniform in [0, 1), from the seed: the baseline every criterion must beat",
    source: "Iterative Network Pruning and the Similarity of Masks, arXiv 2001.05050",
    needs: Needs::Weights,
    settings: &[],
    unit: Unit::Sum,
    score: |subject, _| {
        Ok(subject.each_layer(|layer, weights| uniform(weights.len(), &subject.layers[layer].name, subject.seed)))
    },
};

/// Uniform numbers in [0, 1).
pub(crate) fn uniform(len: usize, layer: &str, seed: u64) -> Vec<f64> {
    // FNV-1a of the name selects the stream: layers do not depend on each other's order.
    let stream = layer.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    (0..len)
        .map(|_| (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64)
        .collect()
}
