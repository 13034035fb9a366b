//! Union-find: things that turn out to be one.

/// A partition of `0..len`, each class known by its smallest member.
#[derive(Debug, Default)]
pub(super) struct Classes {
    parent: Vec<usize>,
}

impl Classes {
    /// Adds `count` things, each a class of its own.
    pub(super) fn fresh(&mut self, count: usize) -> Vec<usize> {
        let first = self.parent.len();
        self.parent.extend(first..first + count);
        (first..first + count).collect()
    }

    /// The smallest member of the class of `thing`.
    pub(super) fn find(&mut self, mut thing: usize) -> usize {
        while self.parent[thing] != thing {
            self.parent[thing] = self.parent[self.parent[thing]];
            thing = self.parent[thing];
        }
        thing
    }

    /// Makes two classes one; whether they were two.
    pub(super) fn join(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.find(a), self.find(b));
        self.parent[a.max(b)] = a.min(b);
        a != b
    }
}
