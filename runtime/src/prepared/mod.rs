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

pub use crate::kernel::panel::Residual;
pub use columns::Lines;
pub use cost::{Costs, Machine, TERMS};
pub use layer::{Input, Layer, Tiling};
pub use product::{Problem, Product};
pub use select::{Candidate, Choice, Options, Task};
pub use threads::Threads;

use alloc::boxed::Box;
use alloc::vec::Vec;

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
        for (i, node) in nodes.iter().enumerate() {
            let fused = matches!(steps.last(), Some(Step::Product(before)) if before.fuses(node));
            steps.push(match fused {
                true => Step::Fused,
                false => {
                    let addition = nodes.get(i + 1).and_then(|next| fuse::addition(model, node, next));
                    let problem = Problem::new(model, node)?;
                    let product = problem.and_then(|problem| Product::new(problem, addition, options, &mut threads));
                    let depthwise =
                        || Depthwise::new(model, node, options.kernels).map(|conv| Step::Depthwise(Box::new(conv)));
                    product
                        .map(|product| Step::Product(Box::new(product)))
                        .or_else(depthwise)
                        .unwrap_or(Step::InPlace)
                }
            });
        }
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

    /// The kernel that runs a node with repacked weights.
    pub(crate) fn kernel(&self, node: usize) -> Option<&'static Kernel> {
        self.product(node).map(Product::kernel)
    }

    /// Bytes of all repacked weights.
    pub fn bytes(&self) -> usize {
        let products = self.steps.iter().filter_map(|step| match step {
            Step::Product(product) => Some(product.bytes()),
            _ => None,
        });
        products.sum()
    }

    /// Runs a node, unless it has to be run in place.
    pub(crate) fn run(&mut self, model: &Model<'_>, node: &Node<'_>, arena: &mut [f32]) -> Result<bool, RunError> {
        match self.steps.get(node.index) {
            Some(Step::Fused) => Ok(true),
            Some(Step::Product(product)) => product.run(model, node, arena, &mut self.threads).map(|()| true),
            Some(Step::Depthwise(conv)) => conv.run(model, node, arena, &mut self.threads).map(|()| true),
            _ => Ok(false),
        }
    }
}
