//! Masks as safetensors files: by the name of the weights and in their layout (convolutions `[out, in, kh, kw]`), 1 for
//! what stays.

use std::fs;
use std::io;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};
use secateur_format::graph::{Graph, Tensor};
use secateur_format::{Op, TensorId};

use crate::prune::Masks;
use crate::train::{CheckpointError, State};

/// The masks of a state as a file.
///
/// # Errors
/// A [`CheckpointError`].
pub(super) fn to_bytes(state: &State) -> Result<Vec<u8>, CheckpointError> {
    let weights = weights(state.graph()).filter_map(|(op, id, tensor)| Some((op, tensor, state.mask(id)?)));
    let parts: Vec<(&str, Vec<usize>, Vec<u8>)> = weights
        .map(|(op, tensor, mask)| {
            let kept: Vec<u8> = mask.iter().map(|&keep| u8::from(keep)).collect();
            match kernel(op) {
                Some(kernel) => {
                    let mask = Tensor {
                        data: kept.into_iter().map(f32::from).collect(),
                        ..tensor.clone()
                    };
                    let kept = mask.to_oihw(kernel).iter().map(|&keep| keep as u8).collect();
                    (tensor.name.as_str(), shape(tensor, kernel).into(), kept)
                }
                None => (
                    tensor.name.as_str(),
                    vec![tensor.rows as usize, tensor.cols as usize],
                    kept,
                ),
            }
        })
        .collect();
    let failed = |error: safetensors::SafeTensorError| CheckpointError::Io {
        path: "masks.safetensors".into(),
        action: "write",
        source: io::Error::other(error),
    };
    let views = parts
        .iter()
        .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::BOOL, shape.clone(), bytes)?)));
    let views: Vec<_> = views.collect::<Result<_, _>>().map_err(failed)?;
    serialize(views, None).map_err(failed)
}

/// The masks of a file, for a graph of the same weights.
///
/// # Errors
/// A [`CheckpointError`].
pub(super) fn read(path: &Path, graph: &Graph) -> Result<Masks, CheckpointError> {
    let bytes = fs::read(path).map_err(|source| CheckpointError::Io {
        path: path.into(),
        action: "read",
        source,
    })?;
    let unreadable = |problem: String| CheckpointError::Unreadable {
        path: path.into(),
        problem,
    };
    let file = SafeTensors::deserialize(&bytes).map_err(|error| unreadable(format!("it holds no masks ({error})")))?;
    let mut masks = Masks::new();
    for (op, id, tensor) in weights(graph) {
        // What was never pruned has none.
        let Ok(view) = file.tensor(&tensor.name) else { continue };
        let stored: Vec<f32> = view.data().iter().map(|&keep| f32::from(keep)).collect();
        let ordered = match kernel(op) {
            Some(kernel) => Tensor::from_oihw("", shape(tensor, kernel).map(|extent| extent as u32), &stored)
                .map(|ordered| ordered.data),
            None => Some(stored),
        };
        let kept = ordered.filter(|kept| view.dtype() == Dtype::BOOL && kept.len() == tensor.data.len());
        let Some(kept) = kept else {
            return Err(unreadable(format!("the mask of `{}` has another size", tensor.name)));
        };
        masks.push((id, kept.into_iter().map(|keep| keep != 0.0).collect()));
    }
    Ok(masks)
}

/// The weights of linear and convolution layers, shared ones once.
fn weights(graph: &Graph) -> impl Iterator<Item = (&Op, TensorId, &Tensor)> {
    let mut seen = Vec::new();
    graph.nodes.iter().filter_map(move |node| {
        let id = node.op.weight().filter(|id| !seen.contains(id))?;
        seen.push(id);
        Some((&node.op, id, graph.tensor(id)?))
    })
}

fn kernel(op: &Op) -> Option<[u16; 2]> {
    match op {
        Op::Conv2d(conv) => Some(conv.kernel),
        _ => None,
    }
}

/// `[out, in, kh, kw]`.
fn shape(tensor: &Tensor, kernel: [u16; 2]) -> [usize; 4] {
    let [height, width] = kernel.map(usize::from);
    let inputs = tensor.cols as usize / (height * width).max(1);
    [tensor.rows as usize, inputs, height, width]
}

#[cfg(test)]
mod tests {
    use secateur_format::Shape;

    use super::*;
    use crate::train::{Init, zoo};

    #[test]
    fn what_is_written_is_read() {
        let network = zoo::find("lenet-5").unwrap();
        let input = Shape::new(&[1, 28, 28]).unwrap();
        let graph = network.build(input, 10, Init::default(), 1).unwrap();
        let mut state = State::new(graph.clone()).unwrap();
        let ids: Vec<TensorId> = weights(&graph).map(|(_, id, _)| id).collect();
        let mut expected = Masks::new();
        // The last layer is not pruned.
        for (seed, &id) in ids[..ids.len() - 1].iter().enumerate() {
            let len = graph.tensor(id).unwrap().data.len();
            let mask: Vec<bool> = (0..len).map(|i| (i * i + seed) % 7 < 2).collect();
            assert!(state.set_mask(id, Some(mask.clone())));
            expected.push((id, mask));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("masks.safetensors");
        fs::write(&path, to_bytes(&state).unwrap()).unwrap();
        assert!(read(&path, &graph).unwrap() == expected);
        // In the file, the weights of a kernel are neighbours.
        let bytes = fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(
            file.tensor(&graph.tensor(ids[1]).unwrap().name).unwrap().shape(),
            [50, 20, 5, 5]
        );

        let other = network
            .build(Shape::new(&[3, 28, 28]).unwrap(), 10, Init::default(), 1)
            .unwrap();
        let error = read(&path, &other).unwrap_err().to_string();
        assert!(error.contains("has another size"), "{error}");
    }
}
