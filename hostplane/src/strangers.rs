//! Connections of which it is not known whether they have a right to be here.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::task::AbortHandle;

/// Usual limit.
const MOST: usize = 1024;

/// Connections that have not proved themselves, oldest first.
#[derive(Debug)]
pub(crate) struct Strangers {
    /// Most of them. A further one closes the oldest.
    most: usize,
    inner: RefCell<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    tasks: VecDeque<(u64, AbortHandle)>,
}

/// One of them, by its number.
#[derive(Debug)]
pub(crate) struct Stranger {
    number: u64,
}

impl Default for Strangers {
    fn default() -> Self {
        Self::up_to(MOST)
    }
}

impl Strangers {
    /// At most so many of them.
    pub(crate) fn up_to(most: usize) -> Self {
        Self { most, inner: RefCell::default() }
    }

    /// A new one, whose task `start` spawns.
    pub(crate) fn admit(&self, start: impl FnOnce(Stranger) -> AbortHandle) {
        let (number, oldest) = {
            let mut waiting = self.inner.borrow_mut();
            waiting.next += 1;
            let full = waiting.tasks.len() >= self.most;
            (waiting.next, if full { waiting.tasks.pop_front() } else { None })
        };
        let task = start(Stranger { number });
        self.inner.borrow_mut().tasks.push_back((number, task));
        if let Some((_, oldest)) = oldest {
            oldest.abort();
            tracing::debug!("the oldest connection that had not proved itself was closed");
        }
    }

    /// The connection has proved itself, or ends.
    pub(crate) fn leave(&self, Stranger { number }: Stranger) {
        self.inner.borrow_mut().tasks.retain(|(known, _)| *known != number);
    }
}
