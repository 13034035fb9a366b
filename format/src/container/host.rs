//! The sections that only a host needs: names, preprocessing, info, tuning.

use super::sections::{Section, Sections};
use crate::bytes::Fields;
use crate::{FormatError, Place, Problem};

/// Checks the host sections that are there, for a graph of `values` values and `nodes` nodes
/// whose input 0 has `channels` channels.
pub(super) fn check(sections: &Sections<'_>, values: usize, nodes: usize, channels: u32) -> Result<(), FormatError> {
    let fail = |section: Section| move |problem| FormatError::new(Place::Section(section as u32), problem);
    if let Some(bytes) = sections.get(Section::Names) {
        check_names(bytes, values).map_err(fail(Section::Names))?;
    }
    if let Some(bytes) = sections.get(Section::Preprocess) {
        let preprocess = PreprocessView::split(bytes);
        preprocess
            .and_then(|view| view.check(channels))
            .map_err(fail(Section::Preprocess))?;
    }
    if let Some(bytes) = sections.get(Section::Info) {
        check_info(bytes).map_err(fail(Section::Info))?;
    }
    if let Some(bytes) = sections.get(Section::Tuning) {
        let tuning = TuningView::split(bytes);
        tuning
            .and_then(|view| view.check(nodes))
            .map_err(fail(Section::Tuning))?;
    }
    Ok(())
}

/// One name per value.
fn check_names(bytes: &[u8], values: usize) -> Result<(), Problem> {
    let mut names = Strings { bytes };
    let found = names.by_ref().take(values).count();
    if found < values {
        return Err(Problem::Count {
            expected: values as u32,
            found: found as u32,
        });
    }
    check_strings_end(names.bytes)
}

/// Keys and values in turn.
fn check_info(bytes: &[u8]) -> Result<(), Problem> {
    let mut strings = Strings { bytes };
    let found = strings.by_ref().count() as u32;
    check_strings_end(strings.bytes)?;
    if found.is_multiple_of(2) {
        Ok(())
    } else {
        Err(Problem::Count {
            expected: found + 1,
            found,
        })
    }
}

/// Length-prefixed UTF-8 strings, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Strings<'a> {
    pub(super) bytes: &'a [u8],
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let mut fields = Fields::new(self.bytes);
        let len = fields.u16()?;
        let text = core::str::from_utf8(fields.take(len.into())?).ok()?;
        self.bytes = fields.rest();
        Some(text)
    }
}

/// What is left when no further string could be read.
fn check_strings_end(rest: &[u8]) -> Result<(), Problem> {
    if rest.is_empty() { Ok(()) } else { Err(Problem::Utf8) }
}

/// How graph input 0 is prepared: `(x · scale − mean) / std`, per channel.
#[derive(Clone, Copy, Debug)]
pub struct PreprocessView<'a> {
    /// Factor applied first.
    pub scale: f32,
    mean: &'a [u8],
    std: &'a [u8],
}

impl<'a> PreprocessView<'a> {
    pub(super) fn split(bytes: &'a [u8]) -> Result<Self, Problem> {
        let found = bytes.len() as u64;
        let mut fields = Fields::new(bytes);
        let (Some(scale), Some([means, stds])) = (fields.f32(), fields.array(Fields::u16)) else {
            return Err(Problem::Truncated { needed: 8, found });
        };
        let (mean, std) = (fields.take(4 * usize::from(means)), fields.take(4 * usize::from(stds)));
        match (mean, std, fields.rest()) {
            (Some(mean), Some(std), []) => Ok(Self { scale, mean, std }),
            _ => Err(Problem::Length {
                expected: 8 + 4 * (u64::from(means) + u64::from(stds)),
                found,
            }),
        }
    }

    /// Checks the numbers, and that there are none, one, or one per channel.
    fn check(&self, channels: u32) -> Result<(), Problem> {
        for list in [self.mean, self.std] {
            let found = (list.len() / 4) as u32;
            if found > 1 && found != channels {
                return Err(Problem::Count {
                    expected: channels,
                    found,
                });
            }
        }
        let mut factors = self.std().chain([self.scale]);
        if self.mean().any(|x| !x.is_finite()) || factors.any(|x| !x.is_finite() || x == 0.0) {
            return Err(Problem::NotFinite);
        }
        Ok(())
    }

    /// Subtracted per channel: one for all channels, one each, or none (0).
    pub fn mean(&self) -> impl Iterator<Item = f32> + use<'a> {
        floats(self.mean)
    }

    /// Divisor per channel, never 0: one for all channels, one each, or none (1).
    pub fn std(&self) -> impl Iterator<Item = f32> + use<'a> {
        floats(self.std)
    }
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> + use<'_> {
    bytes
        .chunks_exact(4)
        .map(|b| b.first_chunk().map_or(0.0, |b| f32::from_le_bytes(*b)))
}

/// What was fastest, on the machine where it was measured.
#[derive(Clone, Copy, Debug)]
pub struct TuningView<'a> {
    /// The machine.
    pub machine: &'a str,
    nodes: &'a [u8],
}

/// What was fastest for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunedNode<'a> {
    /// Index of the node.
    pub node: u16,
    /// Vectors of a panel; 0 for kernels without panels.
    pub vectors: u16,
    /// Weight columns of a window; 0 for kernels without windows.
    pub window: u32,
    /// Name of the kernel.
    pub kernel: &'a str,
}

impl<'a> TuningView<'a> {
    pub(super) fn split(bytes: &'a [u8]) -> Result<Self, Problem> {
        let mut strings = Strings { bytes };
        let machine = strings.next().ok_or(Problem::Utf8)?;
        let nodes = strings.bytes;
        Ok(Self { machine, nodes })
    }

    /// Checks that nodes exist and ascend, and that nothing follows them.
    fn check(&self, nodes: usize) -> Result<(), Problem> {
        let (mut rest, mut least) = (self.nodes, 0);
        while !rest.is_empty() {
            let (tuned, tail) = take_tuned(rest).ok_or(Problem::Utf8)?;
            let found = u32::from(tuned.node);
            if found < least {
                return Err(Problem::NotAscending { found });
            }
            if found as usize >= nodes {
                let bound = nodes as u32;
                return Err(Problem::Index { bound, found });
            }
            (rest, least) = (tail, found + 1);
        }
        Ok(())
    }

    /// What was fastest for each node that was measured, by node.
    pub fn nodes(&self) -> impl Iterator<Item = TunedNode<'a>> + use<'a> {
        let mut rest = self.nodes;
        core::iter::from_fn(move || {
            let (tuned, tail) = take_tuned(rest)?;
            rest = tail;
            Some(tuned)
        })
    }
}

/// The first node, and what follows it.
fn take_tuned(bytes: &[u8]) -> Option<(TunedNode<'_>, &[u8])> {
    let mut fields = Fields::new(bytes);
    let (node, vectors, window) = (fields.u16()?, fields.u16()?, fields.u32()?);
    let mut strings = Strings { bytes: fields.rest() };
    let kernel = strings.next()?;
    let tuned = TunedNode {
        node,
        vectors,
        window,
        kernel,
    };
    Some((tuned, strings.bytes))
}
