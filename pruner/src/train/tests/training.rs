//! Whole trainings: masks hold, and neither threads nor interruptions change a bit.

use std::ops::ControlFlow;

use secateur_format::graph::Graph;
use secateur_format::{Shape, TensorId};

use super::support::Noise;
use crate::data::{Dataset, Preprocess};
use crate::layer::layers;
use crate::train::{
    Adam, Augment, Decay, Diet, Distillation, Ending, Hooks, Init, Loss, Optimizer, Plan, Progress, Samples, Schedule,
    State, Statistics, Sums, TrainError, Trainer, cut, evaluate, zoo,
};

/// Noise with a class in its brightness.
fn data(samples: usize) -> Dataset {
    let mut x = Noise::new(5).take(samples * 3 * 64);
    let labels: Vec<u32> = (0..samples as u32).map(|i| i % 3).collect();
    for (x, label) in x.chunks_mut(3 * 64).zip(&labels) {
        x.iter_mut().for_each(|x| *x += *label as f32 - 1.0);
    }
    Dataset::new(x, vec![3, 8, 8], Some(labels)).unwrap()
}

fn network() -> Graph {
    let input = Shape::new(&[3, 8, 8]).unwrap();
    zoo::find("resnet-8")
        .unwrap()
        .build(input, 3, Init::default(), 3)
        .unwrap()
}

fn plan(optimizer: Optimizer) -> Plan {
    Plan {
        epochs: 3,
        batch: 16,
        optimizer,
        schedule: Schedule {
            rate: 0.02,
            warmup: 2,
            shape: Decay::Cosine { end: 0.0 },
        },
        loss: Loss::CrossEntropy { smoothing: 0.0 },
        distillation: None,
        equalize: None,
        augment: Augment { flip: true, crop: 1 },
        clip: Some(2.0),
        statistics: Statistics::Batch,
        seed: 9,
    }
}

const SGD: Optimizer = Optimizer::Sgd {
    momentum: 0.9,
    nesterov: true,
    weight_decay: 1e-3,
};

/// Trains on so many threads; `hooks` may stop it, then it goes on from the bytes of its checkpoint.
fn trained(plan: &Plan, threads: usize, hooks: &mut dyn Hooks) -> State {
    let dataset = data(72);
    let samples = Samples {
        dataset: &dataset,
        preprocess: &Preprocess::default(),
    };
    let teacher = plan.distillation.map(|_| network());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let mut state = State::new(network()).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    loop {
        let mut trainer = Trainer::new(state.graph(), samples, teacher.as_ref(), plan.clone()).unwrap();
        if pool.install(|| trainer.train(&mut state, hooks)).unwrap() == Ending::Finished {
            return state;
        }
        state.save(&path).unwrap();
        state = State::load(&path, network()).unwrap();
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let mut plan = plan(SGD);
    plan.distillation = Some(Distillation {
        temperature: 2.0,
        weight: 0.5,
    });
    let one = trained(&plan, 1, &mut ());
    same(&one, &trained(&plan, 2, &mut ()));
    same(&one, &trained(&plan, 3, &mut ()));
}

/// Masks a layer at the third step, and checks it ever after.
#[derive(Default)]
struct Pruner {
    /// Stops at these steps.
    stops: Vec<u64>,
    masked: Vec<TensorId>,
}

impl Hooks for Pruner {
    fn before_step(&mut self, state: &mut State, step: u64) -> Result<(), TrainError> {
        if step == 3 {
            let shapes = state.graph().shapes()?;
            for layer in layers(state.graph(), &shapes).iter().step_by(2) {
                let mask = (0..layer.weights()).map(|i| i % 3 != 0).collect();
                assert!(state.set_mask(layer.tensor, Some(mask)));
                self.masked.push(layer.tensor);
            }
        }
        Ok(())
    }

    fn after_step(&mut self, state: &State, progress: &Progress) -> ControlFlow<()> {
        for &id in &self.masked {
            let mask = state.mask(id).unwrap();
            let index = usize::from(id.0);
            let kept = [
                &state.graph().tensors[index].data,
                &state.slots[0][index],
                &state.slots[1][index],
            ];
            for values in kept {
                let pruned = values.iter().zip(mask).filter(|(_, keep)| !**keep);
                pruned.for_each(|(value, _)| assert_eq!(*value, 0.0));
                let active = values
                    .iter()
                    .zip(mask)
                    .filter(|(value, keep)| **keep && **value != 0.0)
                    .count();
                assert!(
                    values.is_empty() || active > values.len() / 3,
                    "{active} of {}",
                    values.len()
                );
            }
        }
        if self.stops.contains(&progress.step) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

#[test]
fn what_is_pruned_stays_zero_and_interruptions_do_not_change_a_bit() {
    for optimizer in [SGD, Optimizer::Adam(Adam::default()), Optimizer::AdamW(Adam::default())] {
        let mut plan = plan(optimizer);
        plan.equalize = Some(0.5);
        let whole = trained(&plan, 2, &mut Pruner::default());
        assert!(whole.sparsity() > 0.1, "{}", whole.sparsity());
        // In an epoch, before the masks come, and at the end of an epoch.
        let mut pieces = Pruner {
            stops: vec![2, 5, 7, 14],
            ..Pruner::default()
        };
        same(&whole, &trained(&plan, 2, &mut pieces));
    }
}

/// Equal; a difference is told without all the numbers.
fn same(a: &State, b: &State) {
    assert_eq!((a.position, a.updates), (b.position, b.updates));
    assert_eq!(a.equalizer, b.equalizer);
    for (index, (own, other)) in a.graph.tensors.iter().zip(&b.graph.tensors).enumerate() {
        assert!(own == other, "{} differs", own.name);
        assert!(a.masks[index] == b.masks[index], "the mask of {} differs", own.name);
        for slot in 0..2 {
            assert!(
                a.slots[slot][index] == b.slots[slot][index],
                "slot {slot} of {} differs",
                own.name
            );
        }
    }
}

/// Stops after a step.
struct StopAfter(u64);

impl Hooks for StopAfter {
    fn after_step(&mut self, _: &State, progress: &Progress) -> ControlFlow<()> {
        match progress.step == self.0 {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// The epochs that ended.
struct Epochs(Vec<u64>);

impl Hooks for Epochs {
    fn after_epoch(&mut self, _: &State, epoch: u64, _: Sums) -> Result<(), TrainError> {
        self.0.push(epoch);
        Ok(())
    }
}

#[test]
fn a_diet_is_what_the_first_steps_see_and_no_other() {
    let dataset = data(72);
    let chosen: Vec<usize> = (0..72).step_by(2).collect();
    let few = dataset.select(&chosen).unwrap();
    let mut plan = plan(SGD);
    // What the number or the place of a sample decides is the same then.
    (plan.schedule.warmup, plan.schedule.shape) = (0, Decay::Constant);
    plan.augment = Augment::default();
    let train = |dataset, diet, state: &mut State, hooks: &mut dyn Hooks| {
        let trainer = Trainer::new(state.graph(), samples(dataset), None, plan.clone()).unwrap();
        trainer.with_diet(diet).train(state, hooks).unwrap()
    };
    let diet = Some(Diet {
        steps: 7,
        samples: chosen.clone(),
    });
    let begun = || State::new(network()).unwrap();
    let (mut whole, mut pieces) = (begun(), begun());
    let mut epochs = Epochs(Vec::new());
    train(&dataset, diet.clone(), &mut whole, &mut epochs);
    assert_eq!(epochs.0, [1, 2, 3]);
    // 7 steps of the few, the rest of all; what was seen of the epoch is of no consequence for the weights.
    train(&few, None, &mut pieces, &mut StopAfter(7));
    assert_eq!(train(&dataset, None, &mut pieces, &mut ()), Ending::Finished);
    same(&whole, &pieces);
    let mut stopped = begun();
    train(&dataset, diet.clone(), &mut stopped, &mut StopAfter(4));
    train(&dataset, diet, &mut stopped, &mut ());
    same(&whole, &stopped);
}

fn samples(dataset: &Dataset) -> Samples<'_> {
    const PLAIN: &Preprocess = &Preprocess {
        scale: 1.0,
        mean: Vec::new(),
        std: Vec::new(),
    };
    Samples {
        dataset,
        preprocess: PLAIN,
    }
}

#[test]
fn losses_made_equal_help_the_worst_class() {
    let all = data(240);
    let left = cut(&all, &[("1".to_owned(), 0.1)].into(), 1).unwrap();
    let dataset = all.select(&left).unwrap();
    let worst = |equalize| {
        let mut plan = plan(SGD);
        (plan.epochs, plan.equalize) = (8, equalize);
        let mut state = State::new(network()).unwrap();
        let mut trainer = Trainer::new(state.graph(), samples(&dataset), None, plan.clone()).unwrap();
        trainer.train(&mut state, &mut ()).unwrap();
        let of_class = |class| (0..240).filter(|sample| sample % 3 == class).collect::<Vec<usize>>();
        let losses = [0, 1, 2].map(|class| {
            let own = all.select(&of_class(class)).unwrap();
            evaluate(state.graph(), &samples(&own), plan.loss).unwrap().loss
        });
        losses.into_iter().fold(0.0, f64::max)
    };
    let (plain, equalized) = (worst(None), worst(Some(0.3)));
    assert!(equalized < 0.9 * plain, "{equalized} against {plain}");
}

#[test]
fn masks_of_another_size_are_refused() {
    let mut state = State::new(network()).unwrap();
    assert!(!state.set_mask(TensorId(0), Some(vec![true; 3])));
    assert!(!state.set_mask(TensorId(999), None));
    assert_eq!(state, State::new(network()).unwrap());
}

#[test]
fn a_network_learns() {
    let mut plan = plan(SGD);
    plan.epochs = 12;
    let state = trained(&plan, 2, &mut ());
    let dataset = data(30);
    let samples = Samples {
        dataset: &dataset,
        preprocess: &Preprocess::default(),
    };
    let found = evaluate(state.graph(), &samples, plan.loss).unwrap();
    assert_eq!(found.accuracy.count, [10; 3]);
    assert!(found.accuracy.fraction() > 0.9, "{found:?}");
    assert!(found.loss < 0.2, "{found:?}");
}

#[test]
fn damaged_checkpoints_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let state = State::new(network()).unwrap();
    state.save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(State::load(&path, network()).unwrap(), state);
    for length in (0..bytes.len()).step_by(997) {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert!(State::load(&path, network()).is_err(), "{length} bytes");
    }
    std::fs::write(&path, &bytes).unwrap();
    let other = zoo::find("lenet-300-100").unwrap();
    let other = other.build(Shape::new(&[3, 8, 8]).unwrap(), 3, Init::default(), 3);
    let error = State::load(&path, other.unwrap()).unwrap_err().to_string();
    assert!(
        error.contains("has another size") && error.contains("checkpoint"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let (dataset, graph) = (data(9), network());
    let samples = Samples {
        dataset: &dataset,
        preprocess: &Preprocess::default(),
    };
    let mut few = plan(SGD);
    few.batch = 1000;
    assert!(Trainer::new(&graph, samples, None, few).is_ok());
    let other = zoo::find("lenet-300-100").unwrap();
    let other = other.build(Shape::new(&[1, 8, 8]).unwrap(), 3, Init::default(), 3);
    let other = other.unwrap();
    assert!(matches!(
        Trainer::new(&other, samples, None, plan(SGD)),
        Err(TrainError::Data(_))
    ));
    let mut taught = plan(SGD);
    taught.distillation = Some(Distillation {
        temperature: 2.0,
        weight: 0.5,
    });
    let result = Trainer::new(&graph, samples, Some(&other), taught);
    assert!(matches!(result, Err(TrainError::Teacher { .. })));
    let mut wild = plan(SGD);
    (wild.schedule.rate, wild.clip) = (1e30, None);
    let mut state = State::new(graph.clone()).unwrap();
    let result = Trainer::new(&graph, samples, None, wild)
        .unwrap()
        .train(&mut state, &mut ());
    assert!(matches!(result, Err(TrainError::Diverged { .. })), "{result:?}");
}
