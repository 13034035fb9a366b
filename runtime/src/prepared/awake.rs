//! Waiting without sleeping. A thread that sleeps takes some 50 microseconds to wake, which is as long as a layer
//! takes, and it may wake on the core of the thread that waits for it: between the layers of an inference, and from one
//! inference to the next, threads look for work all the time. After an inference they do so only on cores that
//! nobody else here wants: with two models in turn on two cores, the threads of one would slow down the other.

use alloc::sync::Arc;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::OnceLock;
use std::time::Instant;

/// How long threads look for work after an inference.
const LINGER: Duration = Duration::from_millis(5);

/// Threads of this process that run inferences or look for work.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Whether there are more of them than cores.
fn are_crowded() -> bool {
    static CORES: OnceLock<usize> = OnceLock::new();
    let cores = CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from));
    THREADS.load(Ordering::Relaxed) > *cores
}

/// Keeps the threads of a pool awake.
#[derive(Debug, Default)]
pub(super) struct Awake(Arc<Watch>);

#[derive(Debug, Default)]
struct Watch {
    /// Whether there is an inference.
    busy: AtomicBool,
    /// Threads that look for work.
    threads: AtomicUsize,
}

impl Awake {
    /// An inference shares work among the threads of `pool`.
    pub(super) fn begin(&self, pool: &rayon::ThreadPool) {
        let watch = &self.0;
        if watch.busy.swap(true, Ordering::Relaxed) {
            return;
        }
        THREADS.fetch_add(1, Ordering::Relaxed);
        if watch.threads.load(Ordering::Relaxed) > 0 {
            return;
        }
        let threads = pool.current_num_threads();
        watch.threads.store(threads, Ordering::Relaxed);
        THREADS.fetch_add(threads, Ordering::Relaxed);
        let watch = Arc::clone(watch);
        pool.spawn_broadcast(move |_| watch.look());
    }

    /// An inference is over.
    pub(super) fn end(&self) {
        if self.0.busy.swap(false, Ordering::Relaxed) {
            THREADS.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.end();
    }
}

impl Watch {
    /// Looks for work. (That one who stops just then is missed is no harm: the pool wakes it.)
    fn look(&self) {
        let (mut idle, mut since) = (Idle::default(), None);
        loop {
            if rayon::yield_now() == Some(rayon::Yield::Executed) {
                continue;
            }
            if self.busy.load(Ordering::Relaxed) {
                since = None;
            } else if are_crowded() || since.get_or_insert_with(Instant::now).elapsed() > LINGER {
                break;
            }
            idle.wait();
        }
        self.threads.fetch_sub(1, Ordering::Relaxed);
        THREADS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Spins, but lets others have the core now and then: it may be the one that they need.
#[derive(Debug, Default)]
struct Idle(u32);

/// Some microseconds.
const SPINS: u32 = 1000;

impl Idle {
    fn wait(&mut self) {
        self.0 = (self.0 + 1) % SPINS;
        match self.0 {
            0 => std::thread::yield_now(),
            _ => spin_loop(),
        }
    }
}

/// Counts jobs that others have not ended yet.
#[derive(Debug, Default)]
pub(super) struct Tickets(AtomicUsize);

/// One of them; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Ticket<'a>(&'a AtomicUsize);

impl Tickets {
    pub(super) fn take(&self) -> Ticket<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ticket(&self.0)
    }

    /// Returns when all have ended.
    pub(super) fn wait(&self) {
        let mut idle = Idle::default();
        while self.0.load(Ordering::Acquire) > 0 {
            idle.wait();
        }
        // The pool learns of it a moment later: who asks before that is put to sleep.
        (0..SETTLE).for_each(|_| spin_loop());
    }
}

/// Some 100 nanoseconds.
const SETTLE: usize = 16;

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}
