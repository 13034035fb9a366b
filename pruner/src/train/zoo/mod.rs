//! Networks by name, for training from scratch. Constants have the names of PyTorch.

mod builder;
mod networks;

use builder::Builder;
use secateur_format::graph::Graph;
use secateur_format::{Shape, ShapeError};

use super::init::Init;
use crate::source::nearest::suggestion;

/// A network by name.
#[derive(Debug)]
pub struct Network {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// How its weights are drawn.
    pub init: Init,
    /// What training it from scratch does well with, as in the `[train]` of a recipe; the rest is as for any network.
    pub training: &'static str,
    build: fn(&mut Builder, u32) -> Result<(), ShapeError>,
}

/// Without batch norms, sgd at its usual rate diverges.
const PLAIN: (Init, &str) = (
    Init::GlorotUniform,
    "optimizer = \"adam\"\nrate = 0.003\nschedule = \"one-cycle\"\ncrop = 1",
);
/// As arXiv 1512.03385 augments CIFAR-10.
const IMAGES: (Init, &str) = (Init::KaimingNormal, "flip = true\ncrop = 4");
const ANY: (Init, &str) = (Init::KaimingNormal, "");

const fn network(
    name: &'static str,
    what: &'static str,
    (init, training): (Init, &'static str),
    build: fn(&mut Builder, u32) -> Result<(), ShapeError>,
) -> Network {
    Network {
        name,
        what,
        init,
        training,
        build,
    }
}

/// Every network.
pub const NETWORKS: [Network; 8] = [
    network(
        "lenet-300-100",
        "784-300-100-10, for MNIST (LeCun et al. 1998)",
        PLAIN,
        networks::lenet_300_100,
    ),
    network(
        "lenet-5",
        "20 and 50 filters of 5x5, 500 neurons, as in Caffe",
        PLAIN,
        networks::lenet_5,
    ),
    network(
        "vgg-small",
        "six convolutions in three stages, after arXiv 1409.1556",
        IMAGES,
        networks::vgg_small,
    ),
    network(
        "resnet-8",
        "one block per stage, after arXiv 1512.03385",
        IMAGES,
        |b, classes| networks::resnet(b, 1, classes),
    ),
    network(
        "resnet-20",
        "three blocks per stage, arXiv 1512.03385 §4.2",
        IMAGES,
        |b, classes| networks::resnet(b, 3, classes),
    ),
    network(
        "resnet-56",
        "nine blocks per stage, arXiv 1512.03385 §4.2",
        IMAGES,
        |b, classes| networks::resnet(b, 9, classes),
    ),
    network(
        "ds-cnn",
        "four depthwise separable blocks, arXiv 1711.07128",
        ANY,
        networks::ds_cnn,
    ),
    network(
        "mobilenet-v1",
        "a quarter of the width of arXiv 1704.04861",
        ANY,
        networks::mobilenet_v1,
    ),
];

/// The network of that name.
pub fn find(name: &str) -> Option<&'static Network> {
    const ALL: &[Network] = &NETWORKS;
    ALL.iter().find(|network| network.name == name)
}

impl Network {
    /// The network with fresh weights, for an input and a number of classes.
    ///
    /// # Errors
    /// A [`ShapeError`] when the input is too small or has no planes.
    pub fn build(&self, input: Shape, classes: u32, init: Init, seed: u64) -> Result<Graph, ShapeError> {
        let mut builder = Builder::new(input);
        (self.build)(&mut builder, classes)?;
        let mut graph = builder.finish();
        init.apply(&mut graph, seed);
        Ok(graph)
    }
}

/// `(did you mean …?)`, or nothing.
pub fn near(name: &str) -> String {
    suggestion(name, NETWORKS.iter().map(|network| network.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::layers;

    fn network(name: &str, input: &[u32], classes: u32) -> Graph {
        let input = Shape::new(input).unwrap();
        find(name).unwrap().build(input, classes, Init::default(), 1).unwrap()
    }

    fn prunable(graph: &Graph) -> usize {
        let shapes = graph.shapes().unwrap();
        layers(graph, &shapes).iter().map(crate::layer::Layer::weights).sum()
    }

    #[test]
    fn networks_have_the_published_sizes() {
        assert_eq!(prunable(&network("lenet-300-100", &[1, 28, 28], 10)), 266_200);
        assert_eq!(prunable(&network("lenet-5", &[1, 28, 28], 10)), 430_500);
        // All parameters, running statistics not counted: those of akamaster/pytorch_resnet_cifar10.
        for (name, expected) in [("resnet-20", 269_722), ("resnet-56", 853_018)] {
            let graph = network(name, &[3, 32, 32], 10);
            let frozen = |name: &str| name.contains("running");
            let tensors = graph.tensors.iter().filter(|tensor| !frozen(&tensor.name));
            assert_eq!(tensors.map(|tensor| tensor.data.len()).sum::<usize>(), expected);
        }
        // The weights of the MLPerf Tiny reference models; that of the second has 221 794 parameters, of
        // which 5 belong to each of 2736 normalised channels and 2 to the classes.
        assert_eq!(prunable(&network("ds-cnn", &[1, 49, 10], 12)), 22_016);
        assert_eq!(prunable(&network("mobilenet-v1", &[3, 96, 96], 2)), 208_112);
    }

    #[test]
    fn every_network_fits_small_images_and_refuses_what_is_no_image() {
        for known in &NETWORKS {
            network(known.name, &[3, 32, 32], 7);
            if known.name != "lenet-300-100" {
                let flat = known.build(Shape::new(&[8]).unwrap(), 2, Init::default(), 1);
                assert!(flat.is_err(), "{}", known.name);
            }
        }
        assert!(find("resnet-21").is_none());
        assert!(near("resnet-21").contains("resnet-20"));
    }
}
