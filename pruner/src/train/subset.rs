//! Parts of a data set: what the beginning of a training sees, and classes that are cut.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::data::shuffled;
use super::random::{Purpose, stream};
use crate::data::Dataset;

/// Some of the samples of a data set (arXiv 2206.01278).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Subset {
    /// How many samples; must be given.
    pub size: usize,
    /// Which.
    pub take: Take,
    /// How hard each sample is, as `secateur difficulty` writes it; for `easiest` and `hardest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<PathBuf>,
    /// How many come before the first that is taken.
    pub offset: usize,
    /// Whether as many are taken of every class, `offset` then being within each.
    pub balanced: bool,
}

/// The order in which samples are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Take {
    /// At random, by the seed.
    #[default]
    Random,
    /// The lowest scores first.
    Easiest,
    /// The highest scores first.
    Hardest,
}

/// The samples of the first steps of a training, if they are not all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diet {
    /// How many steps.
    pub steps: u64,
    /// Which samples; at least one.
    pub samples: Vec<usize>,
}

/// Why samples cannot be chosen as asked.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SubsetError {
    /// Not one score per sample.
    #[error("data.subset.scores holds {scores} numbers for {samples} samples: score the same samples")]
    Scores {
        /// Numbers.
        scores: usize,
        /// Samples.
        samples: usize,
    },
    /// A score that no other can be compared with.
    #[error("data.subset.scores holds no number for sample {0}: score the samples again")]
    NaN(usize),
    /// Not enough samples.
    #[error(
        "data.subset takes {wanted} samples from the {offset}th on {of}, which has {count}: give another size or offset"
    )]
    Few {
        /// How many are asked for.
        wanted: usize,
        /// How many come before them.
        offset: usize,
        /// Of what.
        of: String,
        /// How many there are.
        count: usize,
    },
    /// Samples without labels have no classes.
    #[error("the data has no labels, so no classes to {0}: give a labels file or key in a data.toml")]
    NoLabels(&'static str),
    /// A class that no sample has.
    #[error("data.shares: there is no class `{name}` in the data; the classes are {classes}")]
    Class {
        /// As it was called.
        name: String,
        /// All of them.
        classes: String,
    },
}

impl Subset {
    /// The samples, in the order in which they are taken; `scores` has one number per sample.
    ///
    /// # Errors
    /// A [`SubsetError`].
    pub fn choose(&self, dataset: &Dataset, scores: Option<&[f32]>, seed: u64) -> Result<Vec<usize>, SubsetError> {
        let ranked = self.ranked(dataset.len(), scores, seed)?;
        if !self.balanced {
            return self.part(ranked, self.size, || "of the data".into());
        }
        let labels = dataset.labels().ok_or(SubsetError::NoLabels("balance"))?;
        let classes = counts(labels);
        let mut chosen = Vec::with_capacity(self.size);
        for &class in classes.keys() {
            let own = ranked.iter().copied().filter(|&sample| labels[sample] == class);
            chosen.extend(self.part(own.collect(), self.size / classes.len(), || format!("of class {class}"))?);
        }
        Ok(chosen)
    }

    fn ranked(&self, samples: usize, scores: Option<&[f32]>, seed: u64) -> Result<Vec<usize>, SubsetError> {
        if self.take == Take::Random {
            return Ok(shuffled(stream(seed, Purpose::Subset, 0, 0), samples));
        }
        let scores = scores.unwrap_or_default();
        if scores.len() != samples {
            let scores = scores.len();
            return Err(SubsetError::Scores { scores, samples });
        }
        if let Some(sample) = scores.iter().position(|score| score.is_nan()) {
            return Err(SubsetError::NaN(sample));
        }
        let mut ranked: Vec<usize> = (0..samples).collect();
        // Stable: equal scores keep their order.
        ranked.sort_by(|&a, &b| match self.take {
            Take::Hardest => scores[b].total_cmp(&scores[a]),
            _ => scores[a].total_cmp(&scores[b]),
        });
        Ok(ranked)
    }

    fn part(&self, ranked: Vec<usize>, wanted: usize, of: impl Fn() -> String) -> Result<Vec<usize>, SubsetError> {
        let chosen = ranked.get(self.offset..self.offset.saturating_add(wanted));
        match chosen.filter(|chosen| !chosen.is_empty()) {
            Some(chosen) => Ok(chosen.to_vec()),
            None => Err(SubsetError::Few {
                wanted,
                offset: self.offset,
                of: of(),
                count: ranked.len(),
            }),
        }
    }
}

/// The samples that stay, in their order, when of the classes in `shares` (by number or name) only so much is kept:
/// `round(share · count)` samples, drawn by the seed.
///
/// # Errors
/// A [`SubsetError`].
pub fn cut(dataset: &Dataset, shares: &BTreeMap<String, f64>, seed: u64) -> Result<Vec<usize>, SubsetError> {
    let labels = dataset.labels().ok_or(SubsetError::NoLabels("cut"))?;
    let (counts, names) = (counts(labels), dataset.class_names());
    let mut keep = vec![true; labels.len()];
    for (name, &share) in shares {
        let class = names.iter().position(|own| own == name).map(|class| class as u32);
        let class = class.or(name.parse().ok()).filter(|class| counts.contains_key(class));
        let Some(class) = class else {
            let classes: Vec<String> = counts.keys().map(u32::to_string).chain(names.iter().cloned()).collect();
            return Err(SubsetError::Class {
                name: name.clone(),
                classes: classes.join(", "),
            });
        };
        let own: Vec<usize> = (0..labels.len()).filter(|&sample| labels[sample] == class).collect();
        let order = shuffled(stream(seed, Purpose::Subset, 1, class.into()), own.len());
        let kept = (share * own.len() as f64).round() as usize;
        order.into_iter().skip(kept).for_each(|index| keep[own[index]] = false);
    }
    Ok((0..keep.len()).filter(|&sample| keep[sample]).collect())
}

/// How many samples each class has.
fn counts(labels: &[u32]) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    labels.iter().for_each(|&label| *counts.entry(label).or_default() += 1);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subset(size: usize, offset: usize, take: Take) -> Subset {
        Subset {
            size,
            take,
            offset,
            ..Subset::default()
        }
    }

    fn dataset(labels: &[u32]) -> Dataset {
        Dataset::new(vec![0.0; labels.len()], vec![1], Some(labels.to_vec())).unwrap()
    }

    /// algorithms.md 5.6
    #[test]
    fn the_easiest_from_an_offset_on() {
        let (data, scores) = (dataset(&[0; 4]), [0.9, 0.1, 0.5, 0.3]);
        let chosen = |take| subset(2, 1, take).choose(&data, Some(&scores), 0).unwrap();
        assert_eq!(chosen(Take::Easiest), [3, 2]);
        assert_eq!(chosen(Take::Hardest), [2, 3]);
    }

    #[test]
    fn random_samples_follow_from_the_seed_and_are_all_different() {
        let data = dataset(&[0; 50]);
        let chosen = |seed| subset(20, 0, Take::Random).choose(&data, None, seed).unwrap();
        assert_eq!(chosen(1), chosen(1));
        assert_ne!(chosen(1), chosen(2));
        let mut first = chosen(1);
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 20);
    }

    #[test]
    fn balanced_subsets_have_as_many_of_every_class() {
        let data = dataset(&[2, 0, 2, 0, 2, 0, 0, 0]);
        let scores = [0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1];
        let mut easy = subset(4, 1, Take::Easiest);
        easy.balanced = true;
        assert_eq!(easy.choose(&data, Some(&scores), 0).unwrap(), [6, 5, 2, 0]);
        easy.size = 6;
        let error = easy.choose(&data, Some(&scores), 0).unwrap_err();
        assert!(error.to_string().contains("of class 2, which has 3"), "{error}");
    }

    #[test]
    fn what_cannot_be_chosen_is_refused() {
        let data = dataset(&[0, 1, 1]);
        let easy = |size, scores: &[f32]| {
            subset(size, 0, Take::Easiest)
                .choose(&data, Some(scores), 0)
                .unwrap_err()
        };
        assert_eq!(easy(1, &[0.5]), SubsetError::Scores { scores: 1, samples: 3 });
        assert_eq!(easy(1, &[0.5, f32::NAN, 0.1]), SubsetError::NaN(1));
        assert!(matches!(easy(4, &[0.5, 0.2, 0.1]), SubsetError::Few { count: 3, .. }));
    }

    #[test]
    fn a_class_is_cut_to_its_share() {
        let labels: Vec<u32> = (0..60).map(|sample| sample % 3).collect();
        let named = dataset(&labels)
            .with_class_names(["a", "b", "c"].map(String::from).to_vec())
            .unwrap();
        let cut = |name: &str, share, seed| cut(&named, &[(name.to_owned(), share)].into(), seed);
        let found = cut("b", 0.25, 1).unwrap();
        let of = |class| found.iter().filter(|&&sample| labels[sample] == class).count();
        assert_eq!([of(0), of(1), of(2)], [20, 5, 20]);
        assert!(found.is_sorted());
        assert_eq!(found, cut("1", 0.25, 1).unwrap());
        assert_ne!(found, cut("1", 0.25, 2).unwrap());
        let error = cut("d", 0.25, 1).unwrap_err().to_string();
        assert!(error.contains("0, 1, 2, a, b, c"), "{error}");
    }
}
