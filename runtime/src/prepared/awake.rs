//! Waiting without sleeping. A thread that sleeps takes some 50 microseconds to wake, which is as long as a layer
//! takes: between the layers of an inference, threads look for work all the time.

use alloc::sync::Arc;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Keeps the threads of a pool awake while it lives.
#[derive(Debug)]
pub(super) struct Awake {
    over: Arc<AtomicBool>,
}

impl Awake {
    pub(super) fn new(pool: &rayon::ThreadPool) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        pool.spawn_broadcast(move |_| {
            let mut idle = Idle::default();
            while !seen.load(Ordering::Relaxed) {
                match rayon::yield_now() {
                    Some(rayon::Yield::Executed) => idle = Idle::default(),
                    _ => idle.wait(),
                }
            }
        });
        Self { over }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
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
