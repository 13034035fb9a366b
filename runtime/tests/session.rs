//! Sessions and model files: what is refused, and what is exactly enough.

#[cfg(test)]
mod common;

use std::path::Path;

use common::net::{self, Net};
use secateur_format::encoding::{Encoding, ValueType};
use secateur_format::op::{Conv2d, Linear};
use secateur_format::plan::planner::{PlanOptions, Scratch};
use secateur_format::{Activation, Op};
use secateur_runtime::kernel;
use secateur_runtime::{
    Aligned, ArenaBuf, Limits, LoadError, Model, ModelFile, RunError, Session, arena_bytes, include_model,
};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/small.sct");
const ARENA: usize = arena_bytes(include_bytes!("data/small.sct"));

/// A convolution, and a linear layer whose weights are of type `values`.
fn small(values: ValueType) -> Net {
    let mut net = Net::new(11);
    let x = net.input(&[2, 6, 5]);
    let (weight, bias) = (net.weight_as(4, 18, Encoding::Csr16, ValueType::F32), Some(net.bias(4)));
    let conv = Conv2d {
        weight,
        bias,
        pads: [1; 4],
        activation: Activation::Relu,
        ..common::case::CONV
    };
    let features = net.node(Op::Conv2d(conv), &[x]);
    let pooled = net.node(Op::GlobalAvgPool, &[features]);
    let linear = Linear {
        weight: net.weight_as(3, 4, Encoding::Dense, values),
        bias: None,
        out_features: 3,
        activation: Activation::Identity,
    };
    net.node(Op::Linear(linear), &[pooled]);
    net
}

fn small_file() -> ArenaBuf {
    small(ValueType::F16).file(&PlanOptions::default())
}

/// `SECATEUR_BLESS=1` writes the file anew.
#[test]
fn data_file_is_what_the_writer_writes() {
    if std::env::var_os("SECATEUR_BLESS").is_some() {
        std::fs::write(DATA, small_file()).unwrap();
    }
    assert!(std::fs::read(DATA).unwrap() == small_file().as_ref());
}

#[test]
fn arena_is_exact() {
    for options in [(Scratch::Packed, 64), (Scratch::None, 4)].map(|(scratch, align)| PlanOptions { scratch, align }) {
        let file = small(ValueType::F16).file(&options);
        let model = Model::read(file.as_ref(), &Limits::EMBEDDED).unwrap();
        let needed = model.plan().arena_bytes();
        let mut arena = ArenaBuf::new(needed as usize + 64);
        let arena = arena.as_mut();
        assert!(Session::new(&model, &mut arena[..needed as usize]).is_ok());
        let short = Session::new(&model, &mut arena[..needed as usize - 1]).err();
        assert_eq!(short, Some(RunError::ArenaTooSmall { needed, missing: 1 }));
        let none = Session::new(&model, &mut []).err();
        assert_eq!(
            none,
            Some(RunError::ArenaTooSmall {
                needed,
                missing: needed
            })
        );
        let align = options.align;
        for offset in [1, 2, align as usize / 2] {
            let moved = Session::new(&model, &mut arena[offset..]).err();
            assert_eq!(moved, Some(RunError::ArenaMisaligned { align }));
        }
        assert!(Session::new(&model, &mut arena[align as usize..]).is_ok());
    }
}

/// A session in an exact arena, with guard bytes behind it, changes none of them.
#[test]
fn nothing_is_written_behind_the_arena() {
    let file = small_file();
    let model = Model::read(file.as_ref(), &Limits::EMBEDDED).unwrap();
    let needed = model.plan().arena_bytes() as usize;
    let mut arena = ArenaBuf::new(needed + 64);
    arena.as_mut().fill(0xa5);
    let mut session = Session::new(&model, arena.as_mut()).unwrap();
    session.input_mut(0).unwrap().fill(1.0);
    session.run().unwrap();
    assert!(arena.as_ref()[needed..].iter().all(|&b| b == 0xa5));
}

#[test]
fn arena_is_known_at_compile_time() {
    let bytes = include_model!("data/small.sct");
    let model = Model::read(bytes, &Limits::EMBEDDED).unwrap();
    assert_eq!(ARENA, model.plan().arena_bytes() as usize);
    let mut arena = Aligned([0u8; ARENA]);
    let mut session = Session::new(&model, &mut arena.0).unwrap();
    session.input_mut(0).unwrap().fill(0.5);
    session.run().unwrap();
    assert_eq!(session.output(0).unwrap().len(), 3);
}

#[test]
fn weights_without_a_kernel_are_refused() {
    let file = small(ValueType::I8).file(&PlanOptions::default());
    let model = Model::read(file.as_ref(), &Limits::EMBEDDED).unwrap();
    let mut arena = ArenaBuf::for_model(&model);
    // The linear layer is the third node.
    let refused = Some(RunError::NoKernel { node: 2 });
    assert_eq!(Session::new(&model, arena.as_mut()).err(), refused);
    let file = small_file();
    let model = Model::read(file.as_ref(), &Limits::EMBEDDED).unwrap();
    let refused = Some(RunError::NoKernel { node: 0 });
    assert_eq!(Session::with_kernels(&model, arena.as_mut(), &[]).err(), refused);
    assert!(Session::with_kernels(&model, arena.as_mut(), kernel::SCALAR).is_ok());
}

#[test]
fn batches_are_single_runs() {
    let file = small_file();
    let model = Model::read(file.as_ref(), &Limits::EMBEDDED).unwrap();
    let inputs: Vec<Vec<f32>> = (0..4).flat_map(|_| small(ValueType::F16).random_inputs()).collect();
    let single: Vec<f32> = inputs
        .iter()
        .flat_map(|x| net::run(&model, kernel::ALL, std::slice::from_ref(x)).remove(0))
        .collect();
    let mut arena = ArenaBuf::for_model(&model);
    let mut session = Session::new(&model, arena.as_mut()).unwrap();
    let mut batch = vec![0.0; 12];
    session.run_batch(&inputs.concat(), &mut batch).unwrap();
    assert_eq!(batch, single);
    session.run_batch(&[], &mut []).unwrap();
}

#[test]
fn wrong_lengths_and_indices_are_refused() {
    let file = small_file();
    let model = Model::read(file.as_ref(), &Limits::EMBEDDED).unwrap();
    let mut arena = ArenaBuf::for_model(&model);
    let mut session = Session::new(&model, arena.as_mut()).unwrap();
    let length = |expected, found| Err(RunError::Length { expected, found });
    assert_eq!(session.run_batch(&[0.0; 59], &mut [0.0; 3]), length(60, 59));
    assert_eq!(session.run_batch(&[0.0; 61], &mut [0.0; 3]), length(120, 61));
    assert_eq!(session.run_batch(&[0.0; 60], &mut [0.0; 4]), length(3, 4));
    assert_eq!(session.run_batch(&[0.0; 120], &mut [0.0; 3]), length(6, 3));
    let index = |found| Some(RunError::Index { bound: 1, found });
    assert_eq!(session.input_mut(1).err(), index(1));
    assert_eq!(session.output(2).err(), index(2));
    assert_eq!(session.output(usize::MAX).err(), index(u32::MAX));
}

#[test]
fn nodes_are_observed_in_order() {
    let file = small_file();
    let model = Model::read(file.as_ref(), &Limits::EMBEDDED).unwrap();
    let mut arena = ArenaBuf::for_model(&model);
    let mut session = Session::new(&model, arena.as_mut()).unwrap();
    session.input_mut(0).unwrap().fill(0.0);
    let mut seen = Vec::new();
    session
        .run_observed(|node, output| seen.push((node, output.to_vec())))
        .unwrap();
    assert_eq!(seen.iter().map(|(node, _)| *node).collect::<Vec<_>>(), [0, 1, 2]);
    // Of [4, 6, 5], [4] and [3].
    assert_eq!(seen.iter().map(|(_, y)| y.len()).collect::<Vec<_>>(), [120, 4, 3]);
    assert_eq!(seen[2].1, session.output(0).unwrap());
}

type Open = fn(&Path) -> Result<ModelFile, LoadError>;

/// Both ways to load a file.
const OPEN: [Open; 2] = [ModelFile::read, |path| {
    // SAFETY: the files of these tests are not changed while they are mapped.
    unsafe { ModelFile::map(path) }
}];

#[test]
fn files_are_read_and_mapped() {
    for open in OPEN {
        let file = open(Path::new(DATA)).unwrap();
        assert_eq!(file.bytes(), small_file().as_ref());
        assert_eq!(file.model(&Limits::HOST).unwrap().node_count(), 3);
    }
}

#[test]
fn missing_and_invalid_files_are_refused() {
    let (dir, whole) = (tempfile::tempdir().unwrap(), small_file());
    for open in OPEN {
        assert!(matches!(open(&dir.path().join("missing")), Err(LoadError::Io(_))));
        let invalid = [&b""[..], b"not a model", &whole.as_ref()[..500]];
        for (i, bytes) in invalid.iter().enumerate() {
            let path = dir.path().join(format!("{i}.sct"));
            std::fs::write(&path, bytes).unwrap();
            let file = open(&path).unwrap();
            let refused = file.model(&Limits::HOST);
            assert!(matches!(refused, Err(LoadError::Format(_))), "{refused:?}");
        }
    }
}
