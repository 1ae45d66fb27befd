//! Tables in Delta Lake: durable commits, our own scan and writer, changes and maintenance.

mod alter;
mod constraints;
mod directory;
mod dml;
mod errors;
mod exec;
mod insert;
mod layout;
mod maintain;
mod provider;
mod scan;
mod snapshot;
mod stats;
mod table;
mod writer;

pub use alter::{add_column, create, drop_column};
pub use dml::ReturnedRows;
pub use layout::Layout;
pub use maintain::{OptimizeSummary, VacuumSummary, optimize, vacuum};
pub use provider::{StoredTableProvider, unqualified};
pub use table::{StoredTable, TableVersion, VersionInfo};
