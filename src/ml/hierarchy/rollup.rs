//! Which keys of the series are rolled up: the levels of `GROUP BY ROLLUP (region, store), ROLLUP (item)`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Lists of keys, each from coarse to fine. A level keeps a prefix of every list; keys in no list stay in all
/// levels, so that they tell hierarchies apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rollup {
    /// Names of all keys of a series, in their order.
    keys: Vec<String>,
    /// Indexes among the keys.
    lists: Vec<Vec<usize>>,
}

impl Rollup {
    /// Rolls up these lists of keys, by their indexes.
    pub fn new(keys: Vec<String>, lists: Vec<Vec<usize>>) -> Self {
        Self { keys, lists }
    }

    /// Names of all keys of a series.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// True when a key is absent from some sums.
    pub fn rolls_up(&self, key: usize) -> bool {
        self.lists.iter().any(|list| list.contains(&key))
    }

    /// Which keys every level keeps; the first one is that of the series themselves, the last one the coarsest.
    pub fn levels(&self) -> Vec<Vec<bool>> {
        let mut levels = vec![vec![true; self.keys.len()]];
        for list in &self.lists {
            levels = levels
                .into_iter()
                .flat_map(|level| (0..=list.len()).rev().map(move |kept| without(&level, &list[kept..])))
                .collect();
        }
        levels
    }
}

fn without(level: &[bool], keys: &[usize]) -> Vec<bool> {
    level.iter().enumerate().map(|(key, kept)| *kept && !keys.contains(&key)).collect()
}

impl fmt::Display for Rollup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, list) in self.lists.iter().enumerate() {
            let names: Vec<&str> = list.iter().map(|key| self.keys[*key].as_str()).collect();
            write!(f, "{}({})", if n > 0 { ", " } else { "" }, names.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_the_grouping_sets_of_rollups() {
        let keys = ["country", "region", "store", "item"].map(str::to_owned).to_vec();
        let rollup = Rollup::new(keys, vec![vec![1, 2], vec![3]]);
        let names = |level: &Vec<bool>| {
            let kept = rollup.keys().iter().zip(level).filter(|(_, kept)| **kept);
            kept.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" ")
        };
        let levels: Vec<String> = rollup.levels().iter().map(names).collect();
        assert_eq!(
            levels,
            [
                "country region store item",
                "country region store",
                "country region item",
                "country region",
                "country item",
                "country"
            ]
        );
        assert_eq!(rollup.to_string(), "(region, store), (item)");
        assert!(rollup.rolls_up(1) && !rollup.rolls_up(0));
    }
}
