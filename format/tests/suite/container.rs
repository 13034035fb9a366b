//! What is written is what is read.

use secateur_format::container::writer::{Layout, Preprocess, WriteError};
use secateur_format::container::{HEADER_LEN, SECTION_ALIGN};
use secateur_format::encoding::{Encoding, ValueType, decode, pack};
use secateur_format::{Limits, Model, Op, TensorId, ValueId, arena_bytes};

use crate::forge::{entry_range, u32_at, walk};
use crate::samples::{self, Sample};

fn check_round_trip(sample: &Sample) {
    let file = sample.file();
    let model = Model::read(file.bytes(), &Limits::HOST).unwrap();
    walk(&model);
    let graph = &sample.graph;
    let shapes = graph.shapes().unwrap();
    assert_eq!(model.input_count(), graph.inputs.len());
    assert_eq!(model.value_count(), graph.value_count());
    assert!(model.outputs().eq(graph.outputs.iter().copied()));
    for (id, &shape) in shapes.iter().enumerate() {
        let id = ValueId(id as u16);
        assert_eq!(model.shape(id), shape);
        let name = (!sample.extras.strip).then(|| graph.name(id));
        assert_eq!(model.name(id), name);
    }
    for (node, def) in model.nodes().zip(&graph.nodes) {
        assert_eq!(node.op, def.op);
        assert!(node.inputs().eq(def.inputs.iter().copied()));
    }
    for (id, quantized) in sample.quantized().iter().enumerate() {
        let (desc, matrix) = model.tensor(TensorId(id as u16)).unwrap();
        assert_eq!((desc.encoding, desc.values), sample.stored_as[id]);
        assert_eq!(
            decode(&matrix, &desc),
            quantized.to_f32(),
            "tensor {id}, {}",
            desc.encoding
        );
    }
    let preprocess = sample.extras.preprocess.as_ref().filter(|_| !sample.extras.strip);
    assert_eq!(model.preprocess().is_some(), preprocess.is_some());
    if let (Some(found), Some(expected)) = (model.preprocess(), preprocess) {
        assert_eq!(found.scale, expected.scale);
        assert!(found.mean().eq(expected.mean.iter().copied()));
        assert!(found.std().eq(expected.std.iter().copied()));
    }
    let info = sample.extras.info.iter().filter(|_| !sample.extras.strip);
    assert!(model.info().eq(info.map(|(key, value)| (key.as_str(), value.as_str()))));
    check_plan(sample, &model);
    assert_eq!(arena_bytes(file.bytes()), model.plan().arena_bytes() as usize);
}

fn check_plan(sample: &Sample, model: &Model<'_>) {
    let layout = sample.layout();
    let plan = layout.plan();
    assert_eq!(
        (model.plan().arena_bytes(), model.plan().align()),
        (plan.arena_bytes, plan.align)
    );
    for (id, &(offset, last_use)) in plan.values.iter().enumerate() {
        let id = ValueId(id as u16);
        assert_eq!(model.plan().value(id, model.shape(id)).start, offset);
        assert_eq!(model.plan().last_use(id), last_use);
    }
    for (node, &(offset, bytes)) in plan.scratch.iter().enumerate() {
        let range = model.plan().scratch(node);
        assert_eq!((range.start, range.bytes()), (offset, bytes));
    }
}

#[test]
fn round_trip() {
    for (_, sample) in samples::all() {
        check_round_trip(&sample);
    }
}

#[test]
fn the_samples_cover_every_operator() {
    let sample = samples::operators();
    let mut kinds = Vec::new();
    for node in &sample.graph.nodes {
        let kind = core::mem::discriminant(&node.op);
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    assert_eq!(kinds.len(), 12, "all operators but batch normalisation");
}

#[test]
fn lengths_are_predicted_and_bytes_repeat() {
    for (name, sample) in samples::all() {
        let file = sample.file();
        assert_eq!(sample.layout().file_len(), file.bytes().len() as u64, "{name}");
        assert_eq!(file.bytes(), sample.file().bytes(), "{name}");
    }
}

#[test]
fn sections_are_aligned_and_a_tail_follows() {
    for (_, sample) in samples::all() {
        let file = sample.file();
        let bytes = file.bytes();
        let count = u32_at(bytes, 24).unwrap() as usize;
        let mut end = HEADER_LEN;
        for index in 0..count {
            let range = entry_range(bytes, index).unwrap();
            assert!(range.start.is_multiple_of(SECTION_ALIGN) && range.start >= end);
            end = range.end;
        }
        assert_eq!(bytes.len(), end.next_multiple_of(SECTION_ALIGN) + SECTION_ALIGN);
        assert!(bytes[end..].iter().all(|&b| b == 0));
    }
}

#[test]
fn stripping_removes_host_sections_only() {
    let (whole, bare) = (samples::operators().file(), samples::stripped().file());
    assert_eq!(u32_at(whole.bytes(), 24), Some(8));
    assert_eq!(u32_at(bare.bytes(), 24), Some(4));
    for index in 0..4 {
        let section = |bytes: &[u8]| bytes[entry_range(bytes, index).unwrap()].to_vec();
        assert_eq!(section(whole.bytes()), section(bare.bytes()));
    }
    assert!(!bare.bytes().windows(4).any(|w| w == b"stem"));
}

#[test]
fn a_file_without_tensors() {
    let mut sample = Sample::default();
    let x = sample.input("x", &[7]);
    let y = sample.node("y", Op::Mul, &[x, x]);
    sample.graph.outputs = vec![y];
    check_round_trip(&sample);
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let sample = samples::encodings(ValueType::F32);
    let layout = |sample: &Sample| Layout::new(&sample.graph, &sample.descs(), &sample.options, &sample.extras).err();

    let mut bad = sample.clone();
    bad.stored_as.last_mut().unwrap().1 = ValueType::F16;
    assert_eq!(layout(&bad), Some(WriteError::Tensors), "a bias in f16");

    let mut bad = sample.clone();
    let x = bad.graph.inputs.len() as u16 - 1;
    let slope = secateur_format::Activation::LeakyRelu(f32::NAN);
    bad.node("slope", Op::Activation(slope), &[ValueId(x)]);
    assert_eq!(layout(&bad), Some(WriteError::Node { node: "slope".into() }));

    let mut bad = sample.clone();
    bad.extras.info.push(("k".into(), "v".repeat(70_000)));
    assert_eq!(layout(&bad), Some(WriteError::Text));

    let mut packed = sample.packed();
    packed[0] = pack(&sample.quantized()[0], Encoding::Bitmask).unwrap();
    assert_eq!(sample.layout().write(&packed), Err(WriteError::Tensors));
}

#[test]
fn the_writer_refuses_preprocessing_that_the_reader_would() {
    // Graph input 0 has four channels, input 1 has three.
    let sample = samples::operators();
    let layout = |scale, mean: &[f32], std: &[f32]| {
        let mut sample = sample.clone();
        let (mean, std) = (mean.to_vec(), std.to_vec());
        sample.extras.preprocess = Some(Preprocess { scale, mean, std });
        Layout::new(&sample.graph, &sample.descs(), &sample.options, &sample.extras).err()
    };
    for (scale, mean, std) in [
        (1.0, &[][..], &[][..]),
        (-1.0, &[0.0], &[-1.0; 4]),
        (f32::MIN_POSITIVE, &[-3.0; 4], &[1e-40]),
    ] {
        assert_eq!(layout(scale, mean, std), None, "{scale} {mean:?} {std:?}");
    }
    for (scale, mean, std) in [
        (0.0, &[][..], &[][..]),
        (-0.0, &[], &[]),
        (f32::NAN, &[], &[]),
        (1.0, &[f32::INFINITY], &[]),
        (1.0, &[], &[0.0]),
        (1.0, &[], &[1.0, 1.0, -0.0, 1.0]),
        (1.0, &[], &[f32::NEG_INFINITY]),
        (1.0, &[0.0; 3], &[]),
        (1.0, &[], &[1.0; 5]),
    ] {
        let refused = layout(scale, mean, std);
        assert_eq!(refused, Some(WriteError::Preprocess), "{scale} {mean:?} {std:?}");
    }
}
