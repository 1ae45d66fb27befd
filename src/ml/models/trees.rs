//! Boosters in a model file.

use crate::error::Result;
use crate::ml::models::container::{self, Data, Stored};
use crate::ml::models::model::Saved;
use crate::ml::trees::{Booster, Flat};

/// Adds a booster's tensors, named after it.
pub(super) fn save(name: &str, booster: &Booster, saved: Saved) -> Saved {
    let Flat { header, cut_ends, cuts, tree_ends, nodes, sets, leaves, gains } = booster.to_flat();
    let named = |part: &str| format!("{name}.{part}");
    saved
        .with(&named("header"), vec![header.len()], Data::F64(header))
        .with(&named("cut_ends"), vec![cut_ends.len()], Data::U32(cut_ends))
        .with(&named("cuts"), vec![cuts.len()], Data::F32(cuts))
        .with(&named("tree_ends"), vec![tree_ends.len()], Data::U32(tree_ends))
        .with(&named("nodes"), vec![nodes.len()], Data::U32(nodes))
        .with(&named("sets"), vec![sets.len()], Data::U32(sets))
        .with(&named("leaves"), vec![leaves.len()], Data::F32(leaves))
        .with(&named("gains"), vec![gains.len()], Data::F64(gains))
}

/// True where a booster of this name is.
pub(super) fn is_in(name: &str, stored: &Stored<'_>) -> bool {
    stored.f64(&format!("{name}.header")).is_ok()
}

/// The booster of this name.
pub(super) fn load(name: &str, stored: &Stored<'_>) -> Result<Booster> {
    let named = |part: &str| format!("{name}.{part}");
    let flat = Flat {
        header: stored.f64(&named("header"))?,
        cut_ends: stored.u32(&named("cut_ends"))?,
        cuts: stored.f32(&named("cuts"))?,
        tree_ends: stored.u32(&named("tree_ends"))?,
        nodes: stored.u32(&named("nodes"))?,
        sets: stored.u32(&named("sets"))?,
        leaves: stored.f32(&named("leaves"))?,
        gains: stored.f64(&named("gains"))?,
    };
    Booster::from_flat(flat).map_err(|why| container::corrupt(format!("its trees cannot be read: {why}")))
}
