//! The owned graph: what importers make, pruners change, and the writer encodes.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::op::{Op, TensorId, ValueId};
use crate::{Shape, ShapeError};

/// A graph input.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its shape, without the batch dimension.
    pub shape: Shape,
}

/// A node: one operator, one output.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeDef {
    /// Its name, unique in the graph.
    pub name: String,
    /// The operator.
    pub op: Op,
    /// The values it reads, all older than its own.
    pub inputs: Vec<ValueId>,
}

/// A constant: a dense row-major f32 matrix, or a vector as a matrix of one row.
///
/// Convolution weights are `[out_channels, kh · kw · Cin / groups]` with
/// columns ordered (ky, kx, ci), as in the file; see [`Tensor::from_oihw`].
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name in the source model.
    pub name: String,
    /// Outputs; 1 for vectors.
    pub rows: u32,
    /// Inputs; the length for vectors.
    pub cols: u32,
    /// `rows · cols` weights.
    pub data: Vec<f32>,
}

impl Tensor {
    /// A vector.
    pub fn vector(name: impl Into<String>, data: Vec<f32>) -> Self {
        Self {
            name: name.into(),
            rows: 1,
            cols: data.len() as u32,
            data,
        }
    }

    /// Convolution weights given as `[out, in / groups, kh, kw]`, the layout of
    /// PyTorch and ONNX. `None` if `data` has another length.
    pub fn from_oihw(name: impl Into<String>, [o, i, h, w]: [u32; 4], data: &[f32]) -> Option<Self> {
        let (inputs, plane) = (i as usize, h as usize * w as usize);
        let cols = inputs.checked_mul(plane)?;
        if data.is_empty() || data.len() != cols.checked_mul(o as usize)? {
            return None;
        }
        let filters = data.chunks_exact(cols);
        let reordered =
            filters.flat_map(|filter| (0..plane).flat_map(move |p| (0..inputs).map(move |ci| filter[ci * plane + p])));
        Some(Self {
            name: name.into(),
            rows: o,
            cols: cols as u32,
            data: reordered.collect(),
        })
    }

    /// The inverse of [`Tensor::from_oihw`], for a kernel `[kh, kw]` whose product divides the columns.
    pub fn to_oihw(&self, [kh, kw]: [u16; 2]) -> Vec<f32> {
        let plane = usize::from(kh) * usize::from(kw);
        let (cols, inputs) = (self.cols as usize, (self.cols as usize).checked_div(plane).unwrap_or(0));
        let filters = self.data.chunks_exact(cols.max(1));
        let ordered =
            filters.flat_map(|filter| (0..inputs).flat_map(move |ci| filter.iter().skip(ci).step_by(inputs).copied()));
        ordered.collect()
    }
}

/// An owned model graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Inputs: values `0..inputs.len()`.
    pub inputs: Vec<Input>,
    /// Nodes in execution order: node `i` computes value `inputs.len() + i`.
    pub nodes: Vec<NodeDef>,
    /// The values the graph returns.
    pub outputs: Vec<ValueId>,
    /// Constants.
    pub tensors: Vec<Tensor>,
}

/// Why a graph is not valid.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum GraphError {
    /// An operator does not fit its inputs.
    Shape {
        /// The node's name.
        node: String,
        /// The operator's name.
        op: &'static str,
        /// The input shapes.
        inputs: Vec<Shape>,
        /// What does not fit.
        error: ShapeError,
    },
    /// A node reads a value that does not exist before it.
    Order {
        /// The node's name.
        node: String,
    },
    /// A node's constant has another shape than the operator needs.
    Constant {
        /// The node's name.
        node: String,
        /// The constant's name.
        tensor: String,
        /// Rows and columns needed.
        expected: (u32, u32),
        /// Rows and columns found.
        found: (u32, u32),
    },
    /// No inputs, nodes or outputs, an output that does not exist, or more
    /// values or tensors than 16-bit indices reach.
    Structure,
    /// The arena would not fit into 32 bits.
    ArenaTooLarge {
        /// Bytes needed.
        bytes: u64,
    },
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape {
                node,
                op,
                inputs,
                error,
            } => {
                write!(f, "node `{node}` ({op}) on inputs {inputs:?}: {error}")
            }
            Self::Order { node } => write!(f, "node `{node}` reads a value that no earlier node computes"),
            Self::Constant {
                node,
                tensor,
                expected,
                found,
            } => write!(
                f,
                "node `{node}` needs `{tensor}` to be {}x{} (rows x columns), it is {}x{}",
                expected.0, expected.1, found.0, found.1
            ),
            Self::Structure => f.write_str(
                "the graph needs inputs, nodes and outputs, at most 65535 of each and of constants, and none that is missing",
            ),
            Self::ArenaTooLarge { bytes } => write!(f, "the arena would need {bytes} bytes"),
        }
    }
}

impl core::error::Error for GraphError {}

impl Graph {
    /// Number of values: inputs and nodes.
    pub fn value_count(&self) -> usize {
        self.inputs.len() + self.nodes.len()
    }

    /// The value that node `index` computes.
    pub fn output_of(&self, index: usize) -> ValueId {
        ValueId((self.inputs.len() + index) as u16)
    }

    /// The node that computes a value; `None` for graph inputs.
    pub fn producer(&self, id: ValueId) -> Option<usize> {
        usize::from(id.0).checked_sub(self.inputs.len())
    }

    /// The name of an input or of the node that computes a value.
    pub fn name(&self, id: ValueId) -> &str {
        let id = usize::from(id.0);
        let node = || {
            self.nodes
                .get(id.wrapping_sub(self.inputs.len()))
                .map(|n| n.name.as_str())
        };
        self.inputs.get(id).map(|i| i.name.as_str()).or_else(node).unwrap_or("")
    }

    /// A constant.
    pub fn tensor(&self, id: TensorId) -> Option<&Tensor> {
        self.tensors.get(usize::from(id.0))
    }

    /// The shapes of all values. This is also the graph's validation.
    ///
    /// # Errors
    /// A [`GraphError`] that names the node.
    pub fn shapes(&self) -> Result<Vec<Shape>, GraphError> {
        let most = usize::from(u16::MAX);
        let empty = self.inputs.is_empty() || self.nodes.is_empty() || self.outputs.is_empty();
        let lost = self.outputs.iter().any(|id| usize::from(id.0) >= self.value_count());
        if empty || lost || self.value_count() > most || self.tensors.len() > most || self.outputs.len() > most {
            return Err(GraphError::Structure);
        }
        let mut shapes: Vec<Shape> = self.inputs.iter().map(|input| input.shape).collect();
        for (index, node) in self.nodes.iter().enumerate() {
            let inputs: Option<Vec<Shape>> = node
                .inputs
                .iter()
                .map(|id| shapes.get(usize::from(id.0)).copied())
                .collect();
            let inputs = inputs.ok_or_else(|| GraphError::Order {
                node: node.name.clone(),
            })?;
            let fail = |error| GraphError::Shape {
                node: node.name.clone(),
                op: node.op.name(),
                inputs: inputs.clone(),
                error,
            };
            shapes.push(node.op.infer(&inputs).map_err(fail)?);
            let input = inputs.first().copied().unwrap_or(Shape::SCALAR);
            for (id, rows, cols) in node.op.constants(input).map_err(fail)?.into_iter().flatten() {
                self.check_constant(index, id, (rows, cols))?;
            }
        }
        Ok(shapes)
    }

    fn check_constant(&self, node: usize, id: TensorId, expected: (u32, u32)) -> Result<(), GraphError> {
        let tensor = self.tensor(id).ok_or(GraphError::Structure)?;
        let found = (tensor.rows, tensor.cols);
        if found == expected && tensor.data.len() as u64 == u64::from(found.0) * u64::from(found.1) {
            return Ok(());
        }
        let node = self.nodes.get(node).map(|n| n.name.clone()).unwrap_or_default();
        Err(GraphError::Constant {
            node,
            tensor: tensor.name.clone(),
            expected,
            found,
        })
    }

    /// A shape error at node `index`.
    pub(crate) fn shape_error(&self, index: usize, error: ShapeError) -> GraphError {
        let node = self.nodes.get(index);
        GraphError::Shape {
            node: node.map(|n| n.name.clone()).unwrap_or_default(),
            op: node.map_or("", |n| n.op.name()),
            inputs: Vec::new(),
            error,
        }
    }
}
