//! A labelled data set in memory.

use super::error::Defect;
use std::ops::Range;

/// Samples of one shape, with or without class labels, all held in memory as `f32`.
///
/// Values are as stored in the file: a pixel byte becomes `0.0..=255.0`; see
/// [`Preprocess`](super::Preprocess) for what turns them into network inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    inputs: Vec<f32>,
    sample_shape: Vec<usize>,
    labels: Option<Vec<u32>>,
    class_names: Vec<String>,
}

impl Dataset {
    /// Makes a data set of `inputs` `[count, features]` in row-major order.
    ///
    /// `sample_shape` is the shape of one sample, channels first (`[3, 32, 32]`), and its product
    /// is `features`; `labels` holds one class number per sample.
    ///
    /// # Errors
    ///
    /// When there is no sample, a sample has no element, or the counts do not agree.
    pub fn new(inputs: Vec<f32>, sample_shape: Vec<usize>, labels: Option<Vec<u32>>) -> Result<Self, Defect> {
        let features = sample_shape
            .iter()
            .try_fold(1, |product: usize, &size| product.checked_mul(size))
            .filter(|&features| features > 0 && !sample_shape.is_empty())
            .ok_or_else(|| {
                Defect::new(
                    format!("a sample of shape {sample_shape:?} has no usable size"),
                    "store at least one value per sample",
                )
            })?;
        if inputs.is_empty() || !inputs.len().is_multiple_of(features) {
            return Err(Defect::new(
                format!(
                    "{} values do not make whole samples of shape {sample_shape:?}",
                    inputs.len()
                ),
                "store at least one sample, all of them with the same shape",
            ));
        }
        let count = inputs.len() / features;
        if let Some(labels) = &labels
            && labels.len() != count
        {
            return Err(Defect::new(
                format!("{} labels for {count} inputs", labels.len()),
                "give the labels that belong to these inputs, one for each",
            ));
        }
        Ok(Self {
            inputs,
            sample_shape,
            labels,
            class_names: Vec::new(),
        })
    }

    /// Names the classes; class `i` is called `names[i]`. An empty list names none.
    ///
    /// # Errors
    ///
    /// When a label has no name.
    pub fn with_class_names(mut self, names: Vec<String>) -> Result<Self, Defect> {
        let highest = self.labels().and_then(|labels| labels.iter().max());
        if let Some(&highest) = highest
            && !names.is_empty()
            && highest as usize >= names.len()
        {
            return Err(Defect::new(
                format!("label {highest} has no name among {} classes", names.len()),
                "list a name for every class in `class_names`, class 0 first",
            ));
        }
        self.class_names = names;
        Ok(self)
    }

    /// Number of samples, at least one.
    pub fn len(&self) -> usize {
        self.inputs.len() / self.features()
    }

    /// Always `false`: [`Dataset::new`] refuses an empty set.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// Shape of one sample, channels first: `[C, H, W]`, or `[F]` for flat features.
    pub fn sample_shape(&self) -> &[usize] {
        &self.sample_shape
    }

    /// Number of values in one sample, the product of [`Dataset::sample_shape`].
    pub fn features(&self) -> usize {
        self.sample_shape.iter().product()
    }

    /// Number of channels, the first size of [`Dataset::sample_shape`].
    ///
    /// Each value of a flat `[F]` sample counts as a channel of its own.
    pub fn channels(&self) -> usize {
        self.sample_shape[0]
    }

    /// Number of classes: that of the class names, else the highest label plus one.
    ///
    /// `None` without names and labels. Without names, a subset that misses the last classes
    /// reports fewer of them.
    pub fn classes(&self) -> Option<usize> {
        if !self.class_names.is_empty() {
            return Some(self.class_names.len());
        }
        let highest = *self.labels()?.iter().max()?;
        Some(highest as usize + 1)
    }

    /// Names of the classes by class number; empty when not known.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// All inputs, `[len, features]` in row-major order.
    pub fn inputs(&self) -> &[f32] {
        &self.inputs
    }

    /// All labels, `[len]`, if there are any.
    pub fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }

    /// Values of sample `i`, `[features]`.
    ///
    /// # Panics
    ///
    /// When `i >= len`, as indexing a slice does.
    pub fn input(&self, i: usize) -> &[f32] {
        self.samples().input(i)
    }

    /// Class number of sample `i`; `None` in a set without labels.
    ///
    /// # Panics
    ///
    /// When there are labels and `i >= len`, as indexing a slice does.
    pub fn label(&self, i: usize) -> Option<u32> {
        self.samples().label(i)
    }

    /// All samples as a view.
    pub fn samples(&self) -> Samples<'_> {
        Samples {
            inputs: &self.inputs,
            labels: self.labels(),
            features: self.features(),
        }
    }

    /// The samples of a range as a view, without copying.
    ///
    /// # Panics
    ///
    /// When the range does not lie within `0..len`, as slicing does.
    pub fn slice(&self, range: Range<usize>) -> Samples<'_> {
        self.samples().slice(range)
    }
}

/// A view of consecutive samples of a [`Dataset`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Samples<'a> {
    inputs: &'a [f32],
    labels: Option<&'a [u32]>,
    features: usize,
}

impl<'a> Samples<'a> {
    /// Number of samples in the view.
    pub fn len(&self) -> usize {
        self.inputs.len() / self.features
    }

    /// Whether the view holds no sample.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// The inputs, `[len, features]` in row-major order.
    pub fn inputs(&self) -> &'a [f32] {
        self.inputs
    }

    /// The labels, `[len]`, if there are any.
    pub fn labels(&self) -> Option<&'a [u32]> {
        self.labels
    }

    /// Values of sample `i` of the view, `[features]`.
    ///
    /// # Panics
    ///
    /// When `i >= len`, as indexing a slice does.
    pub fn input(&self, i: usize) -> &'a [f32] {
        &self.inputs[i * self.features..][..self.features]
    }

    /// Class number of sample `i` of the view; `None` in a set without labels.
    ///
    /// # Panics
    ///
    /// When there are labels and `i >= len`, as indexing a slice does.
    pub fn label(&self, i: usize) -> Option<u32> {
        self.labels.map(|labels| labels[i])
    }

    /// A part of the view.
    ///
    /// # Panics
    ///
    /// When the range does not lie within `0..len`, as slicing does.
    pub fn slice(&self, range: Range<usize>) -> Samples<'a> {
        Samples {
            inputs: &self.inputs[range.start * self.features..range.end * self.features],
            labels: self.labels.map(|labels| &labels[range]),
            features: self.features,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_pairs() -> Dataset {
        let inputs = vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        Dataset::new(inputs, vec![1, 1, 2], Some(vec![7, 8, 9])).unwrap()
    }

    #[test]
    fn accessors_agree_with_the_storage() {
        let set = three_pairs();
        assert_eq!((set.len(), set.features(), set.channels()), (3, 2, 1));
        assert_eq!((set.input(1), set.label(1)), (&[2.0, 3.0][..], Some(8)));
        assert_eq!(set.classes(), Some(10));
        let tail = set.slice(1..3);
        assert_eq!((tail.len(), tail.input(1)), (2, &[4.0, 5.0][..]));
        assert_eq!(tail.labels(), Some(&[8, 9][..]));
        assert_eq!(tail.slice(1..2).label(0), Some(9));
        assert!(tail.slice(0..0).is_empty());
    }

    #[test]
    fn counts_must_agree() {
        assert!(Dataset::new(vec![0.0; 5], vec![2], None).is_err());
        assert!(Dataset::new(vec![], vec![2], None).is_err());
        assert!(Dataset::new(vec![0.0], vec![], None).is_err());
        assert!(Dataset::new(vec![0.0], vec![0], None).is_err());
        assert!(Dataset::new(vec![0.0], vec![usize::MAX, 2], None).is_err());
        let error = Dataset::new(vec![0.0; 4], vec![2], Some(vec![0])).unwrap_err();
        assert!(error.problem.contains("1 labels for 2 inputs"), "{error}");
    }

    #[test]
    fn every_label_needs_a_name() {
        let names = |count: usize| (0..count).map(|i| i.to_string()).collect::<Vec<_>>();
        assert!(three_pairs().with_class_names(names(9)).is_err());
        let named = three_pairs().with_class_names(names(12)).unwrap();
        assert_eq!(named.classes(), Some(12));
        assert!(three_pairs().with_class_names(vec![]).is_ok());
    }
}
