//! Tiles: some rows by some vectors of an SpMM, whose sums fit the registers.
//!
//! The entries come decoded, in a [`Strip`], whatever their encoding: so these
//! kernels exist once per instruction set and tile, and decoding once per encoding.

use crate::kernel::Spmm;
use crate::kernel::activation::activate;
use crate::kernel::vector::{MOST_LANES, Vector};

/// Vectors of the widest tile.
const MOST_VECTORS: usize = 8;
/// Entries of a strip.
pub(super) const CAPACITY: usize = 128;
/// Run positions of the longest band.
pub(super) const BAND: usize = 256;

const _: () = assert!(MOST_VECTORS * MOST_LANES <= BAND);

/// Decoded entries of `R` rows with the same input.
pub(in crate::kernel) struct Strip<const R: usize> {
    pub(super) len: usize,
    /// Where the run of each entry's column starts in the input.
    pub(super) starts: [usize; CAPACITY],
    pub(super) weights: [[f32; R]; CAPACITY],
}

/// A part of the run: `vectors` of every row.
///
/// Where the run ends inside the last one, that one is moved back and overlaps
/// its neighbour. A run shorter than a vector is a part of one, and `vectors` is 0.
#[derive(Clone, Copy, Default)]
pub(in crate::kernel) struct Tile {
    pub(super) vectors: usize,
    /// Where its sums are kept in the band: there tiles do not overlap.
    in_band: usize,
    /// Run position of the first vector.
    at: usize,
    /// Run positions from there to the end of the last vector.
    extent: usize,
    /// Start of the line in every output row.
    start: usize,
    /// Position in the line, which may be one that is dropped.
    column: usize,
}

/// The lines of a run in an output row.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Lines {
    row_len: usize,
    /// Length of a line.
    line: usize,
    /// How much of it is kept.
    keep: usize,
}

impl Lines {
    pub(super) fn of(task: &Spmm<'_>) -> Self {
        let row_len = task.lines() * task.keep;
        // Lines without gaps are one line.
        let (line, keep) = match task.line == task.keep {
            true => (row_len, row_len),
            false => (task.line, task.keep),
        };
        let line = line.max(1);
        Self { row_len, line, keep }
    }
}

impl Tile {
    /// The tile at `at` of a run, in the band that starts at `band`, of at most
    /// `widest` vectors. Made once for all rows, because it takes divisions.
    pub(super) fn new(span: usize, band: usize, at: usize, lanes: usize, widest: usize, lines: &Lines) -> Self {
        let vectors = (span - at).div_ceil(lanes).min(widest);
        let in_band = at - band;
        let at = at.min(span.saturating_sub(lanes));
        Self {
            vectors: if span < lanes { 0 } else { vectors },
            in_band,
            at,
            extent: (span - at).min(vectors * lanes),
            start: at / lines.line * lines.keep,
            column: at % lines.line,
        }
    }
}

/// The work of a tile kernel.
pub(in crate::kernel) struct Step<'s, 't, const R: usize> {
    pub(super) task: &'s mut Spmm<'t>,
    pub(super) lines: &'s Lines,
    pub(super) strip: &'s Strip<R>,
    /// The first of the `R` rows.
    pub(super) row: usize,
    /// Whether sums start with the bias, or with what was left in `partial`.
    pub(super) first: bool,
    /// Whether sums are complete, or to be left in `partial`.
    pub(super) last: bool,
    /// Sums of a band.
    pub(super) partial: &'s mut [[f32; BAND]; R],
}

/// A tile kernel.
///
/// # Safety
/// The CPU must have its instruction set. From each start in the strip, the
/// input must be as long as the run. The tile must be inside the run and band.
pub(in crate::kernel) type Run<const R: usize> = unsafe fn(&mut Step<'_, '_, R>, &Tile);

/// The tile kernels of `R` rows.
pub(in crate::kernel) struct Rows<const R: usize> {
    /// Vectors of the widest tile.
    pub(in crate::kernel) widest: usize,
    /// Part of a vector.
    pub(in crate::kernel) part: Run<R>,
    /// One vector, two, and so on.
    pub(in crate::kernel) tiles: [Run<R>; MOST_VECTORS],
}

/// The tile kernels of an instruction set.
pub(in crate::kernel) struct Tiles {
    pub(in crate::kernel) lanes: usize,
    pub(in crate::kernel) one: Rows<1>,
    pub(in crate::kernel) two: Rows<2>,
    pub(in crate::kernel) four: Rows<4>,
}

/// Vectors of the widest tile of `rows`.
pub(in crate::kernel) const fn widest<I: Vector>(rows: usize) -> usize {
    match I::SUMS / rows {
        0 => 1,
        vectors if vectors > MOST_VECTORS => MOST_VECTORS,
        vectors => vectors,
    }
}

/// The tile kernel of `R` rows by `N` vectors, or by `PART` of one.
///
/// # Safety
/// As of [`Run`]; the instruction set is that of `I`.
#[inline(always)]
pub(in crate::kernel) unsafe fn tile<I: Vector, const R: usize, const N: usize, const PART: bool>(
    step: &mut Step<'_, '_, R>,
    tile: &Tile,
) {
    // SAFETY: the caller's promise. A tile ends inside run and band, its vectors inside the tile.
    unsafe {
        let mut sums = [[I::splat(0.0); N]; R];
        for (r, sums) in sums.iter_mut().enumerate() {
            let bias = I::splat(step.task.bias(step.row + r));
            let partial = step.partial[r].as_ptr().add(tile.in_band);
            for (n, sum) in sums.iter_mut().enumerate() {
                *sum = if step.first {
                    bias
                } else {
                    tile.load::<I, N, PART>(partial, n)
                };
            }
        }
        let x = step.task.x.as_ptr().add(tile.at);
        let mut sums = multiply::<I, R, N, PART>(step.strip, tile, x, sums);
        for (r, sums) in sums.iter_mut().enumerate() {
            if step.last {
                tile.finish::<I, N, PART>(step.task, step.lines, step.row + r, sums);
            } else {
                tile.store::<I, N, PART>(step.partial[r].as_mut_ptr().add(tile.in_band), sums);
            }
        }
    }
}

/// Adds the products of the strip to the sums. Those come and go by value:
/// memory that loops elsewhere walk through would not become registers here.
///
/// # Safety
/// As of [`tile`].
#[inline(always)]
unsafe fn multiply<I: Vector, const R: usize, const N: usize, const PART: bool>(
    strip: &Strip<R>,
    tile: &Tile,
    x: *const f32,
    mut sums: [[I; N]; R],
) -> [[I; N]; R] {
    for (start, weights) in strip.starts.iter().zip(&strip.weights).take(strip.len) {
        // SAFETY: the caller's promise.
        unsafe {
            let x = x.add(*start);
            for n in 0..N {
                let x: I = tile.load::<I, N, PART>(x, n);
                for (sums, w) in sums.iter_mut().zip(weights) {
                    sums[n] = x.mul_add(I::splat(*w), sums[n]);
                }
            }
        }
    }
    sums
}

/// All methods: the CPU must have the instruction set of `I`, and the tile be
/// one of `N` vectors, or of `PART` of one.
impl Tile {
    /// Distance of vector `n` from the first.
    #[inline(always)]
    fn position<I: Vector, const N: usize>(&self, n: usize) -> usize {
        if n + 1 == N {
            self.extent - I::LANES
        } else {
            n * I::LANES
        }
    }

    /// Vector `n` of the tile that lies at `p`.
    ///
    /// # Safety
    /// As of all; the tile's extent must be readable.
    #[inline(always)]
    unsafe fn load<I: Vector, const N: usize, const PART: bool>(&self, p: *const f32, n: usize) -> I {
        // SAFETY: the caller's promise.
        unsafe {
            match PART {
                true => I::load_first(p, self.extent),
                false => I::load(p.add(self.position::<I, N>(n))),
            }
        }
    }

    /// Writes the tile to `p`.
    ///
    /// # Safety
    /// As of all; the tile's extent must be writable.
    #[inline(always)]
    unsafe fn store<I: Vector, const N: usize, const PART: bool>(&self, p: *mut f32, sums: &[I; N]) {
        for (n, sum) in sums.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                match PART {
                    true => sum.store_first(p, self.extent),
                    false => sum.store(p.add(self.position::<I, N>(n))),
                }
            }
        }
    }

    /// Applies the activation to a row's sums and writes what is kept of them to the output.
    ///
    /// # Safety
    /// As of all.
    #[inline(always)]
    unsafe fn finish<I: Vector, const N: usize, const PART: bool>(
        &self,
        task: &mut Spmm<'_>,
        lines: &Lines,
        row: usize,
        sums: &mut [I; N],
    ) {
        let Some(y) = task.y.get_mut(row * lines.row_len..(row + 1) * lines.row_len) else {
            return;
        };
        for sum in &mut *sums {
            // SAFETY: the caller's promise.
            *sum = unsafe { activate(task.activation, *sum) };
        }
        let first = self.start + self.column;
        match y.get_mut(first..first + self.extent) {
            // SAFETY: as long as the tile.
            Some(y) if self.column + self.extent <= lines.keep => unsafe {
                self.store::<I, N, PART>(y.as_mut_ptr(), sums);
            },
            _ => {
                let mut run = [0.0; (MOST_VECTORS + 1) * MOST_LANES];
                // SAFETY: room for any tile, and for a vector that begins at its last number.
                unsafe {
                    self.store::<I, N, PART>(run.as_mut_ptr(), sums);
                    self.scatter::<I>(lines, &run, y);
                }
            }
        }
    }

    /// Copies what is kept of each line to an output row.
    ///
    /// # Safety
    /// As of all.
    #[inline(always)]
    unsafe fn scatter<I: Vector>(&self, lines: &Lines, run: &[f32; (MOST_VECTORS + 1) * MOST_LANES], y: &mut [f32]) {
        let (mut start, mut column, mut at) = (self.start, self.column, 0);
        while at < self.extent {
            let kept = lines.keep.saturating_sub(column).min(self.extent - at);
            let y = y.get_mut(start + column..start + column + kept).unwrap_or(&mut []);
            let mut done = 0;
            while done < y.len() {
                let count = (y.len() - done).min(I::LANES);
                // SAFETY: a vector may begin at any of the tile's numbers in `run`; `count` are left of `y`.
                unsafe { I::load(run.as_ptr().add(at + done)).store_first(y.as_mut_ptr().add(done), count) }
                done += count;
            }
            at += (lines.line - column).min(self.extent - at);
            (start, column) = (start + lines.keep, 0);
        }
    }
}
