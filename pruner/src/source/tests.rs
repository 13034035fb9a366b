use super::*;
use safetensors::{Dtype, serialize, tensor::TensorView};
use secateur_format::Op;
use secateur_format::op::{BatchNorm, Conv2d, Linear};
use std::fs;
use std::path::PathBuf;

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models")
}

fn parameters(graph: &Graph) -> usize {
    graph.tensors.iter().map(|tensor| tensor.data.len()).sum()
}

#[test]
fn every_test_model_is_imported() {
    // Weights with the statistics of batch norms.
    for (name, output, weights) in [
        ("ad01", 640, 269_992),
        ("dscnn_kws", 12, 24_908),
        ("resnet20", 10, 271_098),
        ("resnet56", 10, 857_082),
        ("resnet8", 10, 78_666),
        ("vww_96", 2, 221_794),
    ] {
        let model = load(&models().join(format!("{name}.onnx"))).unwrap();
        let shapes = model.graph.shapes().unwrap();
        let [id] = model.graph.outputs[..] else {
            panic!("{name}")
        };
        assert_eq!(shapes[usize::from(id.0)].dims(), [output], "{name}");
        assert_eq!(model.name, name);
        assert_eq!(parameters(&model.graph), weights, "{name}");
    }
}

/// An operator, the values it reads, and the weights it uses.
type Content<'a> = (Op, Vec<u16>, Vec<&'a [f32]>);

/// What the nodes do, whatever their names.
fn contents(graph: &Graph) -> Vec<Content<'_>> {
    let describe = |node: &'_ secateur_format::graph::NodeDef| {
        let ids = match node.op {
            Op::Conv2d(Conv2d { weight, bias, .. }) | Op::Linear(Linear { weight, bias, .. }) => {
                vec![Some(weight), bias]
            }
            Op::BatchNorm(BatchNorm {
                scale, bias, mean, var, ..
            }) => vec![Some(scale), Some(bias), Some(mean), Some(var)],
            _ => vec![],
        };
        let weights = ids
            .into_iter()
            .flatten()
            .map(|id| graph.tensor(id).unwrap().data.as_slice())
            .collect();
        (node.op, node.inputs.iter().map(|id| id.0).collect(), weights)
    };
    graph.nodes.iter().map(describe).collect()
}

#[test]
fn onnx_and_description_give_the_same_network() {
    let onnx = load(&models().join("resnet20.onnx")).unwrap();
    let toml = load(&models().join("resnet20.toml")).unwrap();
    assert_eq!(contents(&onnx.graph), contents(&toml.graph));
    assert_eq!(onnx.graph.outputs, toml.graph.outputs);
    let names = |graph: &Graph| {
        graph
            .tensors
            .iter()
            .map(|tensor| tensor.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&onnx.graph), names(&toml.graph));
    assert!(toml.unused.is_empty(), "{:?}", toml.unused);
    assert_eq!(toml.preprocess.unwrap().std, [0.229, 0.224, 0.225]);
}

fn folder(description: &str, name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let data = [1.0f32, 2.0].map(f32::to_le_bytes).concat();
    let weights = [("fc.weight", vec![1, 2]), ("old.weight", vec![2])];
    let weights = weights.map(|(name, dims)| (name, TensorView::new(Dtype::F32, dims, &data).unwrap()));
    fs::write(folder.path().join("w.safetensors"), serialize(weights, None).unwrap()).unwrap();
    fs::write(folder.path().join(name), description).unwrap();
    folder
}

const DESCRIPTION: &str = "format = 1\nweights = 'w.safetensors'\ninput = { name = 'x', shape = [2] }\n\
                           [[node]]\nname = 'fc'\nop = 'linear'\n";

#[test]
fn a_model_is_found_from_each_of_its_files() {
    let folder = folder(DESCRIPTION, "model.toml");
    let by_folder = load(folder.path()).unwrap();
    assert_eq!(
        (by_folder.name.as_str(), by_folder.unused.as_slice()),
        ("model", &["old.weight".to_owned()][..])
    );
    assert_eq!(load(&folder.path().join("model.toml")).unwrap(), by_folder);
    assert_eq!(load(&folder.path().join("w.safetensors")).unwrap(), by_folder);
    // The description of the same name goes first.
    fs::write(folder.path().join("w.toml"), format!("name = 'own'\n{DESCRIPTION}")).unwrap();
    assert_eq!(load(&folder.path().join("w.safetensors")).unwrap().name, "own");
}

#[test]
fn missing_files_and_unknown_ones_are_told_apart() {
    let folder = folder(DESCRIPTION, "other.toml");
    assert!(matches!(load(folder.path()), Err(SourceError::Unreadable { .. })));
    assert!(matches!(
        load(&folder.path().join("no.onnx")),
        Err(SourceError::Io { .. })
    ));
    assert!(matches!(
        load(&folder.path().join("w.safetensors")),
        Err(SourceError::Io { .. })
    ));
    assert!(matches!(
        load(&folder.path().join("x.pt")),
        Err(SourceError::Unsupported { .. })
    ));
    fs::write(folder.path().join("w.safetensors"), [0; 20]).unwrap();
    let error = load(&folder.path().join("other.toml")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("w.safetensors: not a sound safetensors file"),
        "{error}"
    );
}
