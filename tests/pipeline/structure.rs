//! What pruning must have done to the weights, checked from the weights alone.

use secateur::mask::Pattern;
use secateur::prune::PruneReport;
use secateur_format::Op;
use secateur_format::graph::Graph;

/// A layer's weights before and after, with its extents.
struct Layer<'a> {
    name: &'a str,
    before: &'a [f32],
    after: &'a [f32],
    cols: usize,
    /// Input channels of one kernel position.
    channels: usize,
    /// Outputs that read the same inputs.
    group_rows: usize,
}

/// A unit of the pattern: how much it weighed, and what became of it.
struct Unit {
    layer: usize,
    score: f64,
    pruned: bool,
}

fn layers<'a>(before: &'a Graph, after: &'a Graph) -> Vec<Layer<'a>> {
    let weighted = |node: &'a secateur_format::graph::NodeDef| {
        let id = node.op.weight()?;
        let (old, new) = (before.tensor(id)?, after.tensor(id)?);
        let (cols, rows) = (old.cols as usize, old.rows as usize);
        let (channels, group_rows) = match &node.op {
            Op::Conv2d(conv) => {
                let positions = usize::from(conv.kernel[0]) * usize::from(conv.kernel[1]);
                (cols / positions, rows / conv.groups as usize)
            }
            _ => (cols, rows),
        };
        Some(Layer {
            name: &node.name,
            before: &old.data,
            after: &new.data,
            cols,
            channels,
            group_rows,
        })
    };
    before.nodes.iter().filter_map(weighted).collect()
}

/// Rows and channels of a unit.
fn extent(pattern: Pattern) -> (usize, usize) {
    match pattern {
        Pattern::Unstructured => (1, 1),
        Pattern::Nm { m, .. } => (1, m.into()),
        Pattern::Block { r, c } => (r.into(), c.into()),
        Pattern::Kernel => panic!("the units of kernels are not contiguous: `pruner` tests them itself"),
    }
}

impl Layer<'_> {
    fn fits(&self, pattern: Pattern) -> bool {
        let (r, c) = extent(pattern);
        self.group_rows.is_multiple_of(r) && self.channels.is_multiple_of(c)
    }

    /// Old and new weights of each unit. A unit lies in one kernel position and one group,
    /// because its extent divides those of both.
    fn units(&self, pattern: Pattern) -> impl Iterator<Item = Vec<(f32, f32)>> {
        let (r, c) = extent(pattern);
        let rows = self.before.len() / self.cols;
        let at = move |i: usize| (self.before[i], self.after[i]);
        (0..rows).step_by(r).flat_map(move |row| {
            (0..self.cols).step_by(c).map(move |col| {
                let lines = row..row + r;
                lines
                    .flat_map(|y| (col..col + c).map(move |x| at(y * self.cols + x)))
                    .collect()
            })
        })
    }
}

/// Checks the graph pruned globally by magnitude: pattern, share, order, and the report.
pub(crate) fn check(
    before: &Graph,
    after: &Graph,
    pattern: Pattern,
    sparsity: f64,
    substitute: bool,
    report: &PruneReport,
) {
    let layers = layers(before, after);
    assert_eq!(layers.len(), report.layers.len());
    check_report(&layers, report);
    let mut pool = Vec::new();
    for (index, (layer, row)) in layers.iter().zip(&report.layers).enumerate() {
        let name = layer.name;
        let kept_or_zero = layer
            .before
            .iter()
            .zip(layer.after)
            .all(|(old, new)| new == old || *new == 0.0);
        assert!(kept_or_zero, "{name}: a weight that was kept has changed");
        let applied = match (layer.fits(pattern), substitute) {
            (true, _) => Some(pattern),
            (false, true) => Some(Pattern::Unstructured),
            (false, false) => None,
        };
        assert_eq!(row.pattern, applied.map(|p| p.to_string()), "{name}");
        match applied {
            None => assert_eq!(layer.before, layer.after, "{name} should be dense"),
            Some(Pattern::Nm { n, .. }) => check_nm(layer, pattern, n.into()),
            Some(Pattern::Unstructured) if matches!(pattern, Pattern::Nm { .. }) => check_alone(layer, sparsity),
            Some(applied) => pool.extend(units(index, layer, applied)),
        }
    }
    check_pool(&layers, pool, sparsity, report);
}

/// At most `n` of each group, and those the largest.
fn check_nm(layer: &Layer<'_>, pattern: Pattern, n: usize) {
    for group in layer.units(pattern) {
        let kept = group.iter().filter(|(_, new)| *new != 0.0);
        let lost = group.iter().filter(|(_, new)| *new == 0.0);
        assert!(kept.clone().count() <= n, "{}: {group:?}", layer.name);
        let nonzero = group.iter().filter(|(old, _)| *old != 0.0).count();
        assert_eq!(kept.clone().count(), n.min(nonzero), "{}: {group:?}", layer.name);
        let least = kept.map(|(old, _)| old.abs()).fold(f32::INFINITY, f32::min);
        assert!(
            lost.clone().all(|(old, _)| old.abs() <= least),
            "{}: {group:?}",
            layer.name
        );
    }
}

/// Single weights of one layer, to its own share.
fn check_alone(layer: &Layer<'_>, sparsity: f64) {
    let zeros = layer.after.iter().filter(|&&w| w == 0.0).count() as f64;
    let off = zeros - sparsity * layer.after.len() as f64;
    assert!(off.abs() <= 1.0, "{}: {off} weights off", layer.name);
}

/// The units of a layer, each all zero or untouched.
fn units(index: usize, layer: &Layer<'_>, pattern: Pattern) -> Vec<(usize, Unit)> {
    let as_unit = |weights: Vec<(f32, f32)>| {
        let pruned = weights.iter().all(|(_, new)| *new == 0.0);
        let kept = weights.iter().all(|(old, new)| old == new);
        assert!(pruned || kept, "{}: half a unit is pruned", layer.name);
        let sum: f64 = weights.iter().map(|(old, _)| f64::from(old.abs())).sum();
        let unit = Unit {
            layer: index,
            score: sum / weights.len() as f64,
            pruned,
        };
        (weights.len(), unit)
    };
    layer.units(pattern).map(as_unit).collect()
}

/// The share over the whole pool, its order (what was pruned weighed no more than what was kept,
/// except in layers that were kept from becoming empty), and that no layer is empty.
fn check_pool(layers: &[Layer<'_>], pool: Vec<(usize, Unit)>, sparsity: f64, report: &PruneReport) {
    let Some(largest) = pool.iter().map(|(weights, _)| *weights).max() else {
        return;
    };
    let total: usize = pool.iter().map(|(weights, _)| weights).sum();
    let pruned: usize = pool
        .iter()
        .filter(|(_, unit)| unit.pruned)
        .map(|(weights, _)| weights)
        .sum();
    let off = pruned as f64 - sparsity * total as f64;
    assert!(off.abs() <= largest as f64, "{off} weights off in a pool of {total}");

    let guarded = |unit: &Unit| {
        let note = report.layers[unit.layer].note.as_deref().unwrap_or_default();
        note.contains("kept") && note.contains("connected")
    };
    let free: Vec<&(usize, Unit)> = pool.iter().filter(|(_, unit)| !guarded(unit)).collect();
    let kept = free.iter().filter(|(_, unit)| !unit.pruned);
    if let Some((weights, lightest)) = kept.min_by(|a, b| a.1.score.total_cmp(&b.1.score)) {
        // A unit larger than what was left to prune stays, and smaller ones may go in its place.
        let score = lightest.score * (1.0 + 1e-12);
        let heavier = free.iter().filter(|(_, unit)| unit.pruned && unit.score > score);
        let substitutes: usize = heavier.map(|(weights, _)| weights).sum();
        assert!(substitutes < *weights, "{substitutes} weights above {score} pruned");
    }
    for (index, layer) in layers.iter().enumerate() {
        assert!(
            layer.after.iter().any(|&w| w != 0.0),
            "{} is empty",
            report.layers[index].name
        );
    }
}

fn check_report(layers: &[Layer<'_>], report: &PruneReport) {
    let zeros = |weights: &[f32]| weights.iter().filter(|&&w| w == 0.0).count();
    let (mut all_zeros, mut all) = (0, 0);
    for (layer, row) in layers.iter().zip(&report.layers) {
        assert_eq!(row.name, layer.name);
        assert_eq!(
            (row.zeros, row.weights),
            (zeros(layer.after), layer.after.len()),
            "{}",
            row.name
        );
        all_zeros += row.zeros;
        all += row.weights;
    }
    assert!((report.sparsity - all_zeros as f64 / all as f64).abs() < 1e-12);
}

#[test]
fn the_checks_see_errors() {
    use secateur::criterion::Criterion;
    use secateur::mask::{Bounds, Scope};
    use secateur::prune::{Fallback, PruneOptions, prune};

    let before = crate::support::graph("ad01");
    let mut after = before.clone();
    let pattern = Pattern::Unstructured;
    let options = PruneOptions {
        sparsity: Some(0.5),
        alpha: None,
        pattern,
        criterion: Criterion::default(),
        scope: Scope::Global,
        fallback: Fallback::Dense,
        bounds: Bounds::default(),
        rules: Vec::new(),
        seed: 0,
    };
    let report = prune(&mut after, &options, None).unwrap();
    let passes = |after: &Graph, pattern: Pattern, sparsity: f64| {
        let run = || check(&before, after, pattern, sparsity, false, &report);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_ok()
    };
    assert!(passes(&after, pattern, 0.5));
    assert!(!passes(&after, pattern, 0.501));
    for text in ["2:4", "4x1"] {
        assert!(!passes(&after, text.parse().unwrap(), 0.5), "{text}");
    }
    // Another weight kept than should be, at the same count; then a weight changed.
    let id = usize::from(layer_tensor(&after).0);
    let (zero, kept) = {
        let data = &after.tensors[id].data;
        let largest = (0..data.len()).max_by(|&a, &b| data[a].abs().total_cmp(&data[b].abs()));
        (data.iter().position(|&w| w == 0.0).unwrap(), largest.unwrap())
    };
    let mut swapped = after.clone();
    swapped.tensors[id].data[zero] = before.tensors[id].data[zero];
    swapped.tensors[id].data[kept] = 0.0;
    assert!(!passes(&swapped, pattern, 0.5));
    let mut changed = after.clone();
    changed.tensors[id].data[kept] *= 1.5;
    assert!(!passes(&changed, pattern, 0.5));
}

fn layer_tensor(graph: &Graph) -> secateur_format::TensorId {
    graph.nodes.iter().find_map(|node| node.op.weight()).unwrap()
}
