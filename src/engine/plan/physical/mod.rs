//! Physical plans that DataFusion gets wrong, or that hold more memory than there is, and how they do not.

mod far_rows;
mod filters;
mod first_rows;
mod frame_answers;
mod large_aggregates;
mod large_constants;
mod large_joins;
mod nulled;
mod once;
mod own_texts;
mod replaced;
mod rules;
mod skips;
mod sorted_again;
mod top_keys;
mod window_rows;
mod windows;

pub use large_constants::constant_bytes;
pub use once::once;
pub use replaced::replaced;
pub use rules::physical_rules;
