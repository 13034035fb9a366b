//! A session: a model, an arena, and the list of kernels it may use.

use secateur_format::{Model, Node, ValueId};

use crate::arena::Carved;
use crate::kernel::{self, Kernel};
use crate::{RunError, op};

/// A model ready to run over the caller's memory.
///
/// The memory plan may let later values take the place of an input once it was
/// read: write all inputs before every run.
#[derive(Debug)]
pub struct Session<'m, 'a> {
    model: Model<'m>,
    arena: &'a mut [f32],
    kernels: &'static [Kernel],
    #[cfg(feature = "alloc")]
    prepared: Option<crate::prepared::Prepared>,
}

impl<'m, 'a> Session<'m, 'a> {
    /// A session with all kernels of this build, the fastest first.
    ///
    /// # Errors
    /// [`RunError::ArenaTooSmall`], [`RunError::ArenaMisaligned`] or [`RunError::NoKernel`].
    pub fn new(model: &Model<'m>, arena: &'a mut [u8]) -> Result<Self, RunError> {
        Self::with_kernels(model, arena, kernel::ALL)
    }

    /// A session with the given kernels: the first in the list that fits a node
    /// runs it. Firmware passes [`kernel::SCALAR`] or a list of its own, and the
    /// linker drops the rest.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn with_kernels(model: &Model<'m>, arena: &'a mut [u8], kernels: &'static [Kernel]) -> Result<Self, RunError> {
        let (needed, align) = (model.plan().arena_bytes(), model.plan().align());
        let found = u32::try_from(arena.len()).unwrap_or(u32::MAX);
        let too_small = RunError::ArenaTooSmall {
            needed,
            missing: needed.saturating_sub(found),
        };
        if found < needed {
            return Err(too_small);
        }
        if !(arena.as_ptr() as usize).is_multiple_of(align as usize) {
            return Err(RunError::ArenaMisaligned { align });
        }
        let (arena, _) = arena.split_at_mut_checked(needed as usize).ok_or(too_small)?;
        let arena = bytemuck::try_cast_slice_mut(arena).map_err(|_| RunError::ArenaMisaligned { align })?;
        let session = Self {
            model: *model,
            arena,
            kernels,
            #[cfg(feature = "alloc")]
            prepared: None,
        };
        for node in model.nodes() {
            op::kernel_of(&session.model, &node, kernels)?;
        }
        Ok(session)
    }

    /// A session with repacked weights, made from the same model.
    ///
    /// # Errors
    /// As [`Session::new`].
    #[cfg(feature = "alloc")]
    pub fn with_prepared(
        model: &Model<'m>,
        arena: &'a mut [u8],
        prepared: crate::prepared::Prepared,
    ) -> Result<Self, RunError> {
        let mut session = Self::with_kernels(model, arena, prepared.kernels())?;
        session.prepared = Some(prepared);
        Ok(session)
    }

    /// The repacked weights, if there are.
    #[cfg(feature = "alloc")]
    pub fn prepared(&self) -> Option<&crate::prepared::Prepared> {
        self.prepared.as_ref()
    }

    /// The model.
    pub fn model(&self) -> &Model<'m> {
        &self.model
    }

    /// The kernel that runs a node of the model; `None` for operators without weights.
    pub fn kernel(&self, node: &Node<'_>) -> Option<&'static Kernel> {
        #[cfg(feature = "alloc")]
        if let Some(kernel) = self.prepared.as_ref().and_then(|prepared| prepared.kernel(node.index)) {
            return Some(kernel);
        }
        op::kernel_of(&self.model, node, self.kernels).ok().flatten()
    }

    /// Input `index`, planar (`[C, H, W]`), to be written before every run.
    ///
    /// # Errors
    /// [`RunError::Index`].
    pub fn input_mut(&mut self, index: usize) -> Result<&mut [f32], RunError> {
        let bound = self.model.input_count() as u32;
        let missing = RunError::Index {
            bound,
            found: u32::try_from(index).unwrap_or(u32::MAX),
        };
        if index >= bound as usize {
            return Err(missing);
        }
        let id = ValueId(index as u16);
        let range = self.model.plan().value(id, self.model.shape(id));
        self.arena.get_mut(range.elems()).ok_or(missing)
    }

    /// Output `index`, valid after a run.
    ///
    /// # Errors
    /// [`RunError::Index`].
    pub fn output(&self, index: usize) -> Result<&[f32], RunError> {
        let bound = self.model.outputs().len() as u32;
        let missing = RunError::Index {
            bound,
            found: u32::try_from(index).unwrap_or(u32::MAX),
        };
        let id = self.model.outputs().nth(index).ok_or(missing)?;
        let range = self.model.plan().value(id, self.model.shape(id));
        self.arena.get(range.elems()).ok_or(missing)
    }

    /// Runs the model once.
    ///
    /// # Errors
    /// None for a model that was read: the plan was checked.
    pub fn run(&mut self) -> Result<(), RunError> {
        self.run_observed(|_, _| ())
    }

    /// Runs the model once and calls `after` with the index of each node that
    /// was run and its output: for timing, and for looking at intermediate values. (In a prepared
    /// session, a product that does the addition behind it leaves its own output undefined.)
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_observed(&mut self, after: impl FnMut(usize, &[f32])) -> Result<(), RunError> {
        Inference(self).0.run_nodes(after)
    }

    fn run_nodes(&mut self, mut after: impl FnMut(usize, &[f32])) -> Result<(), RunError> {
        let plan = *self.model.plan();
        for node in self.model.nodes() {
            let output = plan.value(node.output, self.model.shape(node.output));
            #[cfg(feature = "alloc")]
            if let Some(prepared) = &mut self.prepared
                && prepared.run(&self.model, &node, self.arena)?
            {
                after(node.index, self.arena.get(output.elems()).unwrap_or(&[]));
                continue;
            }
            let carved = Carved::new(self.arena, output, plan.scratch(node.index));
            let internal = RunError::Internal {
                node: node.index as u32,
            };
            op::run(&self.model, &node, carved.ok_or(internal)?, self.kernels)?;
            let result = self.arena.get(output.elems());
            after(node.index, result.unwrap_or(&[]));
        }
        Ok(())
    }

    /// Runs a batch through a model of one input and one output, sample after
    /// sample: the arena does not grow with the batch.
    ///
    /// # Errors
    /// [`RunError::Arity`]; [`RunError::Length`] if `inputs` is not a multiple of the input, or
    /// `outputs` not the same multiple of the output.
    pub fn run_batch(&mut self, inputs: &[f32], outputs: &mut [f32]) -> Result<(), RunError> {
        let (arity, outs) = (self.model.input_count() as u32, self.model.outputs().len() as u32);
        if (arity, outs) != (1, 1) {
            return Err(RunError::Arity {
                inputs: arity,
                outputs: outs,
            });
        }
        let (input_len, output_len) = (self.input_mut(0)?.len().max(1), self.output(0)?.len().max(1));
        let wrong = |expected: usize, found: usize| RunError::Length {
            expected: expected as u32,
            found: found as u32,
        };
        if !inputs.len().is_multiple_of(input_len) {
            return Err(wrong(inputs.len().next_multiple_of(input_len), inputs.len()));
        }
        let samples = inputs.len() / input_len;
        if outputs.len() != samples * output_len {
            return Err(wrong(samples * output_len, outputs.len()));
        }
        for (input, output) in inputs.chunks_exact(input_len).zip(outputs.chunks_exact_mut(output_len)) {
            self.input_mut(0)?
                .iter_mut()
                .zip(input)
                .for_each(|(to, from)| *to = *from);
            self.run()?;
            output
                .iter_mut()
                .zip(self.output(0)?)
                .for_each(|(to, from)| *to = *from);
        }
        Ok(())
    }
}

/// A run in progress; when it ends, even in a panic, threads may sleep.
struct Inference<'s, 'm, 'a>(&'s mut Session<'m, 'a>);

impl Drop for Inference<'_, '_, '_> {
    fn drop(&mut self) {
        #[cfg(feature = "alloc")]
        if let Some(prepared) = &mut self.0.prepared {
            prepared.rest();
        }
    }
}
