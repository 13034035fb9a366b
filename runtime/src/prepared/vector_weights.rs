//! The weights of a product with one column, as its kernel wants them.

use secateur_format::encoding::{Matrix, MatrixDesc, Packed};

use crate::ArenaBuf;
use crate::kernel::slices::Slices;
use crate::kernel::{Kernel, Run, Spmv};

/// Weights of a matrix in memory of their own.
#[derive(Debug)]
pub enum VectorWeights {
    /// In an encoding of the file format.
    Encoded(MatrixDesc, ArenaBuf),
    /// Rows side by side.
    Slices(Slices),
}

impl VectorWeights {
    /// The weights for a kernel; `None` if it has no use for their encoding.
    pub fn new(packed: &Packed, kernel: &Kernel) -> Option<Self> {
        let payload = ArenaBuf::copy_of(&packed.payload);
        let Run::Slices(slices) = kernel.run else {
            return Some(Self::Encoded(packed.desc, payload));
        };
        match Matrix::view(&packed.desc, payload.as_ref(), 0).ok()? {
            Matrix::Csr16(matrix) => {
                let windows = slices.windows(packed.payload.len());
                Slices::new(&matrix, slices.lanes, windows).map(Self::Slices)
            }
            _ => None,
        }
    }

    /// Bytes of them.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Encoded(_, payload) => payload.as_ref().len(),
            Self::Slices(slices) => slices.bytes(),
        }
    }

    /// Runs the kernel that they were made for; another one leaves the output unwritten.
    pub fn product(&self, kernel: &Kernel, task: &mut Spmv<'_>) {
        match (self, kernel.run) {
            (Self::Encoded(desc, payload), Run::Spmv(run)) => {
                if let Ok(matrix) = Matrix::view(desc, payload.as_ref(), 0) {
                    run(&matrix, task);
                }
            }
            (Self::Slices(slices), Run::Slices(kernel)) => (kernel.run)(slices, task),
            _ => {}
        }
    }
}
