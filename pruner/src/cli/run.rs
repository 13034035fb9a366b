//! `secateur run`

use std::path::Path;

use secateur_format::ValueId;
use secateur_runtime::ArenaBuf;
use serde_json::json;

use super::args::RunArgs;
use super::convert::check_output;
use super::error::CliError;
use super::model::{Opened, dense_options};
use super::output::Output;
use crate::data::npy;
use crate::save::Overwrite;

pub(super) fn run(args: &RunArgs, out: &Output) -> Result<(), CliError> {
    check_output(&args.output, args.force)?;
    if [&args.model.model, &args.input]
        .into_iter()
        .any(|path| same_file(path, &args.output))
    {
        return Err(CliError::usage(format!(
            "{} would be overwritten while it is read",
            args.output.display()
        )));
    }
    let opened = Opened::new(&args.model.model, out)?;
    let runnable = opened.runnable(&dense_options())?;
    let model = runnable.model(&args.model.model)?;
    let unsupported = |message: String| CliError::unreadable(&args.model.model, message);
    let output = match (model.input_count(), model.outputs().collect::<Vec<_>>().as_slice()) {
        (1, &[output]) => model.shape(output),
        (inputs, outputs) => {
            return Err(unsupported(format!(
                "`run` takes one input and one output, not {inputs} and {}",
                outputs.len()
            )));
        }
    };
    let input = model.shape(ValueId(0));
    let (shape, mut data) = npy::read_f32(&args.input)?;
    let dims: Vec<usize> = input.dims().iter().map(|&d| d as usize).collect();
    let batched = shape != dims;
    if data.is_empty() || (batched && shape.get(1..) != Some(&dims)) {
        let message = format!("the array is {shape:?}, the model takes {input} or a batch of that");
        return Err(CliError::unreadable(&args.input, message));
    }
    if args.preprocess {
        let Some(preprocess) = &opened.source.preprocess else {
            return Err(unsupported(
                "no preprocessing is stored with the model; prepare the inputs yourself".to_owned(),
            ));
        };
        let channels = dims.first().copied().unwrap_or(1);
        for sample in data.chunks_exact_mut(input.elems()) {
            preprocess
                .apply(sample, channels)
                .map_err(|e| unsupported(e.to_string()))?;
        }
    }
    let samples = data.len() / input.elems();
    let mut results = vec![0.0; samples * output.elems()];
    let mut arena = ArenaBuf::for_model(&model);
    let session = args.engine.get()?.session(&model, arena.as_mut());
    let mut session = session.map_err(|e| unsupported(e.to_string()))?;
    session
        .run_batch(&data, &mut results)
        .map_err(|e| unsupported(e.to_string()))?;

    let sample_dims = output.dims().iter().map(|&d| d as usize);
    let out_shape: Vec<usize> = batched.then_some(samples).into_iter().chain(sample_dims).collect();
    let overwrite = if args.force {
        Overwrite::Replace
    } else {
        Overwrite::Keep
    };
    npy::write_f32(&args.output, &out_shape, &results, overwrite)?;
    let json = json!({"output": args.output, "shape": out_shape, "samples": samples});
    out.result(&json, || format!("{}: {out_shape:?}\n", args.output.display()))?;
    Ok(())
}

/// Whether both paths name one existing file.
fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
