//! Accuracy, through the runtime.

use std::sync::atomic::{AtomicUsize, Ordering};

use secateur_format::graph::GraphError;
use secateur_runtime::{ArenaBuf, Model, RunError};
use thiserror::Error;

use crate::data::{Dataset, Defect, Preprocess};
use crate::engine::Engine;

/// Top-1 accuracy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accuracy {
    /// Samples, per class.
    pub count: Vec<usize>,
    /// Samples whose largest output is that of their label, per class; outputs
    /// that are not numbers are wrong.
    pub correct: Vec<usize>,
}

impl Accuracy {
    /// No samples yet.
    pub(crate) fn new(classes: usize) -> Self {
        Self {
            count: vec![0; classes],
            correct: vec![0; classes],
        }
    }

    /// Counts a sample.
    pub(crate) fn add(&mut self, class: usize, correct: bool) {
        self.count[class] += 1;
        self.correct[class] += usize::from(correct);
    }

    /// All samples.
    pub fn total(&self) -> usize {
        self.count.iter().sum()
    }

    /// All correct samples.
    pub fn total_correct(&self) -> usize {
        self.correct.iter().sum()
    }

    /// Fraction correct.
    pub fn fraction(&self) -> f64 {
        self.total_correct() as f64 / self.total().max(1) as f64
    }
}

/// Why a model cannot be evaluated on a data set.
#[derive(Debug, Error)]
pub enum EvalError {
    /// The data set has no labels.
    #[error("the data has no labels: give a labels file or key in a data.toml")]
    NoLabels,
    /// The model has several inputs or outputs.
    #[error("only models of one input and one output can be evaluated, this one has {inputs} and {outputs}")]
    Arity {
        /// Inputs.
        inputs: usize,
        /// Outputs.
        outputs: usize,
    },
    /// Samples and model input differ in size.
    #[error("samples are {data:?}, the model takes {model}; for channels last, say layout = \"nhwc\" in a data.toml")]
    Shape {
        /// Shape of a sample.
        data: Vec<usize>,
        /// Shape of the model's input.
        model: secateur_runtime::Shape,
    },
    /// A label the model cannot give.
    #[error("sample {sample} has label {label}, the model has {outputs} outputs")]
    Label {
        /// Index of the sample.
        sample: usize,
        /// Its label.
        label: u32,
        /// Outputs of the model.
        outputs: usize,
    },
    /// The preprocessing does not fit the samples.
    #[error(transparent)]
    Preprocess(#[from] Defect),
    /// The model cannot be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The graph is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// Runs `model` on all samples, on all cores. `tick` is called after each sample.
///
/// # Errors
/// An [`EvalError`].
pub fn accuracy(
    model: &Model<'_>,
    engine: &Engine,
    dataset: &Dataset,
    preprocess: &Preprocess,
    tick: impl Fn() + Sync,
) -> Result<Accuracy, EvalError> {
    let labels = dataset.labels().ok_or(EvalError::NoLabels)?;
    Ok(predictions(model, engine, dataset, preprocess, tick)?.accuracy(labels))
}

/// A sample, and its class.
type Prediction = (usize, Option<usize>);

/// What a model makes of samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predictions {
    /// The class of each; `None` if an output is not a number.
    pub classes: Vec<Option<usize>>,
    /// How many the model knows.
    outputs: usize,
}

impl Predictions {
    /// Of a model that knows so many classes.
    pub(crate) fn new(classes: Vec<Option<usize>>, outputs: usize) -> Self {
        Self { classes, outputs }
    }

    /// How many samples another model puts in another class.
    pub fn differences(&self, other: &Self) -> usize {
        let pairs = self.classes.iter().zip(&other.classes);
        pairs.filter(|(own, other)| own != other).count()
    }

    /// How many are those of the labels.
    pub fn accuracy(&self, labels: &[u32]) -> Accuracy {
        let mut accuracy = Accuracy::new(self.outputs);
        for (class, &label) in self.classes.iter().zip(labels) {
            accuracy.add(label as usize, *class == Some(label as usize));
        }
        accuracy
    }
}

/// Runs `model` on all labelled samples, on all cores. `tick` is called after each sample.
///
/// # Errors
/// An [`EvalError`].
pub fn predictions(
    model: &Model<'_>,
    engine: &Engine,
    dataset: &Dataset,
    preprocess: &Preprocess,
    tick: impl Fn() + Sync,
) -> Result<Predictions, EvalError> {
    let (inputs, outputs) = (model.input_count(), model.outputs().len());
    let (1, Some(output), 1) = (inputs, model.outputs().next(), outputs) else {
        return Err(EvalError::Arity { inputs, outputs });
    };
    let classes = model.shape(output).elems();
    labels(dataset, preprocess, model.shape(secateur_runtime::ValueId(0)), classes)?;

    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<Prediction>, EvalError> {
        let mut arena = ArenaBuf::for_model(model);
        let mut session = engine.session(model, arena.as_mut())?;
        let mut results = Vec::new();
        loop {
            let sample = next.fetch_add(1, Ordering::Relaxed);
            if sample >= dataset.len() {
                return Ok(results);
            }
            let input = session.input_mut(0)?;
            input.copy_from_slice(dataset.input(sample));
            preprocess.apply(input, dataset.channels())?;
            session.run()?;
            results.push((sample, argmax(session.output(0)?)));
            tick();
        }
    };
    let threads = rayon::current_num_threads().min(dataset.len().max(1));
    let parts: Vec<Result<Vec<Prediction>, EvalError>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut found = vec![None; dataset.len()];
    for part in parts {
        for (sample, class) in part? {
            found[sample] = class;
        }
    }
    Ok(Predictions::new(found, classes))
}

/// The labels of a data set that fits an input and a number of classes.
///
/// # Errors
/// An [`EvalError`].
pub(crate) fn labels<'d>(
    dataset: &'d Dataset,
    preprocess: &Preprocess,
    input: secateur_runtime::Shape,
    classes: usize,
) -> Result<&'d [u32], EvalError> {
    let labels = dataset.labels().ok_or(EvalError::NoLabels)?;
    fits(dataset, preprocess, input)?;
    if let Some(sample) = labels.iter().position(|&label| label as usize >= classes) {
        return Err(EvalError::Label {
            sample,
            label: labels[sample],
            outputs: classes,
        });
    }
    Ok(labels)
}

/// Whether a data set fits an input.
///
/// # Errors
/// An [`EvalError`].
pub(crate) fn fits(
    dataset: &Dataset,
    preprocess: &Preprocess,
    input: secateur_runtime::Shape,
) -> Result<(), EvalError> {
    let dims: Vec<usize> = input.dims().iter().map(|&d| d as usize).collect();
    // A flat sample or a flat input leaves only one way to read the other.
    let same = dims == dataset.sample_shape() || dims.len() == 1 || dataset.sample_shape().len() == 1;
    if !same || input.elems() != dataset.features() {
        return Err(EvalError::Shape {
            data: dataset.sample_shape().to_vec(),
            model: input,
        });
    }
    Ok(preprocess.validate(dataset.channels())?)
}

/// Index of the largest output; the first of equals. None if one is not a number.
pub(crate) fn argmax(outputs: &[f32]) -> Option<usize> {
    let mut best = 0;
    for (i, y) in outputs.iter().enumerate() {
        if y.is_nan() {
            return None;
        }
        if *y > outputs[best] {
            best = i;
        }
    }
    Some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_of_one_accuracy_differ_image_by_image() {
        let labels = [0, 1, 1, 0];
        let [first, second] = [[Some(0), Some(0), Some(1), None], [Some(0), Some(1), Some(0), Some(1)]]
            .map(|classes| Predictions::new(classes.to_vec(), 2));
        assert_eq!(first.accuracy(&labels), second.accuracy(&labels));
        assert_eq!(first.differences(&second), 3);
        assert_eq!(first.differences(&first), 0);
    }
}
