//! The worker threads of a program.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use linerate_hardware::CpuSet;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::thread::{CpuSet as Mask, sched_getaffinity, sched_setaffinity};

use super::worker::{Order, Seat, Worker};

/// Error: the workers cannot be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PoolError {
    #[error(
        "CPU {cpu} cannot be used: this process may run on {allowed}\n  remedy: choose among them with --cpus"
    )]
    Cpu { cpu: u32, allowed: String },
    #[error("a worker cannot be started: {0}")]
    Start(std::io::Error),
}

#[derive(Debug)]
struct Handle {
    /// The CPU that it is pinned to.
    cpu: Option<u32>,
    orders: Option<Sender<Order>>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// Worker threads. Dropping the pool ends them.
#[derive(Debug)]
pub(crate) struct Pool {
    workers: Vec<Handle>,
    next: AtomicUsize,
}

/// CPUs that this process may use.
pub(crate) fn allowed_cpus() -> Vec<u32> {
    let Ok(mask) = sched_getaffinity(None) else { return Vec::new() };
    (0..Mask::MAX_CPU).filter(|cpu| mask.is_set(*cpu)).map(|cpu| cpu as u32).collect()
}

/// The CPUs that a user chose.
///
/// # Errors
/// When one of them may not be used.
pub(crate) fn chosen_cpus(chosen: &CpuSet) -> Result<Vec<u32>, PoolError> {
    let allowed = allowed_cpus();
    match chosen.iter().find(|cpu| !allowed.contains(cpu)) {
        Some(cpu) => {
            let allowed = allowed.into_iter().collect::<CpuSet>().to_string();
            Err(PoolError::Cpu { cpu, allowed })
        }
        None => Ok(chosen.iter().collect()),
    }
}

/// Pins the calling thread; `None`: it stays where the scheduler puts it.
pub(crate) fn pin(cpu: Option<u32>) {
    let Some(cpu) = cpu else { return };
    let mut mask = Mask::new();
    mask.set(cpu as usize);
    if let Err(error) = sched_setaffinity(None, &mask) {
        tracing::warn!(%error, cpu, "a thread could not be pinned");
    }
}

impl Pool {
    /// Starts a worker on each of the CPUs; without a list, one per CPU that this process may use, at most
    /// `most`. The scheduler places workers that are fewer than the CPUs.
    ///
    /// # Errors
    /// When a CPU may not be used, or there are no resources for a thread.
    pub(crate) fn start(cpus: Option<&CpuSet>, most: usize) -> Result<Self, PoolError> {
        let allowed = allowed_cpus();
        let places: Vec<Option<u32>> = match cpus {
            Some(chosen) => chosen_cpus(chosen)?.into_iter().map(Some).collect(),
            None if allowed.len() <= most => allowed.into_iter().map(Some).collect(),
            None => vec![None; most],
        };
        let places = if places.is_empty() { vec![None] } else { places };
        let workers =
            (0..).zip(places).map(|(index, cpu)| Self::launch(index, cpu)).collect::<Result<_, _>>()?;
        Ok(Self { workers, next: AtomicUsize::new(0) })
    }

    fn launch(index: u32, cpu: Option<u32>) -> Result<Handle, PoolError> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let wake = Arc::new(wake.map_err(|errno| PoolError::Start(errno.into()))?);
        let (orders, received) = channel();
        let seat = Seat::new(index, Arc::clone(&wake), received).map_err(PoolError::Start)?;
        let thread = std::thread::Builder::new()
            .name(format!("streams-{index}"))
            .spawn(move || {
                pin(cpu);
                Worker::new(seat).run();
            })
            .map_err(PoolError::Start)?;
        Ok(Handle { cpu, orders: Some(orders), wake, thread: Some(thread) })
    }

    /// Number of workers.
    pub(crate) fn size(&self) -> usize {
        self.workers.len()
    }

    /// The worker that is to take the first of a trial's streams; the others follow in turn. Trials whose streams
    /// fill the workers evenly begin with the first worker: where both ends are on one host, the ends of a stream then
    /// share a CPU and its caches. Others begin where the last one ended, so that they fill the workers together.
    pub(crate) fn first_worker(&self, streams: usize) -> usize {
        if streams.is_multiple_of(self.workers.len()) {
            0
        } else {
            self.next.fetch_add(streams, Ordering::Relaxed) % self.workers.len()
        }
    }

    /// The worker at a place in the turn.
    pub(crate) fn in_turn(&self, place: usize) -> usize {
        place % self.workers.len()
    }

    /// CPUs with a worker of their own.
    pub(crate) fn cpus(&self) -> Vec<u32> {
        self.workers.iter().filter_map(|worker| worker.cpu).collect()
    }

    /// The worker that is pinned to a CPU.
    pub(crate) fn worker_on(&self, cpu: u32) -> Option<usize> {
        self.workers.iter().position(|worker| worker.cpu == Some(cpu))
    }

    /// Gives a worker an order.
    pub(crate) fn order(&self, worker: usize, order: Order) {
        if let Some(Handle { orders: Some(orders), wake, .. }) = self.workers.get(worker) {
            // A worker ends only with the pool.
            let _ = orders.send(order);
            let _ = rustix::io::write(&**wake, &1u64.to_ne_bytes());
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.orders = None;
            while rustix::io::write(&*worker.wake, &1u64.to_ne_bytes()) == Err(Errno::INTR) {}
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take()
                && thread.join().is_err()
            {
                tracing::error!("a worker panicked");
            }
        }
    }
}
