//! Tables in Delta Lake: durable commits, our own scan and writer, changes and maintenance.

mod alter;
mod append;
mod constraints;
mod directory;
mod dml;
mod errors;
mod exec;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod held;
mod insert;
mod layout;
mod maintain;
mod provider;
mod scan;
mod snapshot;
mod stats;
mod table;
mod uncommitted;
mod writer;

pub use alter::{add_column, create, drop_column};
pub use dml::{ReturnedRows, RowChange, matching_rows};
pub use exec::{Change, ChangeExec};
#[cfg(any(test, fuzzing))]
pub use fuzz::log as fuzz_log;
pub use held::{HeldVersions, TableLock};
pub use layout::Layout;
pub use maintain::{OptimizeSummary, VacuumSummary, optimize, vacuum};
pub use provider::{StoredTableProvider, unqualified};
pub use scan::physical_expr;
pub use table::{StoredTable, TableVersion, VersionInfo};
pub use uncommitted::remove_uncommitted;
