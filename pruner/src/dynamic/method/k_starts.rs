//! K-starts: of some random masks that a training begins with, the fittest stays.
//!
//! Of the paper only the abstract could be read: all beyond the idea is ours.

use super::starts::{Sums, cross, fitness, mask_of, set_mask};
use super::{Dynamic, Kind, LayerMasks, Method, Patterns, Pruner, Scope, Setting, Task, Weights};
use crate::criterion::method::uniform;
use crate::layer::Layer;
use crate::prune::PruneError;
use crate::train::State;

/// So many fit the whole numbers of an f32 as bits.
const MOST: u32 = 16;

pub(super) const STARTS: Setting = Setting {
    name: "starts",
    kind: Kind::Whole(8, [2, MOST]),
    help: "Random masks to begin with (k). Steps take them in turn.",
    ours: true,
};

pub(super) const SEARCH: Setting = Setting {
    name: "search",
    kind: Kind::Whole(2, [1, 1000]),
    help: "Epochs after which one mask is left; after each of them the worse half is dropped.",
    ours: true,
};

pub(super) const FITNESS: Setting = Setting {
    name: "fitness",
    kind: Kind::Name(&["both", "weight", "gradient"]),
    help: "Of a mask: the mean of what it keeps of |w|, of |gradient| summed over an epoch, or the product of both.",
    ours: true,
};

pub(super) const FITTEST: Setting = Setting {
    name: "fittest",
    kind: Kind::Name(&["network", "layer"]),
    help: "Whether masks compete as wholes, or each layer by itself.",
    ours: true,
};

pub(super) const CHILDREN: Setting = Setting {
    name: "children",
    kind: Kind::Name(&["no", "yes"]),
    help: "Whether what is dropped is replaced by children of neighbours in rank: they keep what both keep, and else a \
           random part of what one keeps.",
    ours: true,
};

pub(super) const METHOD: Method = Method {
    name: "k-starts",
    summary: "random masks take turns in the first epochs; the one with the largest weights and gradients stays",
    source: "What to Prune and What Not to Prune at Initialization, arXiv 2209.02201",
    patterns: Patterns::Unstructured,
    scopes: &[Scope::Erk, Scope::Uniform],
    settings: &[STARTS, SEARCH, FITNESS, FITTEST, CHILDREN],
    begin: |chosen, task| Ok(Box::new(KStarts::new(chosen, task, 1.0))),
};

/// A search among random masks.
///
/// The memory has, by constant: bit i of `starts` says whether mask i keeps a weight, `alive` lists the masks that are
/// left, `gradients` sums |gradient| over an epoch. It is there as long as the search goes on.
pub(super) struct KStarts {
    task: Task,
    starts: u32,
    search: u64,
    fitness: &'static str,
    by_layer: bool,
    children: bool,
    /// Densities are those asked for to this power.
    share: f64,
}

impl KStarts {
    pub(super) fn new(chosen: &Dynamic, task: Task, share: f64) -> Self {
        Self {
            starts: chosen.whole(&STARTS) as u32,
            search: (chosen.whole(&SEARCH) as u64 * task.per_epoch).min(task.steps),
            fitness: chosen.name_of(&FITNESS),
            by_layer: chosen.name_of(&FITTEST) == "layer",
            children: chosen.name_of(&CHILDREN) == "yes",
            share,
            task,
        }
    }

    /// The step at which one mask is left.
    pub(super) fn end(&self) -> u64 {
        self.search
    }

    fn draw(&self, state: &mut State) -> Result<(), PruneError> {
        let mut starts: Vec<Vec<f32>> = Vec::new();
        for start in 0..self.starts {
            let scores = self.task.scores(state.graph(), "random", self.seed(start.into()))?;
            let masks = self.task.select_part(scores, self.share);
            starts.resize_with(masks.len(), Vec::new);
            for (bits, mask) in starts.iter_mut().zip(&masks) {
                bits.resize(mask.len(), 0.0);
                set_mask(bits, start, mask);
            }
        }
        for (layer, bits) in self.task.layers().iter().zip(starts) {
            let memory = state.memory_mut();
            memory.insert(key("gradients", layer), vec![0.0; bits.len()]);
            memory.insert(key("starts", layer), bits);
            memory.insert(
                key("alive", layer),
                (0..self.starts).map(|start| start as f32).collect(),
            );
        }
        Ok(())
    }

    /// Of draws that have nothing to do with each other.
    fn seed(&self, draw: u64) -> u64 {
        self.task.seed.wrapping_add((draw + 1) << 32)
    }

    /// Ranks the masks that are left, and drops the worse half, or all but the best.
    fn judge(&self, state: &mut State, last: bool) {
        let mut sums: Vec<Vec<Sums>> = self.task.layers().iter().map(|layer| sums(state, layer)).collect();
        if !self.by_layer {
            let layers = std::mem::take(&mut sums);
            let starts = layers.first().map_or(0, Vec::len);
            let whole =
                (0..starts).map(|start| layers.iter().map(|layer| layer[start]).fold(Sums::default(), Sums::add));
            sums = vec![whole.collect(); layers.len()];
        }
        for (layer, sums) in self.task.layers().iter().zip(sums) {
            let fitness = fitness(self.fitness, &sums);
            let alive = recall(state, "alive", layer);
            let mut ranks: Vec<usize> = (0..alive.len()).collect();
            ranks.sort_by(|&a, &b| fitness[b].total_cmp(&fitness[a]));
            let ranked: Vec<f32> = ranks.into_iter().map(|rank| alive[rank]).collect();
            if last {
                let best = ranked.first().map_or(0, |&best| best as u32);
                let mask = mask_of(recall(state, "starts", layer), best);
                state.set_mask(layer.tensor, Some(mask));
                for part in ["gradients", "starts", "alive"] {
                    state.memory_mut().remove(&key(part, layer));
                }
                continue;
            }
            let (survivors, dropped) = ranked.split_at(ranked.len().div_ceil(2));
            let alive = match self.children {
                true => {
                    let mut bits = recall(state, "starts", layer).to_vec();
                    for (rank, &child) in dropped.iter().enumerate() {
                        let parents = [survivors[rank], survivors[(rank + 1) % survivors.len()]];
                        let [a, b] = parents.map(|parent| mask_of(&bits, parent as u32));
                        let draw = (state.position().step << 8) + rank as u64;
                        let order = uniform(layer.weights(), &layer.name, self.seed(draw));
                        set_mask(&mut bits, child as u32, &cross(&a, &b, &order));
                    }
                    state.memory_mut().insert(key("starts", layer), bits);
                    ranked.clone()
                }
                false => survivors.to_vec(),
            };
            let memory = state.memory_mut();
            memory.insert(key("alive", layer), alive);
            memory.insert(key("gradients", layer), vec![0.0; layer.weights()]);
        }
    }

    /// The mask of a layer in a step; none after the search.
    fn active(&self, state: &State, layer: &Layer, step: u64) -> Option<Vec<bool>> {
        let alive = state.memory().get(&key("alive", layer))?;
        let start = alive.get((step % alive.len().max(1) as u64) as usize)?;
        Some(mask_of(recall(state, "starts", layer), *start as u32))
    }
}

impl Pruner for KStarts {
    fn before_step(&mut self, state: &mut State, step: u64) -> Result<(), PruneError> {
        if step == 0 {
            self.draw(state)?;
        } else if step <= self.search && (step.is_multiple_of(self.task.per_epoch) || step == self.search) {
            self.judge(state, step == self.search);
        }
        Ok(())
    }

    fn effective(&mut self, state: &State, step: u64) -> Result<Weights, PruneError> {
        let layers = self.task.layers().iter();
        let masks: Option<LayerMasks> = layers.map(|layer| self.active(state, layer, step)).collect();
        Ok(masks.map_or_else(Weights::new, |masks| self.task.masked(state.graph(), &masks, 0.0)))
    }

    fn gradients(&mut self, state: &mut State, step: u64, gradients: &mut [Vec<f32>]) -> Result<bool, PruneError> {
        for layer in self.task.layers() {
            let Some(mask) = self.active(state, layer, step) else {
                continue;
            };
            let gradients = &mut gradients[usize::from(layer.tensor.0)];
            gradients
                .iter_mut()
                .zip(mask)
                .filter(|(_, keep)| !keep)
                .for_each(|(g, _)| *g = 0.0);
            if let Some(sums) = state.memory_mut().get_mut(&key("gradients", layer)) {
                sums.iter_mut().zip(gradients).for_each(|(sum, g)| *sum += g.abs());
            }
        }
        Ok(true)
    }

    fn finish(&mut self, state: &mut State) -> Result<(), PruneError> {
        // A search to the very end has its last judgement here.
        self.before_step(state, self.task.steps)
    }
}

/// The sums of the masks that are left.
fn sums(state: &State, layer: &Layer) -> Vec<Sums> {
    let weights = state
        .graph()
        .tensor(layer.tensor)
        .map_or(&[][..], |tensor| &tensor.data);
    let gradients = recall(state, "gradients", layer);
    let of = |&start: &f32| {
        let mask = mask_of(recall(state, "starts", layer), start as u32);
        let pairs = weights.iter().zip(gradients).zip(mask).filter(|(_, keep)| *keep);
        pairs.fold(Sums::default(), |sums, ((w, g), _)| {
            sums.add(Sums {
                kept: 1,
                weights: w.abs().into(),
                gradients: f64::from(*g),
            })
        })
    };
    recall(state, "alive", layer).iter().map(of).collect()
}

fn key(part: &str, layer: &Layer) -> String {
    format!("{part}.{}", layer.tensor.0)
}

fn recall<'s>(state: &'s State, part: &str, layer: &Layer) -> &'s [f32] {
    state.memory().get(&key(part, layer)).map_or(&[], Vec::as_slice)
}
