//! The summing structure of a hierarchy: for every sum, the series that it sums.

use std::collections::HashMap;
use std::ops::Range;

use crate::ml::hierarchy::Rollup;

/// Series and their sums; a node is a series, or after all of them a sum of two or more.
///
/// Sums of the same series are one node, and the sum of a single series is that series: a forecast of them is made
/// once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Keys of the nodes that are sums.
    keys: Vec<String>,
    /// Series of every sum, ascending, one after the other.
    members: Vec<u32>,
    /// Length: sums + 1.
    offsets: Vec<usize>,
    series: usize,
    levels: Vec<Vec<bool>>,
    rows: Vec<Sum>,
}

/// One row of a level above the series: keys, some of them rolled up, and its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// The level, by its index among those of the [`Rollup`].
    pub level: usize,
    /// The first series in it, whose keys it has as far as its level keeps them.
    pub first: usize,
    /// Its node.
    pub node: usize,
}

impl Hierarchy {
    /// The sums of these series; each has a text such as `region=north` for every key of the rollup.
    pub fn new(rollup: &Rollup, series: &[Vec<String>]) -> Self {
        let mut out = Self {
            keys: Vec::new(),
            members: Vec::new(),
            offsets: vec![0],
            series: series.len(),
            levels: rollup.levels(),
            rows: Vec::new(),
        };
        let mut nodes: HashMap<Vec<u32>, usize> = HashMap::new();
        for level in 1..out.levels.len() {
            for (key, members) in grouped(series, &out.levels[level]) {
                let first = members[0] as usize;
                let node = match members.len() {
                    1 => first,
                    _ => *nodes.entry(members).or_insert_with_key(|members| out.push(key, members)),
                };
                out.rows.push(Sum { level, first, node });
            }
        }
        out
    }

    fn push(&mut self, key: String, members: &[u32]) -> usize {
        self.keys.push(key);
        self.members.extend_from_slice(members);
        self.offsets.push(self.members.len());
        self.series + self.keys.len() - 1
    }

    /// Number of series.
    pub fn series(&self) -> usize {
        self.series
    }

    /// Number of nodes that are sums.
    pub fn sums(&self) -> usize {
        self.keys.len()
    }

    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        self.series + self.sums()
    }

    /// The rows of all levels above the series, from fine to coarse.
    pub fn rows(&self) -> &[Sum] {
        &self.rows
    }

    /// The nodes of the series and then of the rows of all levels above them.
    pub fn row_nodes(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.series).chain(self.rows.iter().map(|sum| sum.node))
    }

    /// Which keys every level keeps, the first one that of the series.
    pub fn levels(&self) -> &[Vec<bool>] {
        &self.levels
    }

    /// Keys of the nodes that are sums.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The series that the sum of this number has, ascending.
    pub fn members(&self, sum: usize) -> impl Iterator<Item = usize> + '_ {
        let range: Range<usize> = self.offsets[sum]..self.offsets[sum + 1];
        self.members[range].iter().map(|series| *series as usize)
    }

    /// The series behind a node: those of a sum, or the series itself.
    pub fn series_of(&self, node: usize) -> Vec<usize> {
        match node.checked_sub(self.series) {
            Some(sum) => self.members(sum).collect(),
            None => vec![node],
        }
    }
}

/// Series with the same kept keys, in order of first appearance, and those keys.
fn grouped(series: &[Vec<String>], level: &[bool]) -> Vec<(String, Vec<u32>)> {
    let mut index: HashMap<Vec<&str>, usize> = HashMap::new();
    let mut groups: Vec<(String, Vec<u32>)> = Vec::new();
    for (number, parts) in (0u32..).zip(series) {
        let kept = parts.iter().zip(level).filter(|(_, kept)| **kept).map(|(part, _)| part.as_str());
        let kept: Vec<&str> = kept.collect();
        match index.get(&kept) {
            Some(group) => groups[*group].1.push(number),
            None => {
                groups.push((kept.join(", "), vec![number]));
                index.insert(kept, groups.len() - 1);
            }
        }
    }
    groups
}
