//! Time limits of connections, all of the same length: the first one set is the first one due.

/// Marks the end of the list.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
    /// 0: not in the list.
    due_ns: u64,
}

/// A list through the connections of a worker, in order of their limits.
#[derive(Debug)]
pub(super) struct Deadlines {
    links: Vec<Link>,
    first: u32,
    last: u32,
    limit_ns: u64,
}

impl Deadlines {
    /// No limits of `connections`, each `limit_ns` long.
    pub(super) fn new(connections: usize, limit_ns: u64) -> Self {
        let links = vec![Link { before: NONE, after: NONE, due_ns: 0 }; connections];
        Self { links, first: NONE, last: NONE, limit_ns }
    }

    /// Sets the limit of a connection anew. Times may not go back.
    pub(super) fn set(&mut self, connection: usize, now_ns: u64) {
        self.clear(connection);
        let last = self.last;
        if let Some(link) = self.links.get_mut(connection) {
            *link = Link { before: last, after: NONE, due_ns: now_ns.saturating_add(self.limit_ns).max(1) };
        }
        match self.links.get_mut(last as usize) {
            Some(link) => link.after = connection as u32,
            None => self.first = connection as u32,
        }
        self.last = connection as u32;
    }

    /// Takes the limit of a connection away.
    pub(super) fn clear(&mut self, connection: usize) {
        let Some(link) = self.links.get_mut(connection).filter(|link| link.due_ns > 0) else { return };
        let Link { before, after, .. } = *link;
        link.due_ns = 0;
        match self.links.get_mut(before as usize) {
            Some(link) => link.after = after,
            None => self.first = after,
        }
        match self.links.get_mut(after as usize) {
            Some(link) => link.before = before,
            None => self.last = before,
        }
    }

    /// The time at which the next limit is reached.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.links.get(self.first as usize).map(|link| link.due_ns)
    }

    /// A connection whose limit is reached; its limit is taken away.
    pub(super) fn take_due(&mut self, now_ns: u64) -> Option<usize> {
        self.next_ns().filter(|due| *due <= now_ns)?;
        let connection = self.first as usize;
        self.clear(connection);
        Some(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_reached_in_order() {
        let mut deadlines = Deadlines::new(4, 100);
        assert_eq!((deadlines.next_ns(), deadlines.take_due(1000)), (None, None));
        for (connection, now) in [(2, 10), (0, 20), (3, 30), (1, 40), (0, 50)] {
            deadlines.set(connection, now);
        }
        deadlines.clear(3);
        deadlines.clear(3);
        assert_eq!(deadlines.next_ns(), Some(110));
        assert_eq!(deadlines.take_due(109), None);
        assert_eq!(deadlines.take_due(200), Some(2));
        assert_eq!(deadlines.take_due(200), Some(1));
        assert_eq!(deadlines.take_due(149), None);
        assert_eq!(deadlines.take_due(150), Some(0));
        assert_eq!((deadlines.next_ns(), deadlines.take_due(u64::MAX)), (None, None));
        deadlines.set(3, 7);
        assert_eq!(deadlines.take_due(107), Some(3));
    }
}
