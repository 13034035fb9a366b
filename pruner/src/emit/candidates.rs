//! The encodings a weight matrix can take, with their exact sizes.

use super::{EncodingChoice, Family};
use secateur_format::encoding::{BlockIndex, Encoding, MatrixDesc, Quantized, describe};

/// An encoding with its exact size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What it would be stored as.
    pub desc: MatrixDesc,
    /// Bytes of the payload.
    pub bytes: u64,
}

/// All encodings that can hold the matrix, the smallest first; of equals, the
/// simpler. An N:M that is asked for is one of them even if a smaller N would do.
pub fn candidates(quantized: &Quantized, choice: EncodingChoice) -> Vec<Candidate> {
    let mut encodings = vec![Encoding::Dense, Encoding::Win8, Encoding::Csr16, Encoding::Bitmask];
    for m in 2..=16 {
        let Some(fullest) = fullest_group(quantized, m) else {
            continue;
        };
        encodings.push(Encoding::Nm { n: fullest, m });
        if let EncodingChoice::Only(Family::Nm(Some((n, asked)))) = choice
            && asked == m
            && n > fullest
        {
            encodings.push(Encoding::Nm { n, m });
        }
    }
    const EXTENTS: [u8; 5] = [1, 2, 4, 8, 16];
    for (r, c) in EXTENTS.iter().flat_map(|&r| EXTENTS.iter().map(move |&c| (r, c))) {
        encodings.extend([BlockIndex::Win8, BlockIndex::Csr16].map(|index| Encoding::Block { r, c, index }));
    }
    let mut candidates: Vec<Candidate> = encodings
        .into_iter()
        .filter_map(|encoding| {
            let desc = describe(quantized, encoding).ok()?;
            Some(Candidate {
                desc,
                bytes: desc.payload_len()?,
            })
        })
        .collect();
    candidates.sort_by_key(|candidate| candidate.bytes);
    candidates
}

/// The most non-zeros in a group of `m` columns, at least 1; `None` if `m` does
/// not divide the columns or a group is full.
fn fullest_group(quantized: &Quantized, m: u8) -> Option<u8> {
    let (_, cols) = quantized.shape();
    if !cols.is_multiple_of(m.into()) {
        return None;
    }
    let groups = quantized.weights().chunks_exact(m.into());
    let fullest = groups
        .map(|group| group.iter().filter(|&&w| w != 0.0).count() as u8)
        .max()?;
    (fullest < m).then_some(fullest.max(1))
}
