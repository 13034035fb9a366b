//! Prepared models: weights repacked for the machine at hand, residual
//! additions fused into the products before them, and threads.
//!
//! ```no_run
//! # #[cfg(feature = "std")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use secateur_runtime::prepared::{Options, Prepared};
//! use secateur_runtime::{ArenaBuf, Limits, ModelFile, Session};
//!
//! let file = ModelFile::read("m.sct".as_ref())?;
//! let model = file.model(&Limits::HOST)?;
//! let mut arena = ArenaBuf::for_model(&model);
//! let prepared = Prepared::new(&model, &Options::default())?;
//! let mut session = Session::with_prepared(&model, arena.as_mut(), prepared)?;
//! session.run()?;
//! # Ok(()) }
//! # #[cfg(not(feature = "std"))]
//! # fn main() {}
//! ```
#![allow(unsafe_code)]

#[cfg(feature = "parallel")]
mod awake;
#[cfg(feature = "std")]
mod calibrate;
mod columns;
mod cost;
mod depthwise;
mod fuse;
mod layer;
mod product;
mod select;
mod threads;
mod tuning;
mod vector;
mod vector_weights;

pub use crate::kernel::panel::Residual;
pub use columns::Lines;
pub use cost::{Costs, Machine, TERMS};
pub use layer::{Input, Layer, Tiling};
pub use product::{Problem, Product};
pub use select::{Candidate, Choice, Options, Task, shortlist};
pub use threads::Threads;
#[cfg(feature = "std")]
pub use tuning::cpu_name;
pub use vector::{VectorCandidate, VectorLayer, VectorTask};
pub use vector_weights::VectorWeights;

use alloc::boxed::Box;
#[cfg(feature = "std")]
use alloc::string::ToString;
use alloc::vec::Vec;

#[cfg(feature = "std")]
use secateur_format::container::writer::{Tuned, Tuning};
use secateur_format::{Model, Node};

use depthwise::Depthwise;

use crate::RunError;
use crate::kernel::Kernel;

/// What a prepared model does at a node.
#[derive(Debug)]
enum Step {
    /// What a session without preparation does.
    InPlace,
    /// A product with repacked weights.
    Product(Box<Product>),
    /// A product with one column.
    Vector(VectorLayer),
    /// A depthwise convolution.
    Depthwise(Box<Depthwise>),
    /// Nothing: the product before has done it.
    Fused,
}

/// A model's weights, repacked.
#[derive(Debug)]
pub struct Prepared {
    kernels: &'static [Kernel],
    steps: Vec<Step>,
    threads: Threads,
}

impl Prepared {
    /// Prepares all layers of `model`.
    ///
    /// # Errors
    /// [`RunError::Internal`]: none for a model that was read.
    pub fn new(model: &Model<'_>, options: &Options) -> Result<Self, RunError> {
        let mut threads = Threads::new(options.threads);
        let mut steps: Vec<Step> = Vec::new();
        let nodes: Vec<Node<'_>> = model.nodes().collect();
        let tuned = tuning::of(model, options);
        let tuned = |index| tuned.iter().find(|tuned| usize::from(tuned.node) == index);
        for (i, node) in nodes.iter().enumerate() {
            let fused = matches!(steps.last(), Some(Step::Product(before)) if before.fuses(node));
            steps.push(match fused {
                true => Step::Fused,
                false => {
                    let addition = nodes.get(i + 1).and_then(|next| fuse::addition(model, node, next));
                    let problem = Problem::new(model, node)?;
                    let product =
                        problem.and_then(|problem| Product::new(problem, addition, options, tuned(i), &mut threads));
                    let depthwise =
                        || Depthwise::new(model, node, options.kernels).map(|conv| Step::Depthwise(Box::new(conv)));
                    product
                        .map(|product| Step::Product(Box::new(product)))
                        .or_else(depthwise)
                        .or_else(|| {
                            let layer = VectorTask::new(model, node)?.best(options, tuned(i), &mut threads);
                            layer.map(Step::Vector)
                        })
                        .unwrap_or(Step::InPlace)
                }
            });
        }
        threads.rest();
        Ok(Self {
            kernels: options.kernels,
            steps,
            threads,
        })
    }

    /// The kernels that nodes run with in place.
    pub(crate) fn kernels(&self) -> &'static [Kernel] {
        self.kernels
    }

    /// The product that runs a node; `None` if it runs as in a session without preparation.
    pub fn product(&self, node: usize) -> Option<&Product> {
        match self.steps.get(node)? {
            Step::Product(product) => Some(product),
            _ => None,
        }
    }

    /// Whether the product before a node does what the node would do.
    pub fn fused(&self, node: usize) -> bool {
        matches!(self.steps.get(node), Some(Step::Fused))
    }

    /// The kernels and tilings that were chosen, for a file that this machine shall run.
    #[cfg(feature = "std")]
    pub fn tuning(&self) -> Tuning {
        let nodes = self.steps.iter().enumerate().filter_map(|(node, step)| {
            let (kernel, tiling) = match step {
                Step::Product(product) => (product.kernel(), product.layer().tiling()),
                Step::Vector(layer) => (layer.kernel(), Tiling { vectors: 0, window: 0 }),
                _ => return None,
            };
            Some(Tuned {
                node: node as u16,
                vectors: tiling.vectors as u16,
                window: tiling.window as u32,
                kernel: kernel.name.to_string(),
            })
        });
        Tuning {
            machine: cpu_name(),
            nodes: nodes.collect(),
        }
    }

    /// The kernel that runs a node, if it was chosen here.
    pub(crate) fn kernel(&self, node: usize) -> Option<&'static Kernel> {
        match self.steps.get(node)? {
            Step::Product(product) => Some(product.kernel()),
            Step::Vector(layer) => Some(layer.kernel()),
            _ => None,
        }
    }

    /// Bytes of a node's repacked weights; `None` if those of the file are used.
    pub fn repacked_bytes(&self, node: usize) -> Option<usize> {
        match self.steps.get(node)? {
            Step::Product(product) => Some(product.bytes()),
            Step::Vector(layer) => layer.bytes(),
            _ => None,
        }
    }

    /// Bytes of all repacked weights.
    pub fn bytes(&self) -> usize {
        (0..self.steps.len()).filter_map(|node| self.repacked_bytes(node)).sum()
    }

    /// An inference is over.
    pub(crate) fn rest(&mut self) {
        self.threads.rest();
    }

    /// Runs a node, unless it has to be run in place.
    pub(crate) fn run(&mut self, model: &Model<'_>, node: &Node<'_>, arena: &mut [f32]) -> Result<bool, RunError> {
        match self.steps.get(node.index) {
            Some(Step::Fused) => Ok(true),
            Some(Step::Product(product)) => product.run(model, node, arena, &mut self.threads).map(|()| true),
            Some(Step::Vector(layer)) => layer.run(model, node, arena, &mut self.threads).map(|()| true),
            Some(Step::Depthwise(conv)) => conv.run(model, node, arena, &mut self.threads).map(|()| true),
            _ => Ok(false),
        }
    }
}
