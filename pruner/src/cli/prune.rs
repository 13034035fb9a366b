//! `secateur prune`

use std::path::{Path, PathBuf};

use secateur_format::graph::Graph;
use secateur_runtime::ArenaBuf;
use serde_json::json;

use super::args::PruneArgs;
use super::convert::{check_output, make, report_json, report_text, save};
use super::error::CliError;
use super::eval::evaluate;
use super::model::{Opened, dense_options, read};
use super::output::{Output, percent, table, thousands};
use super::recipe_run::{self, Prepared};
use crate::calibrate::Calibration;
use crate::collapse::collapse;
use crate::data;
use crate::engine::Engine;
use crate::eval::Accuracy;
use crate::mask::Scope;
use crate::prune::{PruneOptions, PruneReport, apply, choose, prunable};
use crate::recipe::{Kind, Layer, Recipe, parse};
use crate::reconstruct::{permute_channels, reconstruct};
use crate::structured::{ChannelOptions, ChannelReport, remove_channels};
use crate::train::Samples;

pub(super) fn run(args: &PruneArgs, out: &Output) -> Result<(), CliError> {
    let layers = args.layers()?;
    if let Some(folder) = &args.run.resume {
        let asked = args.run.continued(folder, layers)?;
        return recipe_run::show(folder, Prepared::resume(folder, asked.as_ref(), out)?, out);
    }
    let recipe = parse(&layers)?;
    if args.run.dry_run {
        let text = toml::to_string_pretty(&recipe).map_err(CliError::check)?;
        return Ok(out.result(&json!(recipe), || text)?);
    }
    if let Some(folder) = &args.run.folder {
        let prepared = Prepared::begin(folder, recipe, &layers, args.write.preprocess.get(), out)?;
        return recipe_run::show(folder, prepared, out);
    }
    if recipe.trains() || recipe.corrects() || recipe.prune.max_drop.is_some() || recipe.schedule.kind != Kind::OneShot
    {
        return Err(CliError::usage(
            "this recipe trains, corrects or searches: give it a folder with --run DIR",
        ));
    }
    one_shot(args, &recipe, &layers, out)
}

/// No folder, no training: from the model to the file.
fn one_shot(args: &PruneArgs, recipe: &Recipe, layers: &[Layer], out: &Output) -> Result<(), CliError> {
    recipe_run::check_complete(recipe, layers)?;
    let path = &PathBuf::from(recipe.model.as_deref().unwrap_or_default());
    let output = args.write.output()?;
    check_output(output, args.write.force)?;
    let opened = Opened::new(path, out)?;
    let load = |path: Option<&Path>| path.map(data::load).transpose();
    let data = load(recipe.data.test.as_deref())?;
    let train = load(recipe.data.train.as_deref().filter(|_| recipe.needs_samples()))?;
    let described = [&train, &data].into_iter().flatten();
    let described = described.into_iter().find_map(|loaded| loaded.preprocess.clone());
    let preprocess = opened.preprocess(args.write.preprocess.get(), described)?;
    recipe_run::check_rules(recipe, layers, &opened.source.graph)?;
    let options = recipe.options(recipe.sparsity());
    let calibration = train.as_ref().map(|loaded| {
        let samples = Samples {
            dataset: &loaded.dataset,
            preprocess: &preprocess,
        };
        Calibration::new(samples, recipe.data.calibration, recipe.seed)
    });
    let mut graph: Graph = opened.source.graph.clone();
    let collapsed = match (&recipe.prune.collapse, &calibration) {
        (Some(options), Some(calibration)) => collapse(&mut graph, options, &recipe.rules(), calibration)?,
        _ => Vec::new(),
    };
    let channels = recipe.channels();
    let removed = channels
        .as_ref()
        .map(|options| remove_channels(&mut graph, options, calibration.as_ref()))
        .transpose()?;
    if recipe.prune.permute {
        let prunable = prunable(&graph, &options)?;
        graph = permute_channels(&graph, &prunable, options.pattern, options.share()).map_err(CliError::check)?;
    }
    let (mut masks, mut report) = choose(&graph, |_| None, &options, calibration.as_ref())?;
    let errors = match (recipe.prune.reconstruct, &calibration) {
        (Some(method), Some(calibration)) => reconstruct(
            &mut graph,
            &mut masks,
            options.pattern,
            method.0,
            &options.criterion,
            calibration,
        )?,
        _ => Vec::new(),
    };
    apply(&mut graph, &masks);
    report.recount(&graph).map_err(CliError::check)?;
    for layer in &report.layers {
        if let (Some(note), false) = (&layer.note, layer.skipped) {
            out.warn(&format!("{}: {note}", layer.name));
        }
    }
    let how = info(recipe, &options, channels.as_ref());
    let emitted = make(&graph, &args.write, &recipe.export, &preprocess, how, out)?;
    let accuracy = |bytes: &[u8], what| match &data {
        Some(loaded) => evaluate(
            &read(bytes, path)?,
            &Engine::default(),
            &loaded.dataset,
            &preprocess,
            what,
            out,
        )
        .map(Some),
        None => Ok(None),
    };
    let before = match &data {
        Some(_) => accuracy(opened.runnable(&dense_options())?.bytes(), "before")?,
        None => None,
    };
    let after = accuracy(ArenaBuf::copy_of(&emitted.bytes).as_ref(), "after")?;
    // Last, so that nothing is left behind by what fails before.
    save(output, args.write.force, &emitted.bytes)?;

    let mut json = report_json(output, &emitted);
    json["pruning"] = json!(report);
    json["collapsed"] = json!(collapsed);
    json["structured"] = json!(removed);
    json["reconstruction"] = json!(errors);
    json["accuracy_before"] = json!(before.as_ref().map(Accuracy::fraction));
    json["accuracy_after"] = json!(after.as_ref().map(Accuracy::fraction));
    out.result(&json, || {
        let collapsed: String = collapsed.iter().map(|step| format!("{step}\n")).collect();
        let text = collapsed + &removed.as_ref().map_or(String::new(), channel_text) + &report_text(output, &emitted);
        let errors: String = errors.iter().map(|error| format!("{error}\n")).collect();
        text + &errors + &summary(&options, &report) + &accuracy_text(before.as_ref(), after.as_ref())
    })?;
    Ok(())
}

/// How the model was pruned, for the file.
fn info(recipe: &Recipe, options: &PruneOptions, channels: Option<&ChannelOptions>) -> Vec<(String, String)> {
    let lower = |scope: Scope| format!("{scope:?}").to_lowercase();
    let seed = |seed| match seed {
        0 => String::new(),
        seed => format!(" seed {seed}"),
    };
    let sparsity = options.share();
    let (criterion, pattern, scope) = (&options.criterion, options.pattern, lower(options.scope));
    let mut zeros = format!("{criterion} {pattern} {scope} {sparsity}");
    for rule in &options.rules {
        zeros += &format!(" {}={}", rule.layers, rule.sparsity.unwrap_or(sparsity));
    }
    zeros += &seed(options.seed);
    if let Some(collapse) = &recipe.prune.collapse {
        zeros += &format!(
            " collapse {} every {} above {} {:?}",
            collapse.layers, collapse.interval, collapse.similarity, collapse.merge
        );
    }
    if recipe.prune.permute {
        zeros += " permuted";
    }
    if let Some(method) = recipe.prune.reconstruct {
        zeros += &format!(" reconstruct {method}");
    }
    let removed = channels.map(|channels| {
        let (criterion, scope) = (&channels.criterion, lower(channels.scope));
        let mut text = format!("{criterion} {scope} {} round_to {}", channels.target, channels.round_to);
        for rule in channels.rules.iter().filter(|rule| rule.sparsity == Some(0.0)) {
            text += &format!(" {}=0", rule.layers);
        }
        text + &seed(channels.seed)
    });
    let structured = removed.map(|text| ("structured".to_owned(), text));
    structured.into_iter().chain([("pruning".to_owned(), zeros)]).collect()
}

/// What was removed, group by group and in all.
fn channel_text(report: &ChannelReport) -> String {
    let rows = report.groups.iter().map(|group| {
        vec![
            group.name.clone(),
            group.note.clone().unwrap_or_default(),
            group.before.to_string(),
            group.after.to_string(),
        ]
    });
    let (before, after) = (report.before, report.after);
    let less = |what: &str, before: u64, after: u64| {
        let part = percent(after as f64 / before.max(1) as f64);
        format!("{what}: {} of {}, {part}\n", thousands(after), thousands(before))
    };
    table(&["coupled with", "", "channels", "kept"], 2, rows)
        + &less("parameters", before.parameters, after.parameters)
        + &less("multiplications", before.multiplications, after.multiplications)
        + &less("bytes in f32", before.bytes, after.bytes)
        + "\n"
}

fn summary(options: &PruneOptions, report: &PruneReport) -> String {
    if options.sparsity == Some(0.0) && report.sparsity == 0.0 {
        return String::new();
    }
    format!(
        "pruned by {}, {}: {} of the linear and convolution weights, {} of all parameters\n",
        options.criterion,
        options.pattern,
        percent(report.sparsity),
        percent(report.model_sparsity),
    )
}

fn accuracy_text(before: Option<&Accuracy>, after: Option<&Accuracy>) -> String {
    let (Some(before), Some(after)) = (before, after) else {
        return "accuracy was not measured: give --data\n".to_owned();
    };
    format!(
        "accuracy {} before, {} after ({} and {} of {})\n",
        percent(before.fraction()),
        percent(after.fraction()),
        before.total_correct(),
        after.total_correct(),
        after.total(),
    )
}
