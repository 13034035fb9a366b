//! Patterns: the units that are pruned as a whole.

use std::fmt;
use std::str::FromStr;

use crate::layer::Layer;

/// The shape of what is pruned together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Single weights.
    Unstructured,
    /// At most `n` weights stay in each `m` consecutive input channels of one
    /// kernel position (arXiv 2104.08378).
    Nm {
        /// Weights kept.
        n: u8,
        /// Weights of a group.
        m: u8,
    },
    /// Blocks of `r` output rows by `c` input channels of one kernel position.
    Block {
        /// Rows.
        r: u8,
        /// Channels.
        c: u8,
    },
    /// The two-dimensional kernels of convolutions, one per output and input channel (arXiv 1705.08922); in linear
    /// layers single weights.
    Kernel,
}

/// Why a pattern does not fit a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// What is not divisible.
    pub reason: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Pattern {
    /// Checks that the layer's channels and rows are divisible.
    ///
    /// # Errors
    /// A [`Misfit`] that says what is not.
    pub fn fits(self, layer: &Layer) -> Result<(), Misfit> {
        let (r, c) = self.extents();
        let reason = if !layer.group_rows.is_multiple_of(r.into()) {
            let of_group = if layer.group_rows < layer.rows {
                " of a group"
            } else {
                ""
            };
            format!("{} output rows{of_group} are not divisible by {r}", layer.group_rows)
        } else if !layer.channels.is_multiple_of(c.into()) {
            format!("{} input channels are not divisible by {c}", layer.channels)
        } else {
            return Ok(());
        };
        Err(Misfit { reason })
    }

    /// Rows and columns of what is pruned as a whole; for N:M, of a group.
    pub(crate) fn extents(self) -> (u8, u8) {
        match self {
            Self::Unstructured | Self::Kernel => (1, 1),
            Self::Nm { m, .. } => (1, m),
            Self::Block { r, c } => (r, c),
        }
    }

    /// The sparsity the pattern itself fixes.
    pub fn fixed_sparsity(self) -> Option<f64> {
        match self {
            Self::Nm { n, m } => Some(1.0 - f64::from(n) / f64::from(m)),
            _ => None,
        }
    }

    /// The weights of each unit, as flat indices, units in row-major order.
    /// For N:M, the groups.
    pub(super) fn units(self, layer: &Layer) -> Units {
        let (r, c) = self.extents();
        Units {
            r: r.into(),
            c: c.into(),
            positions: match self {
                Self::Kernel => (layer.cols / layer.channels.max(1)) as usize,
                _ => 1,
            },
            rows: layer.rows as usize,
            cols: layer.cols as usize,
        }
    }
}

/// The division of a matrix into blocks of `r` × `c`, at one kernel position each or at all `positions`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    r: usize,
    c: usize,
    positions: usize,
    rows: usize,
    cols: usize,
}

impl Units {
    pub(super) fn count(&self) -> usize {
        (self.rows / self.r) * (self.cols / (self.c * self.positions))
    }

    /// Rows of units: the fewest units that leave every output an input.
    pub(super) fn block_rows(&self) -> usize {
        self.rows / self.r
    }

    /// Weights of a unit.
    pub(super) fn size(&self) -> usize {
        self.r * self.c * self.positions
    }

    /// Flat indices of the weights of unit `i`.
    pub(super) fn members(&self, i: usize) -> impl Iterator<Item = usize> + use<> {
        let Self {
            r, c, positions, cols, ..
        } = *self;
        let between = cols / positions;
        let per_row = between / c;
        let first = i / per_row * r * cols + i % per_row * c;
        let rows = (0..r).flat_map(move |y| (0..positions).map(move |at| first + y * cols + at * between));
        rows.flat_map(move |first| (0..c).map(move |x| first + x))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unstructured => f.write_str("unstructured"),
            Self::Nm { n, m } => write!(f, "{n}:{m}"),
            Self::Block { r, c } => write!(f, "{r}x{c}"),
            Self::Kernel => f.write_str("kernel"),
        }
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || {
            format!(
                "`{text}` is not a pattern: use `unstructured`, `kernel`, N:M with 1 <= N < M <= 16 (such as 2:4), \
                 or RxC with R and C out of 1, 2, 4, 8, 16 (such as 4x1)"
            )
        };
        if matches!(text, "unstructured" | "1x1") {
            return Ok(Self::Unstructured);
        }
        if text == "kernel" {
            return Ok(Self::Kernel);
        }
        let pair = |separator: char| -> Option<(u8, u8)> {
            let (a, b) = text.split_once(separator)?;
            Some((a.parse().ok()?, b.parse().ok()?))
        };
        if let Some((n, m)) = pair(':').filter(|&(n, m)| n >= 1 && n < m && m <= 16) {
            return Ok(Self::Nm { n, m });
        }
        let extent = |x: u8| matches!(x, 1 | 2 | 4 | 8 | 16);
        let (r, c) = pair('x').filter(|&(r, c)| extent(r) && extent(c)).ok_or_else(usage)?;
        Ok(Self::Block { r, c })
    }
}
