//! Reading a model file: everything is validated once, nothing is copied.

use super::host::{self, PreprocessView, Strings, TuningView};
use super::node::{self, value_ids};
use super::sections::{Section, Sections};
use super::{FEATURE_I8, PAYLOAD_ALIGN};
use crate::bytes::{Fields, first_nonzero, u16_at, u32_at, u64_at};
use crate::encoding::{BlockIndex, Dense, Encoding, Matrix, MatrixDesc, ValueType, Values};
use crate::op::MAX_INPUTS;
use crate::plan::PlanView;
use crate::{FormatError, Limits, MAX_RANK, Op, Place, Problem, Shape, TensorId, ValueId};

const SHAPE_LEN: usize = 4 + 4 * MAX_RANK;
const TENSOR_LEN: usize = 32;
const GRAPH_HEAD: usize = 16;

/// A validated model, borrowed from the bytes of its file.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    sections: Sections<'a>,
    inputs: u32,
    shapes: &'a [u8],
    outputs: &'a [u8],
    nodes: &'a [u8],
    tensors: &'a [u8],
    data: &'a [u8],
    plan: PlanView<'a>,
}

/// A node of a model.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// Its position in execution order.
    pub index: usize,
    /// The operator.
    pub op: Op,
    /// The value it computes.
    pub output: ValueId,
    inputs: &'a [u8],
}

impl<'a> Node<'a> {
    /// The values it reads.
    pub fn inputs(&self) -> impl Iterator<Item = ValueId> + Clone + use<'a> {
        value_ids(self.inputs)
    }
}

impl<'a> Model<'a> {
    /// Validates a file: layout, checksums, operators, shapes, every stored
    /// index, and the memory plan. Takes time linear in the file (and quadratic
    /// in the number of values, which `limits` bounds); allocates nothing.
    ///
    /// # Errors
    /// A [`FormatError`] that names the place and the problem.
    pub fn read(file: &'a [u8], limits: &Limits) -> Result<Self, FormatError> {
        let sections = Sections::read(file, limits)?;
        let model = Self::split(sections, limits)?;
        model.check_tensors(file)?;
        model.check_graph()?;
        model.plan.check(&model)?;
        let [channels, ..] = model.shape(ValueId(0)).padded_dims();
        host::check(&model.sections, model.value_count(), model.node_count(), channels)?;
        Ok(model)
    }

    /// Splits the sections into their tables, checking lengths and limits.
    fn split(sections: Sections<'a>, limits: &Limits) -> Result<Self, FormatError> {
        let at = |section: Section| move |problem| FormatError::new(Place::Section(section as u32), problem);
        let graph = sections.require(Section::Graph)?;
        let short = |needed: usize, found: usize| Problem::Truncated {
            needed: needed as u64,
            found: found as u64,
        };
        let fail = at(Section::Graph);
        let mut fields = Fields::new(graph);
        let [inputs, nodes, outputs, nodes_len] =
            fields.array(Fields::u32).ok_or(fail(short(GRAPH_HEAD, graph.len())))?;
        let values = u64::from(inputs) + u64::from(nodes);
        let value_limit = limits.values.min(u16::MAX.into());
        for count in [values, u64::from(outputs)] {
            if count > u64::from(value_limit) {
                return Err(fail(Problem::Limit {
                    limit: value_limit.into(),
                    found: count,
                }));
            }
        }
        if inputs == 0 || nodes == 0 || outputs == 0 {
            return Err(fail(Problem::Count { expected: 1, found: 0 }));
        }
        let outputs_len = 2 * outputs as usize;
        let needed = GRAPH_HEAD as u64
            + values * SHAPE_LEN as u64
            + (outputs_len as u64).next_multiple_of(4)
            + u64::from(nodes_len);
        let (Some(shapes), Some(outputs), Some(padding), Some(nodes)) = (
            fields.take(values as usize * SHAPE_LEN),
            fields.take(outputs_len),
            fields.take(outputs_len.next_multiple_of(4) - outputs_len),
            fields.take(nodes_len as usize),
        ) else {
            return Err(fail(Problem::Truncated {
                needed,
                found: graph.len() as u64,
            }));
        };
        if !fields.rest().is_empty() {
            return Err(fail(Problem::Length {
                expected: needed,
                found: graph.len() as u64,
            }));
        }
        if first_nonzero(padding).is_some() {
            return Err(fail(Problem::NotZero {
                offset: needed - u64::from(nodes_len) - 2,
            }));
        }

        let table = sections.require(Section::Tensors)?;
        let fail = at(Section::Tensors);
        let count = u32_at(table, 0).ok_or(fail(short(4, table.len())))?;
        let limit = limits.tensors.min(u16::MAX.into());
        if count > limit {
            return Err(fail(Problem::Limit {
                limit: limit.into(),
                found: count.into(),
            }));
        }
        // Four zero bytes keep the entries aligned to eight.
        let tensors = table.get(8..).unwrap_or(&[]);
        let expected = 8 + u64::from(count) * TENSOR_LEN as u64;
        if table.len() as u64 != expected {
            return Err(fail(Problem::Length {
                expected,
                found: table.len() as u64,
            }));
        }
        if u32_at(table, 4) != Some(0) {
            return Err(fail(Problem::NotZero { offset: 4 }));
        }

        let value_count = values as usize;
        let node_count = value_count - inputs as usize;
        let plan = PlanView::split(sections.require(Section::Plan)?, value_count, node_count, limits)
            .map_err(at(Section::Plan))?;
        let data = sections.require(Section::Data)?;
        Ok(Self {
            sections,
            inputs,
            shapes,
            outputs,
            nodes,
            tensors,
            data,
            plan,
        })
    }

    fn check_tensors(&self, file: &[u8]) -> Result<(), FormatError> {
        let must_understand = u32_at(file, 28).unwrap_or(0);
        let mut end = 0u64;
        for i in 0..self.tensor_count() {
            let fail = |problem| FormatError::new(Place::Tensor(i as u32), problem);
            let (desc, offset, len) = self.tensor_entry(i).map_err(fail)?;
            let expected = end.next_multiple_of(PAYLOAD_ALIGN as u64);
            if offset != expected {
                return Err(fail(Problem::Offset {
                    expected,
                    found: offset,
                }));
            }
            let range = |start: u64, end: u64| self.data.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?);
            let next = offset.checked_add(len).ok_or(fail(Problem::Length {
                expected: 0,
                found: len,
            }))?;
            let (Some(gap), Some(payload)) = (range(end, offset), range(offset, next)) else {
                return Err(fail(Problem::Truncated {
                    needed: next,
                    found: self.data.len() as u64,
                }));
            };
            if first_nonzero(gap).is_some() {
                return Err(fail(Problem::NotZero { offset: end }));
            }
            let matrix = Matrix::read(&desc, payload, i as u32)?;
            if let Values::I8 { scales, .. } = matrix.values() {
                if must_understand & FEATURE_I8 == 0 {
                    return Err(fail(Problem::Features { unknown: FEATURE_I8 }));
                }
                if scales.iter().any(|s| !s.is_finite()) {
                    return Err(fail(Problem::NotFinite));
                }
            }
            end = next;
        }
        let found = self.data.len() as u64;
        if end != found {
            let place = Place::Section(Section::Data as u32);
            return Err(FormatError::new(place, Problem::Length { expected: end, found }));
        }
        Ok(())
    }

    /// Checks nodes, shapes and the constants of each operator.
    fn check_graph(&self) -> Result<(), FormatError> {
        for id in 0..self.value_count() {
            let fail = |problem| FormatError::new(Place::Value(id as u32), problem);
            self.read_shape(id).map_err(fail)?;
        }
        let mut rest = self.nodes;
        for index in 0..self.node_count() {
            let fail = |problem| FormatError::new(Place::Node(index as u32), problem);
            let output = self.input_count() + index;
            let (record, tail) = node::decode(rest).map_err(fail)?;
            rest = tail;
            if let Some(late) = value_ids(record.inputs).find(|id| usize::from(id.0) >= output) {
                return Err(fail(Problem::Index {
                    bound: output as u32,
                    found: late.0.into(),
                }));
            }
            self.check_node(&record.op, value_ids(record.inputs), output)
                .map_err(fail)?;
        }
        if !rest.is_empty() {
            let (found, left) = (self.nodes.len() as u64, rest.len() as u64);
            let place = Place::Section(Section::Graph as u32);
            return Err(FormatError::new(
                place,
                Problem::Length {
                    expected: found - left,
                    found,
                },
            ));
        }
        for id in value_ids(self.outputs) {
            if usize::from(id.0) >= self.value_count() {
                let problem = Problem::Index {
                    bound: self.value_count() as u32,
                    found: id.0.into(),
                };
                return Err(FormatError::new(Place::Section(Section::Graph as u32), problem));
            }
        }
        Ok(())
    }

    fn check_node(&self, op: &Op, inputs: impl Iterator<Item = ValueId> + Clone, output: usize) -> Result<(), Problem> {
        let mut shapes = [Shape::SCALAR; MAX_INPUTS];
        let count = inputs.clone().count();
        if count > MAX_INPUTS {
            return Err(Problem::Limit {
                limit: MAX_INPUTS as u64,
                found: count as u64,
            });
        }
        for (slot, id) in shapes.iter_mut().zip(inputs) {
            *slot = self.shape(id);
        }
        let shapes = shapes.get(..count).unwrap_or(&[]);
        let inferred = op.infer(shapes)?;
        if inferred != self.shape(ValueId(output as u16)) {
            return Err(Problem::Shape(crate::ShapeError::Mismatch));
        }
        let input = shapes.first().copied().unwrap_or(inferred);
        for (id, rows, cols) in op.constants(input)?.into_iter().flatten() {
            let bound = self.tensor_count() as u32;
            if u32::from(id.0) >= bound {
                return Err(Problem::Index {
                    bound,
                    found: id.0.into(),
                });
            }
            let (desc, ..) = self.tensor_entry(id.0.into())?;
            if (desc.rows, desc.cols) != (rows, cols) {
                return Err(Problem::TensorShape {
                    expected: (rows, cols),
                    found: (desc.rows, desc.cols),
                });
            }
            if Some(id) == op.bias() && (desc.encoding, desc.values) != (Encoding::Dense, ValueType::F32) {
                return Err(Problem::Encoding);
            }
        }
        Ok(())
    }

    fn read_shape(&self, id: usize) -> Result<Shape, Problem> {
        let bytes = self.shapes.get(id * SHAPE_LEN..).unwrap_or(&[]);
        let short = Problem::Truncated {
            needed: SHAPE_LEN as u64,
            found: bytes.len() as u64,
        };
        node::shape(&mut Fields::new(bytes)).unwrap_or(Err(short))
    }

    /// Description, offset and length of a tensor.
    fn tensor_entry(&self, i: usize) -> Result<(MatrixDesc, u64, u64), Problem> {
        let entry = self.tensors.get(i * TENSOR_LEN..).unwrap_or(&[]);
        let (Some(&[encoding, values, p0, p1]), Some(rows), Some(cols), Some(stored), Some(offset), Some(len)) = (
            entry.first_chunk(),
            u32_at(entry, 4),
            u32_at(entry, 8),
            u32_at(entry, 12),
            u64_at(entry, 16),
            u64_at(entry, 24),
        ) else {
            return Err(Problem::Truncated {
                needed: TENSOR_LEN as u64,
                found: entry.len() as u64,
            });
        };
        let encoding = match (encoding, p0, p1) {
            (0, 0, 0) => Encoding::Dense,
            (1, 0, 0) => Encoding::Csr16,
            (2, 0, 0) => Encoding::Win8,
            (3, 0, 0) => Encoding::Bitmask,
            (4, n, m) => Encoding::Nm { n, m },
            (5, r, c) => Encoding::Block {
                r,
                c,
                index: BlockIndex::Csr16,
            },
            (6, r, c) => Encoding::Block {
                r,
                c,
                index: BlockIndex::Win8,
            },
            (code, ..) => return Err(Problem::Code { found: code.into() }),
        };
        let values = match values {
            0 => ValueType::F32,
            1 => ValueType::F16,
            2 => ValueType::Bf16,
            3 => ValueType::I8,
            code => return Err(Problem::Code { found: code.into() }),
        };
        Ok((
            MatrixDesc {
                encoding,
                values,
                rows,
                cols,
                stored,
            },
            offset,
            len,
        ))
    }

    /// Number of graph inputs: values `0..input_count`.
    pub fn input_count(&self) -> usize {
        self.inputs as usize
    }

    /// Number of values: graph inputs and nodes.
    pub fn value_count(&self) -> usize {
        self.shapes.len() / SHAPE_LEN
    }

    /// Number of nodes.
    pub fn node_count(&self) -> usize {
        self.value_count() - self.input_count()
    }

    /// Number of constant tensors.
    pub fn tensor_count(&self) -> usize {
        self.tensors.len() / TENSOR_LEN
    }

    /// The values the model returns.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = ValueId> + Clone + use<'a> {
        self.outputs
            .chunks_exact(2)
            .map(|id| ValueId(u16_at(id, 0).unwrap_or(0)))
    }

    /// The shape of a value; that of a scalar if there is no such value.
    pub fn shape(&self, id: ValueId) -> Shape {
        self.read_shape(id.0.into()).unwrap_or(Shape::SCALAR)
    }

    /// The nodes, in execution order.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'a>> + use<'a> {
        let mut rest = self.nodes;
        let inputs = self.input_count();
        (0..self.node_count()).map_while(move |index| {
            let (record, tail) = node::decode(rest).ok()?;
            rest = tail;
            let output = ValueId((inputs + index) as u16);
            Some(Node {
                index,
                op: record.op,
                output,
                inputs: record.inputs,
            })
        })
    }

    /// A constant tensor; `None` if there is no such tensor.
    pub fn tensor(&self, id: TensorId) -> Option<(MatrixDesc, Matrix<'a>)> {
        let (desc, offset, len) = self.tensor_entry(id.0.into()).ok()?;
        let payload = self.data.get(offset as usize..(offset + len) as usize)?;
        Some((desc, Matrix::view(&desc, payload, id.0.into()).ok()?))
    }

    /// A constant vector (bias); `None` if there is none, or it is not dense f32.
    pub fn vector(&self, id: TensorId) -> Option<&'a [f32]> {
        match self.tensor(id)?.1 {
            Matrix::Dense(Dense {
                values: Values::F32(values),
                ..
            }) => Some(values),
            _ => None,
        }
    }

    /// The memory plan.
    pub fn plan(&self) -> &PlanView<'a> {
        &self.plan
    }

    /// The name of a graph input or of the node that computes a value; `None`
    /// where names were stripped.
    pub fn name(&self, id: ValueId) -> Option<&'a str> {
        Strings {
            bytes: self.sections.get(Section::Names)?,
        }
        .nth(id.0.into())
    }

    /// How graph input 0 is scaled and normalised; `None` where that was not recorded.
    pub fn preprocess(&self) -> Option<PreprocessView<'a>> {
        PreprocessView::split(self.sections.get(Section::Preprocess)?).ok()
    }

    /// What was fastest where the file was written; `None` where nothing was measured.
    pub fn tuning(&self) -> Option<TuningView<'a>> {
        TuningView::split(self.sections.get(Section::Tuning)?).ok()
    }

    /// Key-value text about the file.
    pub fn info(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let mut strings = Strings {
            bytes: self.sections.get(Section::Info).unwrap_or(&[]),
        };
        core::iter::from_fn(move || Some((strings.next()?, strings.next()?)))
    }
}
