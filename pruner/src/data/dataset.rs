//! A labelled data set in memory.

use super::error::Defect;

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

    /// Some of the samples, in this order.
    ///
    /// # Errors
    ///
    /// When there are none.
    ///
    /// # Panics
    ///
    /// When an index is not below [`Dataset::len`], as indexing a slice does.
    pub fn select(&self, indices: &[usize]) -> Result<Self, Defect> {
        let inputs = indices.iter().flat_map(|&i| self.input(i)).copied().collect();
        let labels = self.labels().map(|labels| indices.iter().map(|&i| labels[i]).collect());
        let chosen = Self::new(inputs, self.sample_shape.clone(), labels)?;
        chosen.with_class_names(self.class_names.clone())
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
        &self.inputs[i * self.features()..][..self.features()]
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
        assert_eq!((set.input(1), set.labels()), (&[2.0, 3.0][..], Some(&[7, 8, 9][..])));
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
        assert!(three_pairs().with_class_names(names(12)).is_ok());
        assert!(three_pairs().with_class_names(vec![]).is_ok());
    }
}
