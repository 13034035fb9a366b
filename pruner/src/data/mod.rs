//! Labelled data sets: what a network is measured and calibrated on.
//!
//! [`load`] reads a data file, or a `data.toml` that describes one, into a [`Dataset`]:
//!
//! | format | file name | content |
//! |---|---|---|
//! | `idx` | contains `idx` | MNIST; labels beside, `images-idx3` becoming `labels-idx1` |
//! | `cifar10` | `.bin` | records of a label byte and 3 x 32 x 32 pixel bytes |
//! | `npz` | `.npz` | NumPy arrays by name |
//! | `npy` | `.npy` | one NumPy array, no labels |
//! | `safetensors` | `.safetensors` | tensors by name |
//!
//! Each may be packed with gzip and then has `.gz` after its name. Arrays with names are taken as
//! inputs by the first present of `images`, `x`, `features`, `features_int8` and `inputs`, and as
//! labels by that of `labels` and `y`.
//!
//! Inputs `[N, C, H, W]` make samples `[C, H, W]`, `[N, H, W]` makes `[1, H, W]`, and `[N, F]`
//! makes `[F]`; with `layout = "nhwc"`, `[N, H, W, C]` makes `[C, H, W]`.
//!
//! # data.toml
//!
//! Only `file` is required; names of files are relative to the `data.toml`.
//!
//! ```toml
//! file = "features.safetensors"
//! labels = "labels.npy"         # default: found with the inputs
//! format = "safetensors"        # default: by the name of `file`
//! inputs_key = "features_int8"  # default: by the customary names
//! labels_key = "labels"
//! layout = "nhwc"               # default: "nchw"
//! rows = [0, 500]               # default: all; the end is excluded
//! class_names = ["no", "yes"]
//!
//! [preprocess]                  # (x * scale - mean) / std
//! scale = 0.00392156862745098
//! mean = [0.1307]               # one for all channels, or one per channel
//! std = [0.3081]
//! ```
//!
//! # Limits
//!
//! Everything is held in memory: no file, packed or unpacked, and no array as `f32` may take more
//! than 4 GiB. Files are not trusted: what a header announces is checked against the bytes that
//! are there before any memory is taken for it.

mod archive;
mod cifar;
mod dataset;
mod description;
mod error;
mod file;
mod idx;
mod layout;
mod load;
pub mod npy;
mod npz;
mod preprocess;
mod safetensors;
mod tensor;

pub use dataset::Dataset;
pub use error::{DataError, Defect};
pub use load::{Loaded, load};
pub use preprocess::Preprocess;
