//! `data.toml`: where a data set lies and how to read it.

use super::error::{DataError, Defect};
use super::file;
use super::preprocess::Preprocess;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The content of a `data.toml`; the module's documentation shows one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    pub(super) file: PathBuf,
    pub(super) labels: Option<PathBuf>,
    pub(super) format: Option<Format>,
    pub(super) inputs_key: Option<String>,
    pub(super) labels_key: Option<String>,
    #[serde(default)]
    pub(super) layout: Layout,
    pub(super) rows: Option<[usize; 2]>,
    #[serde(default)]
    pub(super) class_names: Vec<String>,
    pub(super) preprocess: Option<Preprocess>,
}

/// The format of a data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    Idx,
    Cifar10,
    Npz,
    Npy,
    Safetensors,
}

/// Where the channels stand among the axes of the stored inputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Layout {
    /// Before the pixels: `[N, C, H, W]`.
    #[default]
    Nchw,
    /// After the pixels: `[N, H, W, C]`.
    Nhwc,
}

impl Description {
    /// Reads a `data.toml`; its file names then are relative to where it lies.
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let text = String::from_utf8(file::read(path)?)
            .map_err(|error| Defect::new(format!("is not text ({error})"), "save it as UTF-8").in_file(path))?;
        let mut description: Self = toml::from_str(&text).map_err(|error| {
            Defect::new(
                error.to_string().trim_end(),
                "see the documentation of data.toml for what it may hold",
            )
            .in_file(path)
        })?;
        let directory = path.parent().unwrap_or(Path::new(""));
        description.file = directory.join(&description.file);
        description.labels = description.labels.map(|labels| directory.join(labels));
        Ok(description)
    }

    /// Describes a data file by its name alone.
    pub(super) fn of_file(path: &Path) -> Self {
        Self {
            file: path.to_owned(),
            ..Self::default()
        }
    }
}

impl Format {
    /// The format a file name stands for, whether it ends in `.gz` or not.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match Path::new(name).extension().and_then(|extension| extension.to_str()) {
            Some("npy") => Some(Self::Npy),
            Some("npz") => Some(Self::Npz),
            Some("safetensors") => Some(Self::Safetensors),
            Some("bin") => Some(Self::Cifar10),
            // MNIST comes as both `train-images-idx3-ubyte` and `train-images.idx3-ubyte`.
            _ => name.contains("idx").then_some(Self::Idx),
        }
    }

    /// Whether its arrays have names for `inputs_key` and `labels_key` to choose from.
    pub(super) fn has_keys(self) -> bool {
        matches!(self, Self::Npz | Self::Safetensors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Description, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data.toml");
        std::fs::write(&path, text).unwrap();
        Description::open(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn every_key_is_read() {
        let description = parsed(
            "file = 'sub/x.npz'\nlabels = '/abs/y.npy'\nformat = 'npz'\ninputs_key = 'a'\n\
             labels_key = 'b'\nlayout = 'nhwc'\nrows = [1, 5]\nclass_names = ['no', 'yes']\n\
             [preprocess]\nscale = 2\nmean = [1, 0.5]\nstd = [3.0]\n",
        )
        .unwrap();
        assert!(description.file.is_absolute() && description.file.ends_with("sub/x.npz"));
        assert_eq!(description.labels, Some(PathBuf::from("/abs/y.npy")));
        assert_eq!(description.format, Some(Format::Npz));
        assert_eq!(description.layout, Layout::Nhwc);
        assert_eq!(description.rows, Some([1, 5]));
        assert_eq!(description.class_names, ["no", "yes"]);
        let preprocess = description.preprocess.unwrap();
        assert_eq!((preprocess.scale, preprocess.mean), (2.0, vec![1.0, 0.5]));
    }

    #[test]
    fn errors_carry_line_and_column() {
        for text in [
            "file = 'x'\nrow = [0, 1]\n",
            "file = 'x'\nrows = [0]\n",
            "file = 'x'\nformat = 'csv'\n",
            "file = 'x'\nlayout = nhwc\n",
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains("line 2, column"), "{error}");
        }
        let error = parsed("file = 'x'\n[preprocess]\nstdev = [1]\n").unwrap_err();
        assert!(error.contains("line 3, column 1"), "{error}");
        assert!(parsed("labels = 'y'\n").unwrap_err().contains("file"));
    }

    #[test]
    fn names_stand_for_formats() {
        let format = |name| Format::of(Path::new(name));
        assert_eq!(format("d/train-images-idx3-ubyte.gz"), Some(Format::Idx));
        assert_eq!(format("train-images.idx3-ubyte"), Some(Format::Idx));
        assert_eq!(format("data_batch_1.bin"), Some(Format::Cifar10));
        assert_eq!(format("test.bin.gz"), Some(Format::Cifar10));
        assert_eq!(format("X.NPY"), Some(Format::Npy));
        assert_eq!(format("idx.npz"), Some(Format::Npz));
        assert_eq!(format("x.safetensors"), Some(Format::Safetensors));
        assert_eq!(format("x.csv"), None);
        assert_eq!(format(""), None);
    }
}
