//! RIA: weights relative to the others of their row and of their column, by the length of their inputs.

use super::{Kind, Method, Needs, Setting, Unit};

const ALPHA: Setting = Setting {
    name: "alpha",
    kind: Kind::Real(0.5, [0.0, 2.0]),
    help: "The power of the inputs' length; 0 leaves the inputs out.",
    ours: false,
};

pub(super) const METHOD: Method = Method {
    name: "ria",
    aliases: &[],
    summary: "(|w| / Σ column + |w| / Σ row) · ‖X_j‖₂^alpha",
    source: "Plug-and-Play: An Efficient Post-Training Pruning Method for LLMs, ICLR 2024",
    needs: Needs::Inputs,
    settings: &[ALPHA],
    unit: Unit::Sum,
    score: |subject, criterion| {
        let alpha = criterion.real(&ALPHA);
        let norms = subject.column_norms(criterion)?;
        Ok(subject.each_layer(|index, weights| {
            let layer = &subject.layers[index];
            // A group of a convolution is a matrix of its own.
            let groups = weights.chunks((layer.group_rows * layer.cols) as usize);
            let scored = groups.zip(&norms[index]).flat_map(|(weights, norms)| {
                let relative = relative(weights, norms.len());
                let lengths = norms.iter().cycle();
                let scores = relative.into_iter().zip(lengths);
                scores
                    .map(|(relative, norm)| relative * norm.powf(alpha))
                    .collect::<Vec<_>>()
            });
            scored.collect()
        }))
    },
};

/// |w| as a share of its column and of its row, both together; 0 where they are all zero.
fn relative(weights: &[f32], cols: usize) -> Vec<f64> {
    let size = |w: &f32| f64::from(w.abs());
    let mut columns = vec![0.0; cols];
    for row in weights.chunks(cols) {
        columns.iter_mut().zip(row).for_each(|(sum, w)| *sum += size(w));
    }
    let share = |w: f64, sum: f64| if sum > 0.0 { w / sum } else { 0.0 };
    let shares = weights.chunks(cols).flat_map(|weights| {
        let row: f64 = weights.iter().map(size).sum();
        let pairs = weights.iter().map(size).zip(&columns);
        pairs
            .map(move |(w, &column)| share(w, column) + share(w, row))
            .collect::<Vec<_>>()
    });
    shares.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_those_of_the_worked_example() {
        // algorithms.md 6.13.
        let found = relative(&[0.5, -0.1, 0.3, -0.2, 0.4, -0.6], 3);
        let expected = [1.269_841, 0.311_111, 0.666_667, 0.452_381, 1.133_333, 1.166_667];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
        }
        assert_eq!(relative(&[0.0; 4], 2), [0.0; 4]);
    }
}
