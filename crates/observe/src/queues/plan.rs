//! Names once, values at every reading.

use std::sync::Arc;

use super::names::{in_block, meaning, opens_block};
use super::{Direction, Field, QueueCounters};

/// What a value belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// A counter of the queue at this place.
    Queue(usize, Field),
    /// Another statistic of the driver.
    Other,
    /// It numbers a queue.
    Number,
}

/// What a driver's values mean, compiled from their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    targets: Vec<Target>,
    queues: Vec<(Direction, u32)>,
    others: Arc<[String]>,
}

impl Plan {
    /// The plan of a driver's names. `values` are read at the same time: vmxnet3 numbers its queues by
    /// values.
    pub fn new(names: &[String], values: &[u64]) -> Self {
        let mut queues: Vec<(Direction, u32)> = Vec::new();
        let mut others = Vec::new();
        let mut block: Option<(Direction, u32)> = None;
        let mut target = |name: &String, value: u64| {
            if let Some(direction) = opens_block(name) {
                block = u32::try_from(value).ok().map(|queue| (direction, queue));
                return Target::Number;
            }
            if !name.starts_with(' ') {
                block = None;
            }
            let known = match block {
                Some((direction, queue)) => in_block(name).map(|field| (direction, queue, field)),
                None => meaning(name).map(|meaning| (meaning.direction, meaning.queue, meaning.field)),
            };
            let Some((direction, queue, field)) = known else {
                others.push(match block {
                    Some((direction, queue)) => format!("{direction} queue {queue}: {}", name.trim()),
                    None => name.clone(),
                });
                return Target::Other;
            };
            let place = queues.iter().position(|known| *known == (direction, queue)).unwrap_or_else(|| {
                queues.push((direction, queue));
                queues.len() - 1
            });
            Target::Queue(place, field)
        };
        let with_values = names.iter().zip(values.iter().copied().chain(std::iter::repeat(0)));
        let targets = with_values.map(|(name, value)| target(name, value)).collect();
        Self { targets, queues, others: others.into() }
    }

    /// Number of values that the plan is for.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// True for a driver without statistics.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Names of the values that are no queue's counters.
    pub fn others(&self) -> &Arc<[String]> {
        &self.others
    }

    /// Puts values in their places: the queues' counters, sorted, and the other values in the order of
    /// [`others`](Self::others).
    pub fn apply(&self, values: &[u64], queues: &mut Vec<QueueCounters>, others: &mut Vec<u64>) {
        others.clear();
        queues.clear();
        queues.extend(self.queues.iter().map(|(direction, queue)| QueueCounters::new(*direction, *queue)));
        for (target, value) in self.targets.iter().zip(values) {
            match target {
                Target::Queue(place, field) => {
                    if let Some(queue) = queues.get_mut(*place) {
                        queue.add(*field, *value);
                    }
                }
                Target::Other => others.push(*value),
                Target::Number => {}
            }
        }
        queues.sort_unstable_by_key(|queue| (queue.direction, queue.queue));
    }
}
