//! The threads that run layers, each with scratch memory of its own.

use alloc::vec::Vec;

#[cfg(feature = "parallel")]
use super::awake::{Awake, Ticket, Tickets};
use crate::ArenaBuf;

/// What takes less is not worth handing to another thread that is awake, in nanoseconds.
pub(super) const LEAST_SHARED_NS: f64 = 6_000.0;

/// Multiply-adds of a vector (of 16 numbers, say) that take as long, about.
const LEAST_SHARED: usize = 4 * LEAST_SHARED_NS as usize;

/// Threads and their scratch memory. Outputs are split among them, never sums:
/// results have the same bits for any number of threads.
#[derive(Debug)]
pub struct Threads {
    scratch: Vec<ArenaBuf>,
    least: usize,
    #[cfg(feature = "parallel")]
    pool: Option<rayon::ThreadPool>,
    #[cfg(feature = "parallel")]
    awake: Awake,
}

impl Threads {
    /// `count` threads, the calling one among them; one without the feature `parallel`.
    pub fn new(count: usize) -> Self {
        Self::sharing(count, LEAST_SHARED)
    }

    /// Threads that share what takes at least so many multiply-adds of a vector.
    pub fn sharing(count: usize, least: usize) -> Self {
        #[cfg(feature = "parallel")]
        {
            let builder = rayon::ThreadPoolBuilder::new().num_threads(count.saturating_sub(1));
            let pool = (count > 1).then(|| builder.build().ok()).flatten();
            let count = if pool.is_some() { count } else { 1 };
            Self {
                scratch: (0..count).map(|_| ArenaBuf::new(0)).collect(),
                least,
                pool,
                awake: Awake::default(),
            }
        }
        #[cfg(not(feature = "parallel"))]
        {
            let _ = count;
            Self {
                scratch: alloc::vec![ArenaBuf::new(0)],
                least,
            }
        }
    }

    /// Number of threads.
    pub fn count(&self) -> usize {
        self.scratch.len()
    }

    /// Makes sure that each thread has `bytes` of scratch memory.
    pub fn reserve(&mut self, bytes: usize) {
        for scratch in &mut self.scratch {
            if scratch.as_ref().len() < bytes {
                *scratch = ArenaBuf::new(bytes);
            }
        }
    }

    /// As many threads as are worth waking for so many multiply-adds (or the like) of a vector.
    pub(crate) fn worth(&self, steps: usize) -> usize {
        match steps < self.least {
            true => 1,
            false => self.count(),
        }
    }

    /// Lets the threads sleep: nothing is shared for a while.
    pub(crate) fn rest(&mut self) {
        #[cfg(feature = "parallel")]
        self.awake.end();
    }

    /// Runs `job(thread, scratch)` on the first `count` threads, and waits for them.
    pub(crate) fn run(&mut self, count: usize, job: impl Fn(usize, &mut [f32]) + Sync) {
        #[cfg(feature = "parallel")]
        if let Some(pool) = self.pool.as_ref().filter(|_| count > 1) {
            self.awake.begin(pool);
            let (job, tickets) = (&job, &Tickets::default());
            pool.in_place_scope(|scope| {
                let mut all = self.scratch.iter_mut().take(count).enumerate();
                let own = all.next();
                for (thread, scratch) in all {
                    let ticket = tickets.take();
                    scope.spawn(move |_| {
                        let _ticket: Ticket<'_> = ticket;
                        job(thread, floats(scratch));
                    });
                }
                if let Some((thread, scratch)) = own {
                    job(thread, floats(scratch));
                }
                tickets.wait();
            });
            return;
        }
        for (thread, scratch) in self.scratch.iter_mut().take(count).enumerate() {
            job(thread, floats(scratch));
        }
    }
}

impl Threads {
    /// Cuts `data`, made of units of `unit` numbers, into a part for each of `count` threads, and runs
    /// `job(first unit, part)` on them.
    pub(crate) fn split(
        &mut self,
        count: usize,
        data: &mut [f32],
        unit: usize,
        job: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let units = data.len().checked_div(unit).unwrap_or(0);
        #[cfg(feature = "parallel")]
        if let Some(pool) = self.pool.as_ref().filter(|_| count > 1) {
            self.awake.begin(pool);
            let (job, tickets) = (&job, &Tickets::default());
            pool.in_place_scope(|scope| {
                // The calling one has the first part, as in `run`: what it wrote in the layer before is in its cache.
                let end = |thread: usize| units * (thread + 1) / count;
                let (own, mut rest) = data.split_at_mut(end(0) * unit);
                for thread in 1..count {
                    let first = end(thread - 1);
                    let (part, behind) = rest.split_at_mut((end(thread) - first) * unit);
                    rest = behind;
                    let ticket = tickets.take();
                    scope.spawn(move |_| {
                        let _ticket: Ticket<'_> = ticket;
                        job(first, part);
                    });
                }
                job(0, own);
                tickets.wait();
            });
            return;
        }
        let _ = (count, units);
        job(0, data);
    }
}

fn floats(scratch: &mut ArenaBuf) -> &mut [f32] {
    bytemuck::try_cast_slice_mut(scratch.as_mut()).unwrap_or(&mut [])
}
