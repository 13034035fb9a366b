//! `secateur masks`

mod pairs;
mod single;

use std::path::{Path, PathBuf};

use clap::Args;
use secateur_format::TensorId;
use secateur_format::graph::Graph;

use super::error::CliError;
use super::model::Opened;
use super::output::Output;
use crate::layer::{Layer, layers};
use crate::prune::Masks;
use crate::recipe::run::Folder;

#[derive(Debug, Args)]
pub(super) struct MasksArgs {
    /// Pruned models, or folders of runs: one is described, several of the same layers are compared
    #[arg(required = true, value_name = "MODEL|RUN")]
    models: Vec<PathBuf>,
    /// Draw it: of one, zero filters, channels and kernels over the rounds; of several runs, how alike they are
    #[arg(long, value_name = "OUT.svg")]
    svg: Option<PathBuf>,
}

pub(super) fn run(args: &MasksArgs, out: &Output) -> Result<(), CliError> {
    let open = |path: &PathBuf| Masked::open(path, out);
    let masked = args.models.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let svg = args.svg.as_deref();
    match masked.as_slice() {
        [one] => single::show(one, svg, out),
        several => pairs::show(several, svg, out),
    }
}

/// Which weights stay, layer by layer.
type Kept = Vec<Vec<bool>>;

/// A pruned network, and what its run has kept of how it came to be.
struct Masked {
    name: String,
    graph: Graph,
    layers: Vec<Layer>,
    kept: Kept,
    /// After each round of iterative pruning.
    rounds: Vec<Kept>,
    /// Before all training, if it had the same weights then.
    initial: Option<Graph>,
}

impl Masked {
    /// A run by its masks, any other model by its zeros.
    fn open(path: &Path, out: &Output) -> Result<Self, CliError> {
        let name = path.display().to_string();
        if !path.join("recipe.toml").is_file() {
            let graph = Opened::new(path, out)?.source.graph;
            let layers = prunable(&graph)?;
            let kept = layers.iter().map(|layer| nonzero(&graph, layer)).collect();
            return Ok(Self {
                name,
                graph,
                layers,
                kept,
                rounds: Vec::new(),
                initial: None,
            });
        }
        let (folder, _, initial) = Folder::open(path, None)?;
        if !folder.file("report.json").exists() {
            return Err(CliError::usage(format!(
                "the run of {name} is not done: go on with `secateur prune --resume {name}`"
            )));
        }
        let graph = Opened::new(&folder.file("model.toml"), out)?.source.graph;
        let layers = prunable(&graph)?;
        let by_layer = |masks: Masks| {
            let mask = |layer: &Layer| kept_of(&masks, layer.tensor).unwrap_or_else(|| vec![true; layer.weights()]);
            layers.iter().map(mask).collect()
        };
        let kept = by_layer(folder.masks(&graph)?);
        let rounds = folder.rounds(&graph)?.into_iter().map(by_layer).collect();
        // Where channels were removed, weights have no one place in the first network.
        let same = alike(&prunable(&initial.graph)?, &layers);
        Ok(Self {
            name,
            graph,
            kept,
            rounds,
            initial: same.then_some(initial.graph),
            layers,
        })
    }

    /// Fraction of the weights that is pruned.
    fn sparsity(&self) -> f64 {
        let (zeros, all) = self
            .kept
            .iter()
            .flatten()
            .fold((0, 0), |(zeros, all), &kept| (zeros + usize::from(!kept), all + 1));
        zeros as f64 / f64::max(all as f64, 1.0)
    }
}

fn prunable(graph: &Graph) -> Result<Vec<Layer>, CliError> {
    Ok(layers(graph, &graph.shapes().map_err(CliError::check)?))
}

fn alike(first: &[Layer], second: &[Layer]) -> bool {
    let sizes = |layers: &[Layer]| layers.iter().map(|layer| (layer.rows, layer.cols)).collect::<Vec<_>>();
    sizes(first) == sizes(second)
}

fn weights<'g>(graph: &'g Graph, layer: &Layer) -> &'g [f32] {
    graph.tensor(layer.tensor).map_or(&[], |tensor| &tensor.data)
}

fn nonzero(graph: &Graph, layer: &Layer) -> Vec<bool> {
    weights(graph, layer).iter().map(|&w| w != 0.0).collect()
}

fn kept_of(masks: &Masks, tensor: TensorId) -> Option<Vec<bool>> {
    masks.iter().find(|(id, _)| *id == tensor).map(|(_, mask)| mask.clone())
}
