//! An output that several threads write at once.

use core::marker::PhantomData;

/// A row-major matrix of outputs, of which each thread writes its own part.
#[derive(Clone, Copy, Debug)]
pub struct Output<'y> {
    data: *mut f32,
    rows: usize,
    /// Numbers of a row.
    row_len: usize,
    memory: PhantomData<&'y mut [f32]>,
}

// SAFETY: it is a mutable slice that is cut into rows and columns; who shares
// it promises (see `PanelKernel::run`) that no two threads write one element.
unsafe impl Send for Output<'_> {}
// SAFETY: as above.
unsafe impl Sync for Output<'_> {}

impl<'y> Output<'y> {
    /// As many whole rows of `row_len` numbers as `data` has.
    pub fn new(data: &'y mut [f32], row_len: usize) -> Self {
        Self {
            rows: data.len().checked_div(row_len).unwrap_or(0),
            data: data.as_mut_ptr(),
            row_len,
            memory: PhantomData,
        }
    }

    /// The rows from `first` on.
    pub(crate) fn starting_at(&self, first: usize) -> Self {
        let first = first.min(self.rows);
        Self {
            data: self.data.wrapping_add(first * self.row_len),
            rows: self.rows - first,
            ..*self
        }
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers of a row.
    pub fn row_len(&self) -> usize {
        self.row_len
    }

    /// Address of the first element.
    #[inline(always)]
    pub(in crate::kernel) fn start(&self) -> *const f32 {
        self.data
    }

    /// Address of element `column` of `row`.
    ///
    /// # Safety
    /// `row` and `column` must be inside.
    #[inline(always)]
    pub(in crate::kernel) unsafe fn at(&self, row: usize, column: usize) -> *mut f32 {
        // SAFETY: the caller's promise.
        unsafe { self.data.add(row * self.row_len + column) }
    }
}
