//! One tree over bins.

use crate::ml::trees::bins::MISSING_BIN;

/// Children from this number on are leaves: leaf `child - LEAF`.
pub(super) const LEAF: u32 = 1 << 31;

/// Which rows of a node go left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Test {
    /// Bins up to this one.
    UpTo(u8),
    /// Bins of this set.
    OneOf(BinSet),
}

/// A set of bins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct BinSet(pub(super) [u64; 4]);

impl BinSet {
    pub(super) fn insert(&mut self, bin: u8) {
        self.0[usize::from(bin / 64)] |= 1 << (bin % 64);
    }

    pub(super) fn contains(self, bin: u8) -> bool {
        self.0[usize::from(bin / 64)] >> (bin % 64) & 1 == 1
    }
}

/// An inner node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Node {
    pub(super) column: u32,
    pub(super) test: Test,
    /// Whether rows that lack the value go left.
    pub(super) missing_left: bool,
    pub(super) left: u32,
    pub(super) right: u32,
}

impl Node {
    pub(super) fn goes_left(&self, bin: u8) -> bool {
        match self.test {
            _ if bin == MISSING_BIN => self.missing_left,
            Test::UpTo(last) => bin <= last,
            Test::OneOf(set) => set.contains(bin),
        }
    }
}

/// A tree; without nodes it is its one leaf.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    /// What leaves add to the score.
    pub(super) leaves: Vec<f32>,
}

impl Tree {
    /// The leaf of a row whose column has the bin `bin(column)`.
    pub(super) fn leaf(&self, bin: impl Fn(usize) -> u8) -> usize {
        let mut at = if self.nodes.is_empty() { LEAF } else { 0 };
        while at < LEAF {
            let node = &self.nodes[at as usize];
            at = if node.goes_left(bin(node.column as usize)) { node.left } else { node.right };
        }
        (at - LEAF) as usize
    }

    /// What the tree adds to the score of a row whose column has the bin `bin(column)`.
    pub(super) fn score(&self, bin: impl Fn(usize) -> u8) -> f32 {
        self.leaves[self.leaf(bin)]
    }

    /// Tells why a tree from a file cannot be walked.
    pub(super) fn check(&self, columns: usize) -> Result<(), String> {
        if self.leaves.len() != self.nodes.len() + 1 || self.leaves.iter().any(|v| !v.is_finite()) {
            return Err(format!("{} leaves of {} nodes", self.leaves.len(), self.nodes.len()));
        }
        for (at, node) in self.nodes.iter().enumerate() {
            let sound = |child: u32| match child.checked_sub(LEAF) {
                Some(leaf) => (leaf as usize) < self.leaves.len(),
                // Children come after their parents: every walk ends.
                None => child as usize > at && (child as usize) < self.nodes.len(),
            };
            if node.column as usize >= columns || !sound(node.left) || !sound(node.right) {
                return Err(format!("node {at} is {node:?}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_find_their_leaf() {
        let mut set = BinSet::default();
        [3, 200].into_iter().for_each(|bin| set.insert(bin));
        let node = |column, test, missing_left, left, right| Node { column, test, missing_left, left, right };
        let tree = Tree {
            nodes: vec![
                node(0, Test::UpTo(4), false, LEAF, 1),
                node(1, Test::OneOf(set), true, LEAF + 1, LEAF + 2),
            ],
            leaves: vec![1.0, 2.0, 3.0],
        };
        let scores =
            [[4, 0], [5, 200], [5, 4], [0, 0], [0, 9]].map(|bins: [u8; 2]| tree.score(|column| bins[column]));
        assert_eq!(scores, [1.0, 2.0, 3.0, 2.0, 3.0]);
        assert_eq!(tree.check(2), Ok(()));
        assert!(tree.check(1).is_err());
        let cycle = Tree { nodes: vec![node(0, Test::UpTo(1), true, 0, LEAF)], leaves: vec![0.0; 2] };
        assert!(cycle.check(1).is_err());
        assert_eq!(Tree { nodes: vec![], leaves: vec![7.0] }.score(|_| 0), 7.0);
    }
}
