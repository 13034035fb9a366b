//! States between phases.

use std::ops::ControlFlow;

use secateur_format::{Shape, TensorId};

use super::*;
use crate::recipe::{Layer, parse};
use crate::source::Model;
use crate::train::{Hooks, Init, Trainer, zoo};

/// Stops after so many steps.
struct Steps(u64);

impl Hooks for Steps {
    fn after_step(&mut self, _: &State, progress: &Progress) -> ControlFlow<()> {
        match progress.step == self.0 {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

pub(crate) fn model() -> Model {
    let network = zoo::find("lenet-300-100").unwrap();
    let graph = network.build(Shape::new(&[8]).unwrap(), 3, Init::default(), 1).unwrap();
    Model {
        name: "m".into(),
        graph,
        preprocess: None,
        unused: Vec::new(),
    }
}

pub(crate) fn inputs() -> Inputs {
    let value = |i: usize| ((i * i % 103) as f32 * 0.7).sin();
    let labels = (0..60).map(|i| i % 3).collect();
    Inputs {
        train: Some(Dataset::new((0..60 * 8).map(value).collect(), vec![8], Some(labels)).unwrap()),
        subset: None,
        validation: None,
        test: None,
        preprocess: Preprocess::default(),
        teacher: None,
    }
}

#[test]
fn retraining_goes_on_from_where_the_weights_are_rewound_to() {
    let text = "model = 'm'\n[prune]\nsparsity = 0.6\n[schedule]\nbetween = 'rewind'\nrewind_to = '4it'\nresume = true\n\
                [train]\nepochs = 2\nbatch = 10\nschedule = 'linear'\n[retrain]\nschedule = 'lrw'\n";
    let recipe = parse(&[Layer::file("r.toml", text.to_owned())]).unwrap();
    let (place, inputs, interrupted) = (tempfile::tempdir().unwrap(), inputs(), AtomicBool::new(false));
    let (mut folder, model) = Folder::create(place.path(), &recipe, &model()).unwrap();
    let mut observer = ();
    let mut runner = Runner::new(&recipe, &inputs, &mut folder, &model.graph, &mut observer, &interrupted);
    let mut state = State::new(model.graph.clone()).unwrap();
    runner.phase(0, Phase::Train, &mut state).unwrap();
    let (round, sparsity) = (1, 0.6);
    runner
        .phase(
            1,
            Phase::Prune {
                round,
                sparsity: Some(sparsity),
            },
            &mut state,
        )
        .unwrap();
    runner.next(1, &mut state).unwrap();
    let mut expected = state.clone();
    runner.phase(2, Phase::Retrain { round }, &mut state).unwrap();

    // By hand: the steps from the fourth on of a training as long as the first.
    expected.skip_to(4);
    let data = inputs.train.as_ref().unwrap();
    let mut plan = recipe.training(data.len()).unwrap();
    plan.seed += 2;
    let samples = Samples {
        dataset: data,
        preprocess: &inputs.preprocess,
    };
    let mut trainer = Trainer::new(&model.graph, samples, None, plan).unwrap();
    trainer.train(&mut expected, &mut ()).unwrap();
    assert_eq!(state.position().step, 12);
    assert!(state == expected);
}

#[test]
fn rewinding_gives_kept_weights_their_old_values_and_forgets_the_optimiser() {
    for steps in [0, 4] {
        let text = format!(
            "model = 'm'\n[prune]\nsparsity = 0.6\n[schedule]\nkind = 'iterative'\nrounds = 2\nbetween = 'rewind'\n\
             rewind_to = '{steps}it'\n[train]\nepochs = 2\nbatch = 10\n[retrain]\n"
        );
        let recipe = parse(&[Layer::file("r.toml", text)]).unwrap();
        let (place, inputs, interrupted) = (tempfile::tempdir().unwrap(), inputs(), AtomicBool::new(false));
        let (mut folder, model) = Folder::create(place.path(), &recipe, &model()).unwrap();
        let mut observer = ();
        let mut runner = Runner::new(&recipe, &inputs, &mut folder, &model.graph, &mut observer, &interrupted);
        let mut state = State::new(model.graph.clone()).unwrap();
        runner.phase(0, Phase::Train, &mut state).unwrap();
        assert_ne!(state.graph(), &model.graph);
        let (round, sparsity) = (1, 0.6);
        let phase = Phase::Prune {
            round,
            sparsity: Some(sparsity),
        };
        runner.phase(1, phase, &mut state).unwrap();
        runner.next(1, &mut state).unwrap();

        // What the weights were after so many steps, by another way.
        let mut expected = State::new(model.graph.clone()).unwrap();
        if steps > 0 {
            let data = inputs.train.as_ref().unwrap();
            let plan = recipe.training(data.len()).unwrap();
            let samples = Samples {
                dataset: data,
                preprocess: &inputs.preprocess,
            };
            let mut trainer = Trainer::new(&model.graph, samples, None, plan).unwrap();
            trainer.train(&mut expected, &mut Steps(steps)).unwrap();
        }
        let mut expected = State::new(expected.into_graph()).unwrap();
        for id in (0..model.graph.tensors.len() as u16).map(TensorId) {
            expected.set_mask(id, state.mask(id).map(<[bool]>::to_vec));
        }
        assert!((expected.sparsity() - sparsity).abs() < 1e-3);
        // Weights, masks, position, and an optimiser that has seen nothing.
        assert!(state == expected, "{steps} steps");
        assert!(folder.load("0002", &model.graph).unwrap() == expected, "{steps} steps");
    }
}
