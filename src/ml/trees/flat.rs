//! A booster as plain lists of numbers, as it stands in a file.

use serde::{Deserialize, Serialize};

use crate::ml::trees::bins::{BINS_MAX, Bins, ColumnType, Cuts};
use crate::ml::trees::booster::Booster;
use crate::ml::trees::objective::Objective;
use crate::ml::trees::tree::{BinSet, Node, Test, Tree};

/// Numbers of a node: column, children, flags, and the last bin on the left or the place of its set.
const NODE: usize = 5;
/// The node's test is a set of bins.
const IS_SET: u32 = 1;
/// Rows that lack the value go left.
const MISSING_LEFT: u32 = 2;
/// Halves of the words of a set.
const SET: usize = 8;

/// The lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flat {
    /// Objective, its parameter, base score.
    pub header: Vec<f64>,
    /// By column: where its cuts end, twice, and one more for categories.
    pub cut_ends: Vec<u32>,
    /// Cuts of numbers, codes of categories.
    pub cuts: Vec<f32>,
    /// By tree: where its nodes end.
    pub tree_ends: Vec<u32>,
    /// Nodes of all trees.
    pub nodes: Vec<u32>,
    /// Sets of bins.
    pub sets: Vec<u32>,
    /// Leaves of all trees: one more than nodes in each.
    pub leaves: Vec<f32>,
    /// Gain by column.
    pub gains: Vec<f64>,
}

impl Booster {
    /// The booster as lists.
    pub fn to_flat(&self) -> Flat {
        let (kind, parameter) = match self.objective {
            Objective::SquaredError => (0.0, 0.0),
            Objective::Quantile(level) => (1.0, level),
            Objective::Poisson => (2.0, 0.0),
            Objective::Tweedie(power) => (3.0, power),
            Objective::Logistic => (4.0, 0.0),
            Objective::AbsoluteError => (5.0, 0.0),
        };
        let mut flat = Flat {
            header: vec![kind, parameter, f64::from(self.base)],
            cut_ends: Vec::new(),
            cuts: Vec::new(),
            tree_ends: Vec::new(),
            nodes: Vec::new(),
            sets: Vec::new(),
            leaves: Vec::new(),
            gains: self.gains.clone(),
        };
        for column in &self.bins.columns {
            let is_category = match column {
                Cuts::Number(cuts) => {
                    flat.cuts.extend(cuts);
                    0
                }
                Cuts::Category(codes) => {
                    flat.cuts.extend(codes.iter().map(|code| *code as f32));
                    1
                }
            };
            flat.cut_ends.push(2 * flat.cuts.len() as u32 + is_category);
        }
        for tree in &self.trees {
            for node in &tree.nodes {
                let missing = if node.missing_left { MISSING_LEFT } else { 0 };
                let (flags, test) = match node.test {
                    Test::UpTo(bin) => (missing, u32::from(bin)),
                    Test::OneOf(set) => {
                        let place = (flat.sets.len() / SET) as u32;
                        flat.sets.extend(set.0.iter().flat_map(|word| [*word as u32, (*word >> 32) as u32]));
                        (missing | IS_SET, place)
                    }
                };
                flat.nodes.extend([node.column, node.left, node.right, flags, test]);
            }
            flat.leaves.extend(&tree.leaves);
            flat.tree_ends.push((flat.nodes.len() / NODE) as u32);
        }
        flat
    }

    /// The booster of these lists; tells why they cannot be one.
    pub fn from_flat(flat: Flat) -> Result<Self, String> {
        let [kind, parameter, base] = flat.header[..] else { return Err("no header".into()) };
        let objective = match kind as u32 {
            0 => Objective::SquaredError,
            1 => Objective::Quantile(parameter),
            2 => Objective::Poisson,
            3 => Objective::Tweedie(parameter),
            4 => Objective::Logistic,
            5 => Objective::AbsoluteError,
            other => return Err(format!("objective {other}")),
        };
        if !parameter.is_finite() || !base.is_finite() || flat.gains.len() != flat.cut_ends.len() {
            return Err("a header that is not finite".into());
        }
        let columns = columns(&flat)?;
        let trees = trees(&flat, columns.len())?;
        Ok(Self { objective, bins: Bins { columns }, base: base as f32, trees, gains: flat.gains })
    }
}

fn columns(flat: &Flat) -> Result<Vec<Cuts>, String> {
    let mut from = 0;
    let mut out = Vec::with_capacity(flat.cut_ends.len());
    for end in &flat.cut_ends {
        let (end, kind) =
            ((end / 2) as usize, if end % 2 == 0 { ColumnType::Number } else { ColumnType::Category });
        let cuts = flat.cuts.get(from..end).ok_or("cuts that are not there")?;
        let ascending = cuts.windows(2).all(|pair| pair[0] < pair[1]);
        let column = match kind {
            ColumnType::Number => Cuts::Number(cuts.to_vec()),
            ColumnType::Category => Cuts::Category(cuts.iter().map(|code| *code as u32).collect()),
        };
        if column.bins() > BINS_MAX || !ascending {
            return Err("cuts that do not ascend".into());
        }
        out.push(column);
        from = end;
    }
    Ok(out)
}

fn trees(flat: &Flat, columns: usize) -> Result<Vec<Tree>, String> {
    let (mut from, mut leaf) = (0, 0);
    let mut out = Vec::with_capacity(flat.tree_ends.len());
    for end in &flat.tree_ends {
        let end = *end as usize;
        let nodes =
            flat.nodes.get(from * NODE..end.saturating_mul(NODE)).ok_or("nodes that are not there")?;
        let nodes =
            nodes.chunks_exact(NODE).map(|node| read_node(node, flat)).collect::<Result<Vec<_>, _>>()?;
        let leaves = flat.leaves.get(leaf..leaf + nodes.len() + 1).ok_or("leaves that are not there")?;
        leaf += leaves.len();
        let tree = Tree { leaves: leaves.to_vec(), nodes };
        tree.check(columns)?;
        out.push(tree);
        from = end;
    }
    Ok(out)
}

fn read_node(node: &[u32], flat: &Flat) -> Result<Node, String> {
    let [column, left, right, flags, test] = node[..] else { return Err("half a node".into()) };
    let test = if flags & IS_SET == 0 {
        Test::UpTo(u8::try_from(test).map_err(|_| format!("bin {test}"))?)
    } else {
        let place = test as usize * SET;
        let halves = flat.sets.get(place..place.saturating_add(SET)).ok_or("a set that is not there")?;
        let word = |i: usize| u64::from(halves[2 * i]) | u64::from(halves[2 * i + 1]) << 32;
        Test::OneOf(BinSet(std::array::from_fn(word)))
    };
    Ok(Node { column, test, missing_left: flags & MISSING_LEFT != 0, left, right })
}
