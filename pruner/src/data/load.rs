//! From a path to a data set.

use super::archive::Archive;
use super::dataset::Dataset;
use super::description::{Description, Format, Layout};
use super::error::{DataError, Defect};
use super::layout::move_channels_first;
use super::npz::Npz;
use super::preprocess::Preprocess;
use super::tensor::RawTensor;
use super::{cifar, file, idx, npy, safetensors};
use std::path::Path;

/// A data set and what is to be done to its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The samples, with values as stored.
    pub dataset: Dataset,
    /// The `[preprocess]` table of the `data.toml`, checked against the samples' channels.
    pub preprocess: Option<Preprocess>,
}

/// Loads the data set of a `data.toml`, or of a data file named directly.
///
/// A name ending in `.toml` is a description; of any other the format follows from the name.
/// All samples are held in memory as `f32`, at most 4 GiB of them.
///
/// # Errors
///
/// [`DataError::Io`] when a file cannot be read, [`DataError::Invalid`] when its content, or the
/// description, is not usable.
pub fn load(path: &Path) -> Result<Loaded, DataError> {
    let mut description = if path.extension().is_some_and(|extension| extension == "toml") {
        Description::open(path)?
    } else {
        Description::of_file(path)
    };
    let file = &description.file;
    let format = description.format.or_else(|| Format::of(file)).ok_or_else(|| {
        Defect::new(
            "its name does not tell the format",
            "name the `format` in a data.toml: idx, cifar10, npz, npy or safetensors",
        )
        .in_file(file)
    })?;
    if format == Format::Idx && description.labels.is_none() {
        description.labels = idx::labels_beside(file);
    }
    let (inputs, labels) = read_arrays(&description, format, path)?;
    assemble(description, inputs, labels, path)
}

/// Reads the arrays of inputs and labels; `path` is where the description comes from.
fn read_arrays(
    description: &Description,
    format: Format,
    path: &Path,
) -> Result<(RawTensor, Option<RawTensor>), DataError> {
    // A labels file whose name says nothing has the format of the inputs.
    let labels_file = description
        .labels
        .as_deref()
        .map(|labels| (labels, Format::of(labels).unwrap_or(format)));
    let labels_format = labels_file.map_or(format, |(_, format)| format);
    for (name, key, format) in [
        ("inputs_key", &description.inputs_key, format),
        ("labels_key", &description.labels_key, labels_format),
    ] {
        if key.is_some() && !format.has_keys() {
            let problem = format!("`{name}` has no meaning for a file of the format {format:?}");
            return Err(Defect::new(problem, "leave it out").in_file(path));
        }
    }
    let inputs_key = description.inputs_key.as_deref();
    let labels_key = description.labels_key.as_deref();
    match labels_file {
        // The key is meant for the labels file, and labels beside the inputs are not read.
        Some((labels, labels_format)) => {
            let (inputs, _) = read_inputs(&description.file, format, inputs_key, None)?;
            let labels = read_labels(labels, labels_format, labels_key)?;
            Ok((inputs, Some(labels)))
        }
        None => read_inputs(&description.file, format, inputs_key, Some(labels_key)),
    }
}

/// Reads the inputs and, unless `labels_key` is `None`, the labels that come with them.
fn read_inputs(
    path: &Path,
    format: Format,
    inputs_key: Option<&str>,
    labels_key: Option<Option<&str>>,
) -> Result<(RawTensor, Option<RawTensor>), DataError> {
    let bytes = file::read(path)?;
    let by_name = |archive: &mut dyn Archive| {
        let inputs = archive.inputs(inputs_key)?;
        let labels = labels_key.map(|key| archive.labels(key)).transpose()?;
        Ok((inputs, labels.flatten()))
    };
    let arrays = match format {
        Format::Idx => idx::parse(&bytes).map(|inputs| (inputs, None)),
        Format::Npy => npy::parse(&bytes).map(|inputs| (inputs, None)),
        Format::Cifar10 => cifar::parse(&bytes).map(|(inputs, labels)| (inputs, Some(labels))),
        Format::Npz => Npz::open(bytes).and_then(|mut archive| by_name(&mut archive)),
        Format::Safetensors => safetensors::open(&bytes).and_then(|mut archive| by_name(&mut archive)),
    };
    arrays.map_err(|defect| defect.in_file(path))
}

fn read_labels(path: &Path, format: Format, key: Option<&str>) -> Result<RawTensor, DataError> {
    let bytes = file::read(path)?;
    let labels = match format {
        Format::Idx => idx::parse(&bytes),
        Format::Npy => npy::parse(&bytes),
        Format::Cifar10 => cifar::parse(&bytes).map(|(_, labels)| labels),
        Format::Npz => Npz::open(bytes).and_then(|mut archive| archive.required_labels(key)),
        Format::Safetensors => safetensors::open(&bytes).and_then(|mut archive| archive.required_labels(key)),
    };
    labels.map_err(|defect| defect.in_file(path))
}

/// Selects, decodes and shapes what was read; each defect names the file where it is mended.
fn assemble(
    description: Description,
    mut inputs: RawTensor,
    mut labels: Option<RawTensor>,
    path: &Path,
) -> Result<Loaded, DataError> {
    let in_description = |defect: Defect| defect.in_file(path);
    let in_inputs = |defect: Defect| defect.in_file(&description.file);
    let labels_file = description.labels.as_ref().unwrap_or(&description.file);
    let in_labels = |defect: Defect| defect.in_file(labels_file);

    if inputs.shape.len() < 2 {
        return Err(in_inputs(Defect::new(
            format!("inputs of shape {:?} are not [count, ...]", inputs.shape),
            "give samples as rows (of an images file, not of a labels file)",
        )));
    }
    if inputs.shape.contains(&0) {
        return Err(in_inputs(Defect::new(
            format!("inputs of shape {:?} hold no values", inputs.shape),
            "store at least one sample",
        )));
    }
    if let Some(labels) = &labels
        && labels.count() != inputs.count()
    {
        return Err(in_labels(Defect::new(
            format!("{} labels for {} inputs", labels.count(), inputs.count()),
            "give the labels that belong to these inputs, one for each",
        )));
    }
    if let Some([start, end]) = description.rows {
        inputs.keep_rows(start..end).map_err(in_description)?;
        if let Some(labels) = &mut labels {
            labels.keep_rows(start..end).map_err(in_description)?;
        }
    }
    let mut values = inputs.to_f32().map_err(in_inputs)?;
    let mut sample_shape = inputs.shape.split_off(1);
    if description.layout == Layout::Nhwc {
        move_channels_first(&mut values, &mut sample_shape);
    }
    // Images without an axis for channels have a single one.
    if let [height, width] = sample_shape[..] {
        sample_shape = vec![1, height, width];
    }
    let labels = labels.map(|labels| labels.to_labels()).transpose().map_err(in_labels)?;
    let dataset = Dataset::new(values, sample_shape, labels)
        .map_err(in_inputs)?
        .with_class_names(description.class_names)
        .map_err(in_description)?;
    if let Some(preprocess) = &description.preprocess {
        preprocess.validate(dataset.channels()).map_err(in_description)?;
    }
    Ok(Loaded {
        dataset,
        preprocess: description.preprocess,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, Array4};
    use ndarray_npy::write_npy;
    use std::path::PathBuf;
    use tempfile::TempDir;

    /// Two samples `[2, 2, 1, 3]` of the values 0..12, three labels, and a `data.toml`.
    fn written(description: &str) -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data.toml");
        let inputs = Array4::from_shape_fn((2, 2, 1, 3), |(n, h, _, c)| (6 * n + 3 * h + c) as u8);
        write_npy(directory.path().join("x.npy"), &inputs).unwrap();
        let empty = Array4::<u8>::zeros((0, 2, 2, 3));
        write_npy(directory.path().join("empty.npy"), &empty).unwrap();
        for (name, labels) in [("y.npy", vec![4_i64, 1]), ("three.npy", vec![4, 1, 0])] {
            write_npy(directory.path().join(name), &Array1::from_vec(labels)).unwrap();
        }
        std::fs::write(&path, description).unwrap();
        (directory, path)
    }

    fn refused(description: &str) -> String {
        let (_directory, path) = written(description);
        let error = load(&path).unwrap_err();
        assert!(matches!(error, DataError::Invalid { .. }), "{error}");
        error.to_string()
    }

    #[test]
    fn nhwc_rows_names_and_preprocess() {
        let (_directory, path) = written(
            "file = 'x.npy'\nlabels = 'y.npy'\nlayout = 'nhwc'\nrows = [1, 2]\n\
             class_names = ['a', 'b', 'c', 'd', 'e', 'f']\n[preprocess]\nmean = [1, 2, 3]\n",
        );
        let loaded = load(&path).unwrap();
        let dataset = &loaded.dataset;
        assert_eq!(dataset.sample_shape(), [3, 2, 1]);
        assert_eq!(dataset.inputs(), [6.0, 9.0, 7.0, 10.0, 8.0, 11.0]);
        assert_eq!(dataset.labels(), Some(&[1][..]));
        assert_eq!(loaded.preprocess.unwrap().mean, [1.0, 2.0, 3.0]);
    }

    #[test]
    fn a_file_named_directly_is_as_stored() {
        let (directory, _) = written("");
        let loaded = load(&directory.path().join("x.npy")).unwrap();
        assert_eq!(loaded.dataset.sample_shape(), [2, 1, 3]);
        assert_eq!(loaded.dataset.input(1)[0], 6.0);
        assert_eq!((loaded.dataset.labels(), loaded.preprocess), (None, None));
    }

    #[test]
    fn defects_name_the_file_that_mends_them() {
        let error = refused("file = 'x.npy'\nlabels = 'three.npy'\n");
        assert!(error.contains("three.npy: 3 labels for 2 inputs"), "{error}");
        let error = refused("file = 'x.npy'\nrows = [0, 3]\n");
        assert!(error.contains("data.toml: rows [0, 3]"), "{error}");
        let error = refused("file = 'x.npy'\n[preprocess]\nstd = [1, 1, 1]\n");
        assert!(error.contains("data.toml: preprocess.std has 3"), "{error}");
        let error = refused("file = 'x.npy'\ninputs_key = 'x'\n");
        assert!(error.contains("`inputs_key` has no meaning"), "{error}");
        let error = refused("file = 'y.npy'\n");
        assert!(error.contains("y.npy: inputs of shape [2]"), "{error}");
        let error = refused("file = 'x.npy'\nlabels = 'y.npy'\nclass_names = ['a']\n");
        assert!(error.contains("label 4 has no name"), "{error}");
        let error = refused("file = 'empty.npy'\nlayout = 'nhwc'\n");
        assert!(error.contains("hold no values"), "{error}");
        let error = refused("file = 'x.csv'\n");
        assert!(error.contains("x.csv: its name does not tell"), "{error}");
    }

    #[test]
    fn a_missing_file_is_an_io_error() {
        let (_directory, path) = written("file = 'none.npy'\n");
        let error = load(&path).unwrap_err();
        assert!(matches!(error, DataError::Io { .. }), "{error}");
        assert!(error.to_string().contains("none.npy"), "{error}");
    }

    #[test]
    fn idx_labels_beside_the_images_are_taken() {
        let directory = tempfile::tempdir().unwrap();
        let images = directory.path().join("t-images-idx3-ubyte");
        let header = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1];
        std::fs::write(&images, [&header[..], &[7, 8]].concat()).unwrap();
        assert_eq!(load(&images).unwrap().dataset.labels(), None);
        let labels = [0, 0, 8, 1, 0, 0, 0, 2, 3, 5];
        std::fs::write(directory.path().join("t-labels-idx1-ubyte"), labels).unwrap();
        let dataset = load(&images).unwrap().dataset;
        assert_eq!(dataset.sample_shape(), [1, 1, 1]);
        assert_eq!(dataset.labels(), Some(&[3, 5][..]));
    }
}
