//! What a method is given: what to prune, and the training it happens in.

use secateur_format::graph::Graph;

use super::Weights;
use crate::criterion::{Criterion, Scores, Subject, Unit};
use crate::layer::Layer;
use crate::mask::Pattern;
use crate::prune::{PruneError, Quotas};
use crate::train::{Optimizer, State};

/// Masks by layer of a [`Task`]: `true` keeps a weight.
pub type LayerMasks = Vec<Vec<bool>>;

/// What is to be pruned, and the training it happens in.
#[derive(Clone)]
pub struct Task {
    /// How much of which layers.
    pub quotas: Quotas,
    /// What is pruned together, where it fits.
    pub pattern: Pattern,
    /// Steps of the training.
    pub steps: u64,
    /// Steps of an epoch.
    pub per_epoch: u64,
    /// The optimiser of the weights.
    pub optimizer: Optimizer,
    /// Of what is random.
    pub seed: u64,
}

impl Task {
    /// The layers that are pruned; masks and scores have a vector for each.
    pub fn layers(&self) -> &[Layer] {
        self.quotas.layers()
    }

    /// The step that is so far into the training, from 0 to 1.
    pub fn step_at(&self, share: f64) -> u64 {
        (share * self.steps as f64).round() as u64
    }

    /// How many weights stay, of all that are in the layers.
    pub fn kept(&self) -> [usize; 2] {
        // Scores do not matter to that.
        let none = self.layers().iter().map(|layer| vec![0.0; layer.weights()]).collect();
        let all = self.select(none).into_iter().flatten();
        all.fold([0; 2], |[kept, all], keep| [kept + usize::from(keep), all + 1])
    }

    /// The weights of a layer.
    pub fn weights<'g>(&self, graph: &'g Graph, layer: &Layer) -> &'g [f32] {
        graph.tensor(layer.tensor).map_or(&[], |tensor| &tensor.data)
    }

    /// Masks that keep the largest weights.
    ///
    /// # Errors
    /// As [`Criterion::scores`].
    pub fn largest(&self, graph: &Graph) -> Result<LayerMasks, PruneError> {
        Ok(self.select(self.scores(graph, "magnitude", 0)?))
    }

    /// The scores of a criterion that needs no samples; `seed` is that of random ones.
    ///
    /// # Errors
    /// As [`Criterion::scores`].
    pub fn scores(&self, graph: &Graph, criterion: &str, seed: u64) -> Result<Scores, PruneError> {
        let subject = Subject {
            graph,
            layers: self.layers(),
            calibration: None,
            seed,
        };
        let criterion = Criterion::named(criterion).unwrap_or_default();
        Ok(criterion.scores(&subject)?)
    }

    /// Masks that keep the highest scores.
    pub fn select(&self, scores: Scores) -> LayerMasks {
        self.select_part(scores, 1.0)
    }

    /// So, to the densities asked for to the power of `share`.
    pub fn select_part(&self, scores: Scores, share: f64) -> LayerMasks {
        self.quotas.select(scores, Unit::Sum, share).0
    }

    /// Gives the layers masks.
    pub fn set_masks(&self, state: &mut State, masks: LayerMasks) {
        for (layer, mask) in self.layers().iter().zip(masks) {
            state.set_mask(layer.tensor, Some(mask));
        }
    }

    /// Prunes all but the largest weights.
    ///
    /// # Errors
    /// As [`Criterion::scores`].
    pub fn keep_largest(&self, state: &mut State) -> Result<(), PruneError> {
        let masks = self.largest(state.graph())?;
        self.set_masks(state, masks);
        Ok(())
    }

    /// The weights, of which those that masks prune have a factor.
    pub fn masked(&self, graph: &Graph, masks: &LayerMasks, factor: f32) -> Weights {
        let layers = self.layers().iter().zip(masks);
        let masked = layers.map(|(layer, mask)| {
            let weights = self.weights(graph, layer).iter().zip(mask);
            let weights = weights.map(|(&w, &keep)| if keep { w } else { factor * w });
            (layer.tensor, weights.collect())
        });
        masked.collect()
    }

    /// The same with other patterns.
    pub fn with_patterns(&self, pattern: impl Fn(&Layer, Pattern) -> Pattern) -> Self {
        Self {
            quotas: self.quotas.with_patterns(pattern),
            ..self.clone()
        }
    }
}
