//! Writing a model file. Deterministic: the same input gives the same bytes.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::crc::crc32c;
use super::node;
use super::sections::{MAY_IGNORE, Section};
use super::{ENTRY_LEN, FEATURE_I8, HEADER_LEN, MAGIC, MAJOR, MINOR, PAYLOAD_ALIGN, SECTION_ALIGN};
use crate::encoding::{BlockIndex, Encoding, MatrixDesc, Packed, ValueType};
use crate::graph::{Graph, GraphError};
use crate::op::{MAX_INPUTS, TensorId};
use crate::plan::planner::{Plan, PlanOptions, plan};

/// How graph input 0 is scaled and normalised: `(x · scale − mean) / std` per
/// channel (its first dimension). All numbers are finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocess {
    /// Factor applied first; not zero.
    pub scale: f32,
    /// One for all channels, one per channel, or none (0).
    pub mean: Vec<f32>,
    /// One for all channels, one per channel, or none (1); not zero.
    pub std: Vec<f32>,
}

/// What was fastest, on the machine where it was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    /// The machine.
    pub machine: String,
    /// By node, ascending; not all nodes need be there.
    pub nodes: Vec<Tuned>,
}

/// What was fastest for a node; as [`TunedNode`](super::TunedNode).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuned {
    /// Index of the node.
    pub node: u16,
    /// Vectors of a panel, or 0.
    pub vectors: u16,
    /// Weight columns of a window, or 0.
    pub window: u32,
    /// Name of the kernel.
    pub kernel: String,
}

/// What a file holds beside the graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extras {
    /// Leave out names, preprocessing, info and tuning.
    pub strip: bool,
    /// How graph input 0 is prepared.
    pub preprocess: Option<Preprocess>,
    /// Key-value text.
    pub info: Vec<(String, String)>,
    /// What was fastest.
    pub tuning: Option<Tuning>,
}

/// Why a graph cannot be written.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WriteError {
    /// The graph is not valid.
    Graph(GraphError),
    /// The node's operator has no place in a file (batch normalisation must be
    /// folded first, slopes must be finite), or it has too many inputs.
    Node {
        /// The node's name.
        node: String,
    },
    /// Packed constants do not match the graph's tensors, describe themselves
    /// wrongly, or a bias is not dense f32.
    Tensors,
    /// A name or other text is longer than 65535 bytes.
    Text,
    /// Tuned nodes do not ascend, or there is no such node.
    Tuning,
    /// A preprocessing number is not finite, scale or a std is zero, or a list
    /// has neither none, one, nor one number per channel of graph input 0.
    Preprocess,
}

impl From<GraphError> for WriteError {
    fn from(error: GraphError) -> Self {
        Self::Graph(error)
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Graph(error) => error.fmt(f),
            Self::Node { node } => write!(
                f,
                "node `{node}` cannot be written: batch norms are folded first, and a node has at most {MAX_INPUTS} inputs"
            ),
            Self::Tensors => f.write_str("the packed constants are not those of the graph, or a bias is not dense f32"),
            Self::Text => f.write_str("a name or other text is longer than 65535 bytes"),
            Self::Tuning => f.write_str("tuned nodes must be nodes of the graph, in ascending order"),
            Self::Preprocess => f.write_str(
                "preprocessing numbers must be finite, scale and std not zero, and each list has one number, \
                 one per channel of the first input, or none",
            ),
        }
    }
}

impl core::error::Error for WriteError {}

/// A file before its payloads: everything but the data section is built.
#[derive(Clone, Debug)]
pub struct Layout {
    sections: Vec<(Section, Vec<u8>)>,
    descs: Vec<MatrixDesc>,
    data_len: u64,
    plan: Plan,
}

fn push_u32s(out: &mut Vec<u8>, values: &[u32]) {
    out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
}

fn pad_to(out: &mut Vec<u8>, align: usize) {
    out.resize(out.len().next_multiple_of(align), 0);
}

impl Layout {
    /// Lays out the file for constants that will be packed as `descs`, one per
    /// tensor of the graph.
    ///
    /// # Errors
    /// A [`WriteError`].
    pub fn new(
        graph: &Graph,
        descs: &[MatrixDesc],
        options: &PlanOptions,
        extras: &Extras,
    ) -> Result<Self, WriteError> {
        let shapes = graph.shapes()?;
        let plan = plan(graph, options)?;
        let matches =
            |desc: &MatrixDesc, tensor: &crate::graph::Tensor| (desc.rows, desc.cols) == (tensor.rows, tensor.cols);
        if descs.len() != graph.tensors.len() || !descs.iter().zip(&graph.tensors).all(|(d, t)| matches(d, t)) {
            return Err(WriteError::Tensors);
        }
        let usable_bias = |id: &TensorId| {
            descs.get(usize::from(id.0)).map(|d| (d.encoding, d.values)) == Some((Encoding::Dense, ValueType::F32))
        };
        if !graph
            .nodes
            .iter()
            .filter_map(|node| node.op.bias())
            .all(|id| usable_bias(&id))
        {
            return Err(WriteError::Tensors);
        }
        let (tensors, data_len) = tensor_table(descs)?;
        let mut sections = Vec::from([
            (Section::Graph, graph_section(graph, &shapes)?),
            (Section::Tensors, tensors),
            (Section::Plan, plan_section(&plan)),
            (Section::Data, Vec::new()),
        ]);
        if !extras.strip {
            let mut names = Vec::new();
            let inputs = graph.inputs.iter().map(|i| &i.name);
            inputs
                .chain(graph.nodes.iter().map(|n| &n.name))
                .try_for_each(|name| push_text(&mut names, name))?;
            sections.push((Section::Names, names));
            if let Some(preprocess) = &extras.preprocess {
                sections.push((Section::Preprocess, preprocess_section(preprocess, &shapes)?));
            }
            if !extras.info.is_empty() {
                let mut info = Vec::new();
                for (key, value) in &extras.info {
                    push_text(&mut info, key)?;
                    push_text(&mut info, value)?;
                }
                sections.push((Section::Info, info));
            }
            if let Some(tuning) = &extras.tuning {
                sections.push((Section::Tuning, tuning_section(tuning, graph.nodes.len())?));
            }
        }
        Ok(Self {
            sections,
            descs: descs.to_vec(),
            data_len,
            plan,
        })
    }

    /// The memory plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Exact length of the file.
    pub fn file_len(&self) -> u64 {
        let start = (HEADER_LEN + self.sections.len() * ENTRY_LEN) as u64;
        let align = |offset: u64| offset.next_multiple_of(SECTION_ALIGN as u64);
        let end = self
            .sections
            .iter()
            .fold(start, |end, section| align(end) + self.section_len(section));
        align(end) + SECTION_ALIGN as u64
    }

    fn section_len(&self, (section, bytes): &(Section, Vec<u8>)) -> u64 {
        if *section == Section::Data {
            self.data_len
        } else {
            bytes.len() as u64
        }
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`WriteError::Tensors`] if `packed` is not what the layout was made for.
    pub fn write(mut self, packed: &[Packed]) -> Result<Vec<u8>, WriteError> {
        let as_planned = |(packed, desc): (&Packed, &MatrixDesc)| {
            packed.desc == *desc && desc.payload_len() == Some(packed.payload.len() as u64)
        };
        if packed.len() != self.descs.len() || !packed.iter().zip(&self.descs).all(as_planned) {
            return Err(WriteError::Tensors);
        }
        let mut data = Vec::new();
        for tensor in packed {
            pad_to(&mut data, PAYLOAD_ALIGN);
            data.extend_from_slice(&tensor.payload);
        }
        for (section, bytes) in &mut self.sections {
            if *section == Section::Data {
                *bytes = core::mem::take(&mut data);
            }
        }
        Ok(self.assemble())
    }

    fn assemble(&self) -> Vec<u8> {
        let has_i8 = self.descs.iter().any(|desc| desc.values == ValueType::I8);
        let table_len = self.sections.len() * ENTRY_LEN;
        let mut table = Vec::with_capacity(table_len);
        let mut body = Vec::new();
        let start = HEADER_LEN + table_len;
        for (section, bytes) in &self.sections {
            body.resize((start + body.len()).next_multiple_of(SECTION_ALIGN) - start, 0);
            push_u32s(
                &mut table,
                &[*section as u32, if section.is_strippable() { MAY_IGNORE } else { 0 }],
            );
            table.extend_from_slice(&((start + body.len()) as u64).to_le_bytes());
            table.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            push_u32s(&mut table, &[crc32c(&[bytes]), 0]);
            body.extend_from_slice(bytes);
        }
        body.resize(
            (start + body.len()).next_multiple_of(SECTION_ALIGN) - start + SECTION_ALIGN,
            0,
        );

        let mut file = Vec::with_capacity(start + body.len());
        file.extend_from_slice(&MAGIC);
        file.extend_from_slice(&MAJOR.to_le_bytes());
        file.extend_from_slice(&MINOR.to_le_bytes());
        push_u32s(&mut file, &[HEADER_LEN as u32]);
        file.extend_from_slice(&((start + body.len()) as u64).to_le_bytes());
        push_u32s(
            &mut file,
            &[self.sections.len() as u32, if has_i8 { FEATURE_I8 } else { 0 }, 0],
        );
        let crc = crc32c(&[&file, &[0; HEADER_LEN - 36], &table]);
        push_u32s(&mut file, &[crc]);
        file.resize(HEADER_LEN, 0);
        file.extend_from_slice(&table);
        file.extend_from_slice(&body);
        file
    }
}

fn graph_section(graph: &Graph, shapes: &[crate::Shape]) -> Result<Vec<u8>, WriteError> {
    let mut nodes = Vec::new();
    for def in &graph.nodes {
        let record = node::encode(&def.op, &def.inputs).filter(|_| def.inputs.len() <= MAX_INPUTS);
        nodes.extend(record.ok_or_else(|| WriteError::Node { node: def.name.clone() })?);
    }
    let counts = [graph.inputs.len(), graph.nodes.len(), graph.outputs.len(), nodes.len()];
    let mut out = Vec::new();
    push_u32s(&mut out, &counts.map(|count| count as u32));
    shapes.iter().for_each(|&shape| node::push_shape(&mut out, shape));
    out.extend(graph.outputs.iter().flat_map(|id| id.0.to_le_bytes()));
    pad_to(&mut out, 4);
    out.extend(nodes);
    Ok(out)
}

/// The tensor table and the length of the data section.
fn tensor_table(descs: &[MatrixDesc]) -> Result<(Vec<u8>, u64), WriteError> {
    let mut out = Vec::new();
    push_u32s(&mut out, &[descs.len() as u32, 0]);
    let mut end = 0u64;
    for desc in descs {
        let (code, p0, p1) = match desc.encoding {
            Encoding::Dense => (0, 0, 0),
            Encoding::Csr16 => (1, 0, 0),
            Encoding::Win8 => (2, 0, 0),
            Encoding::Bitmask => (3, 0, 0),
            Encoding::Nm { n, m } => (4, n, m),
            Encoding::Block {
                r,
                c,
                index: BlockIndex::Csr16,
            } => (5, r, c),
            Encoding::Block {
                r,
                c,
                index: BlockIndex::Win8,
            } => (6, r, c),
        };
        let values = match desc.values {
            ValueType::F32 => 0,
            ValueType::F16 => 1,
            ValueType::Bf16 => 2,
            ValueType::I8 => 3,
        };
        let offset = end.next_multiple_of(PAYLOAD_ALIGN as u64);
        let len = desc.payload_len().ok_or(WriteError::Tensors)?;
        out.extend_from_slice(&[code, values, p0, p1]);
        push_u32s(&mut out, &[desc.rows, desc.cols, desc.stored]);
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&len.to_le_bytes());
        end = offset + len;
    }
    Ok((out, end))
}

fn plan_section(plan: &Plan) -> Vec<u8> {
    let mut out = Vec::new();
    push_u32s(&mut out, &[plan.arena_bytes, plan.align]);
    for &(a, b) in plan.values.iter().chain(&plan.scratch) {
        push_u32s(&mut out, &[a, b]);
    }
    out
}

fn push_text(out: &mut Vec<u8>, text: &str) -> Result<(), WriteError> {
    let len = u16::try_from(text.len()).map_err(|_| WriteError::Text)?;
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn tuning_section(tuning: &Tuning, nodes: usize) -> Result<Vec<u8>, WriteError> {
    let ids = || tuning.nodes.iter().map(|tuned| usize::from(tuned.node));
    if !ids().is_sorted_by(|a, b| a < b) || ids().any(|node| node >= nodes) {
        return Err(WriteError::Tuning);
    }
    let mut out = Vec::new();
    push_text(&mut out, &tuning.machine)?;
    for tuned in &tuning.nodes {
        out.extend_from_slice(&tuned.node.to_le_bytes());
        out.extend_from_slice(&tuned.vectors.to_le_bytes());
        push_u32s(&mut out, &[tuned.window]);
        push_text(&mut out, &tuned.kernel)?;
    }
    Ok(out)
}

fn preprocess_section(preprocess: &Preprocess, shapes: &[crate::Shape]) -> Result<Vec<u8>, WriteError> {
    let Preprocess { scale, mean, std } = preprocess;
    let channels = shapes.first().map_or(1, |shape| shape.padded_dims()[0] as usize);
    let fits = |list: &[f32]| list.len() <= 1 || list.len() == channels;
    let factor = |x: &f32| x.is_finite() && *x != 0.0;
    let usable = factor(scale) && std.iter().all(factor) && mean.iter().all(|x| x.is_finite());
    let count = |list: &[f32]| u16::try_from(list.len()).map_err(|_| WriteError::Preprocess);
    if !usable || !fits(mean) || !fits(std) {
        return Err(WriteError::Preprocess);
    }
    let mut out = Vec::from(scale.to_le_bytes());
    out.extend_from_slice(&count(mean)?.to_le_bytes());
    out.extend_from_slice(&count(std)?.to_le_bytes());
    out.extend(mean.iter().chain(std).flat_map(|x| x.to_le_bytes()));
    Ok(out)
}
