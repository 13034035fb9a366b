//! What weights of other patterns and sparsities would do, predicted on weights that are made up.

use secateur_format::encoding::{BlockIndex, Encoding};
use secateur_runtime::kernel::panel::Rows;
use secateur_runtime::prepared::{Options, Task};

use crate::mask::Pattern;

/// The patterns whose speed differs.
pub const PATTERNS: [Pattern; 4] = [
    Pattern::Unstructured,
    Pattern::Block { r: 2, c: 1 },
    Pattern::Block { r: 4, c: 1 },
    Pattern::Block { r: 8, c: 1 },
];

/// The sparsity that is looked at for layers that have less than [`LEAST`].
const USUAL: f64 = 0.9;
const LEAST: f64 = 0.1;
/// The highest sparsity that may break even.
const MOST: f64 = 0.99;
/// Halvings of the interval: sparsities to a percent.
const STEPS: usize = 7;

/// What a pattern would do for a layer.
#[derive(Clone, Copy, Debug)]
pub struct Outlook {
    /// The pattern.
    pub pattern: Pattern,
    /// From this sparsity on the layer is predicted to be faster than with dense weights; `None` if never.
    pub break_even: Option<f64>,
    /// A sparsity: the layer's own, or a usual one if it has hardly any.
    pub sparsity: f64,
    /// How many times faster than with dense weights it is predicted to be at that sparsity.
    pub speedup: f64,
}

/// What each pattern that divides the layer would do; nothing without kernels for sparse weights.
pub fn outlooks(task: &Task<'_>, options: &Options) -> Vec<Outlook> {
    let weights = (task.rows.len() * task.rows.cols()).max(1);
    let own = 1.0 - task.rows.nnz() as f64 / weights as f64;
    let sparsity = if own < LEAST { USUAL } else { own };
    let candidates = task.candidates(options);
    let Some(dense) = candidates.iter().find(|candidate| candidate.is_dense()) else {
        return Vec::new();
    };
    let fitting = PATTERNS.into_iter().filter_map(|pattern| {
        let layer = Pruned { task, options, pattern };
        let group_rows = task.rows.len() / task.groups.max(1);
        if !group_rows.is_multiple_of(layer.height()) {
            return None;
        }
        let time = layer.predicted_ns(sparsity)?;
        Some(Outlook {
            pattern,
            break_even: layer.break_even(dense.predicted_ns),
            sparsity,
            speedup: dense.predicted_ns / time,
        })
    });
    fitting.collect()
}

/// A layer with other weights.
struct Pruned<'t> {
    task: &'t Task<'t>,
    options: &'t Options,
    pattern: Pattern,
}

impl Pruned<'_> {
    fn height(&self) -> usize {
        match self.pattern {
            Pattern::Block { r, .. } => r.into(),
            _ => 1,
        }
    }

    /// Time of the best sparse kernel.
    fn predicted_ns(&self, sparsity: f64) -> Option<f64> {
        let (rows, cols) = (self.task.rows.len(), self.task.rows.cols());
        let rows = Rows::random(rows, cols, self.height(), sparsity);
        let encoding = match self.pattern {
            Pattern::Block { r, c } => Encoding::Block {
                r,
                c,
                index: BlockIndex::Win8,
            },
            _ => Encoding::Csr16,
        };
        let task = Task {
            rows: &rows,
            encoding,
            ..*self.task
        };
        let candidates = task.candidates(self.options);
        let sparse = candidates.iter().find(|candidate| !candidate.is_dense());
        sparse.map(|candidate| candidate.predicted_ns)
    }

    /// The sparsity at which the sparse kernels take as long as the dense one does.
    fn break_even(&self, dense_ns: f64) -> Option<f64> {
        let faster = |sparsity: f64| self.predicted_ns(sparsity).is_some_and(|ns| ns < dense_ns);
        let (mut slow, mut fast) = (0.0, MOST);
        if !faster(fast) {
            return None;
        }
        for _ in 0..STEPS {
            let middle = f64::midpoint(slow, fast);
            match faster(middle) {
                true => fast = middle,
                false => slow = middle,
            }
        }
        Some(fast)
    }
}
