//! Networks by name, for training from scratch. Constants have the names of PyTorch.

mod builder;
mod networks;

use builder::Builder;
use secateur_format::graph::Graph;
use secateur_format::{Shape, ShapeError};

use super::init::Init;
use crate::source::nearest::suggestion;

type Network = fn(&mut Builder, u32) -> Result<(), ShapeError>;

/// Every network: name, what it is, how it is built.
const NETWORKS: [(&str, &str, Network); 8] = [
    (
        "lenet-300-100",
        "784-300-100-10, for MNIST (LeCun et al. 1998)",
        networks::lenet_300_100,
    ),
    (
        "lenet-5",
        "20 and 50 filters of 5x5, 500 neurons, as in Caffe",
        networks::lenet_5,
    ),
    (
        "vgg-small",
        "six convolutions in three stages, after arXiv 1409.1556",
        networks::vgg_small,
    ),
    (
        "resnet-8",
        "one block per stage, after arXiv 1512.03385",
        |b, classes| networks::resnet(b, 1, classes),
    ),
    (
        "resnet-20",
        "three blocks per stage, arXiv 1512.03385 §4.2",
        |b, classes| networks::resnet(b, 3, classes),
    ),
    (
        "resnet-56",
        "nine blocks per stage, arXiv 1512.03385 §4.2",
        |b, classes| networks::resnet(b, 9, classes),
    ),
    (
        "ds-cnn",
        "four depthwise separable blocks, arXiv 1711.07128",
        networks::ds_cnn,
    ),
    (
        "mobilenet-v1",
        "a quarter of the width of arXiv 1704.04861",
        networks::mobilenet_v1,
    ),
];

/// The names of all networks, each with what it is.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    NETWORKS.iter().map(|&(name, what, _)| (name, what))
}

/// A network with fresh weights, for an input and a number of classes. `None` if there is none of that name.
///
/// # Errors
/// A [`ShapeError`] when the input is too small or has no planes.
pub fn build(name: &str, input: Shape, classes: u32, init: Init, seed: u64) -> Option<Result<Graph, ShapeError>> {
    let (_, _, network) = NETWORKS.iter().find(|(known, _, _)| *known == name)?;
    let mut builder = Builder::new(input);
    Some(network(&mut builder, classes).map(|()| {
        let mut graph = builder.finish();
        init.apply(&mut graph, seed);
        graph
    }))
}

/// `(did you mean …?)`, or nothing.
pub fn near(name: &str) -> String {
    suggestion(name, NETWORKS.iter().map(|(known, _, _)| *known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::layers;

    fn network(name: &str, input: &[u32], classes: u32) -> Graph {
        let input = Shape::new(input).unwrap();
        build(name, input, classes, Init::default(), 1).unwrap().unwrap()
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
        for (name, _) in names() {
            network(name, &[3, 32, 32], 7);
            if name != "lenet-300-100" {
                let flat = build(name, Shape::new(&[8]).unwrap(), 2, Init::default(), 1).unwrap();
                assert!(flat.is_err(), "{name}");
            }
        }
        assert!(build("resnet-21", Shape::SCALAR, 2, Init::default(), 1).is_none());
        assert!(near("resnet-21").contains("resnet-20"));
    }
}
