//! All that training changes: weights, masks, what the optimiser keeps, and how far it has come.

use std::collections::BTreeMap;

use rayon::prelude::*;
use secateur_format::TensorId;
use secateur_format::graph::{Graph, GraphError};

use super::equalize::Equalizer;
use super::interpreter::Interpreter;
use super::loss::Sums;
use super::optimizer::Optimizer;

/// The running statistics of batch norms follow those of a batch by this, as in PyTorch.
const MOMENTUM: f64 = 0.1;

/// Weights, masks and optimiser in one consistent state: what a mask prunes is exactly zero after every
/// call, in the weights and in all that the optimiser keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub(super) graph: Graph,
    /// By constant: `true` keeps a weight.
    pub(super) masks: Vec<Option<Vec<bool>>>,
    /// What the optimiser keeps of each constant.
    pub(super) slots: [Vec<Vec<f32>>; 2],
    /// Updates since the optimiser began.
    pub(super) updates: u64,
    pub(super) memory: Memory,
    /// How far the training has come.
    pub(super) position: Position,
    /// What it knows of the losses of classes.
    pub(super) equalizer: Equalizer,
}

/// What methods that prune during training keep from step to step, by name.
pub type Memory = BTreeMap<String, Vec<f32>>;

/// How far a training has come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Position {
    /// Steps done.
    pub step: u64,
    /// What was seen of the current epoch.
    pub epoch: Sums,
}

impl State {
    /// The beginning of a training: no masks, an optimiser that has seen nothing.
    ///
    /// # Errors
    /// As [`Graph::shapes`].
    pub fn new(graph: Graph) -> Result<Self, GraphError> {
        graph.shapes()?;
        let count = graph.tensors.len();
        Ok(Self {
            graph,
            masks: vec![None; count],
            slots: [vec![Vec::new(); count], vec![Vec::new(); count]],
            updates: 0,
            memory: Memory::new(),
            position: Position::default(),
            equalizer: Equalizer::default(),
        })
    }

    /// The network with its weights.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The network, out of the state.
    pub fn into_graph(self) -> Graph {
        self.graph
    }

    /// How far the training has come.
    pub fn position(&self) -> Position {
        self.position
    }

    /// What methods that prune during training keep.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// To change what they keep.
    pub fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// Updates since the optimiser began.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Lets the next training begin at its first step with a new optimiser; weights and masks stay.
    pub fn restart(&mut self) {
        self.position = Position::default();
        self.equalizer = Equalizer::default();
        self.updates = 0;
        self.memory.clear();
        self.slots.iter_mut().flatten().for_each(Vec::clear);
    }

    /// Goes on at a step, as if those before it were done; nothing if it has come further.
    pub fn skip_to(&mut self, step: u64) {
        self.position.step = self.position.step.max(step);
    }

    /// The mask of a constant: `true` keeps a weight.
    pub fn mask(&self, id: TensorId) -> Option<&[bool]> {
        self.masks.get(usize::from(id.0))?.as_deref()
    }

    /// Gives a constant a mask of as many weights, or none. Returns whether there is such a constant.
    pub fn set_mask(&mut self, id: TensorId, mask: Option<Vec<bool>>) -> bool {
        let index = usize::from(id.0);
        let len = self.graph.tensor(id).map(|tensor| tensor.data.len());
        if len.is_none() || mask.as_ref().is_some_and(|mask| Some(mask.len()) != len) {
            return false;
        }
        self.masks[index] = mask;
        self.clear_pruned(index);
        true
    }

    /// Changes the weights; those that are pruned are zero again afterwards.
    ///
    /// # Errors
    /// As [`Graph::shapes`], if `change` leaves a graph that is not valid; it is then undone. The
    /// constants must keep their sizes ([`GraphError::Structure`]).
    pub fn change_weights(&mut self, change: impl FnOnce(&mut Graph)) -> Result<(), GraphError> {
        let sizes = |graph: &Graph| graph.tensors.iter().map(|t| t.data.len()).collect::<Vec<_>>();
        let mut graph = self.graph.clone();
        change(&mut graph);
        graph.shapes()?;
        if sizes(&graph) != sizes(&self.graph) {
            return Err(GraphError::Structure);
        }
        self.graph = graph;
        (0..self.masks.len()).for_each(|index| self.clear_pruned(index));
        Ok(())
    }

    /// Changes the weights of a constant, by their places; those that are pruned are zero again afterwards.
    pub fn change_each(&mut self, id: TensorId, change: impl FnMut((usize, &mut f32))) {
        let index = usize::from(id.0);
        if let Some(tensor) = self.graph.tensors.get_mut(index) {
            tensor.data.iter_mut().enumerate().for_each(change);
            self.clear_pruned(index);
        }
    }

    fn clear_pruned(&mut self, index: usize) {
        let [first, second] = &mut self.slots;
        let values = [
            &mut self.graph.tensors[index].data,
            &mut first[index],
            &mut second[index],
        ];
        clear(self.masks[index].as_deref(), values);
    }

    /// Changes the weights by their gradients, of which those of pruned weights count as zero; if
    /// together they are longer than `clip`, they are shortened to it. Returns their length before that.
    pub fn update(&mut self, gradients: &[Vec<f32>], optimizer: &Optimizer, rate: f64, clip: Option<f64>) -> f64 {
        let length = self.length(gradients);
        let factor = match clip {
            Some(clip) if length > clip => (clip / length) as f32,
            _ => 1.0,
        };
        self.updates += 1;
        let step = self.updates;
        let [first, second] = &mut self.slots;
        let constants = self.graph.tensors.par_iter_mut().zip(&self.masks).zip(gradients);
        let constants = constants.zip(first.par_iter_mut().zip(second));
        constants.for_each(|(((tensor, mask), gradient), (first, second))| {
            for (slot, values) in [&mut *first, &mut *second].into_iter().enumerate() {
                let len = if slot < optimizer.slots() { gradient.len() } else { 0 };
                values.resize(len, 0.0);
            }
            optimizer.update(rate, step, &mut tensor.data, gradient, factor, [first, second]);
            // Sooner or later zero is the same: a pruned weight and what is kept of it began as zero.
            clear(mask.as_deref(), [&mut tensor.data, first, second]);
        });
        length
    }

    /// The Euclidean norm of all gradients, those of pruned weights left out.
    fn length(&self, gradients: &[Vec<f32>]) -> f64 {
        let squares = gradients
            .par_iter()
            .zip(&self.masks)
            .map(|(gradient, mask)| match mask {
                Some(mask) => sum_squares(gradient.iter().zip(mask).filter(|(_, keep)| **keep).map(|(g, _)| g)),
                None => sum_squares(gradient),
            });
        // Collected first, because a parallel sum has no order.
        squares.collect::<Vec<f64>>().iter().sum::<f64>().sqrt()
    }

    /// Moves the running statistics of batch norms towards those of the batch that went forward.
    pub fn update_statistics(&mut self, interpreter: &Interpreter) {
        interpreter.update_statistics(&mut self.graph, MOMENTUM);
    }

    /// The fraction of zeros among the weights of linear and convolution layers.
    pub fn sparsity(&self) -> f64 {
        sparsity(&self.graph)
    }
}

/// The fraction of zeros among the weights of linear and convolution layers.
pub fn sparsity(graph: &Graph) -> f64 {
    let (mut zeros, mut all) = (0, 0);
    let mut seen = vec![false; graph.tensors.len()];
    for id in graph.nodes.iter().filter_map(|node| node.op.weight()) {
        let index = usize::from(id.0);
        if !std::mem::replace(&mut seen[index], true) {
            let weights = &graph.tensors[index].data;
            zeros += weights.iter().filter(|&&w| w == 0.0).count();
            all += weights.len();
        }
    }
    zeros as f64 / f64::max(all as f64, 1.0)
}

fn clear(mask: Option<&[bool]>, values: [&mut Vec<f32>; 3]) {
    let Some(mask) = mask else { return };
    for values in values {
        let pruned = values.iter_mut().zip(mask).filter(|(_, keep)| !**keep);
        pruned.for_each(|(value, _)| *value = 0.0);
    }
}

fn sum_squares<'a>(values: impl IntoIterator<Item = &'a f32>) -> f64 {
    values
        .into_iter()
        .map(|&value| f64::from(value) * f64::from(value))
        .sum()
}
