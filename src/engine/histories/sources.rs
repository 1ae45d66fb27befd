//! What rows are made of: stored tables at their versions, and the catalog entries of tables and views.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};

use crate::engine::access::DefinerNode;
use crate::engine::storage::{Contents, Entry, HeldVersions, StoredTable, StoredTableProvider, TableName};

/// The tables that rows come from, as they were when the rows were read.
#[derive(Debug)]
pub struct Sources {
    entries: Vec<(TableName, Entry)>,
    tables: Vec<(Arc<StoredTable>, u64)>,
}

impl Sources {
    /// The sources of a plan's rows at the versions that are held; `None` when they depend on anything but the rows of
    /// stored tables.
    pub async fn of(plan: &LogicalPlan, contents: &Contents, held: &HeldVersions) -> Result<Option<Self>> {
        let Some(found) = Found::of(plan)? else { return Ok(None) };
        let mut sources = Self { entries: vec![], tables: vec![] };
        for name in found.names {
            let Some(entry) = contents.find(&name) else { return Ok(None) };
            sources.entries.push((name, entry.clone()));
        }
        for table in found.tables {
            let version = held.version(&table).await?.snapshot.version;
            sources.tables.push((table, version));
        }
        Ok(Some(sources))
    }

    /// Rows of all tables together, when their logs know them.
    pub fn rows(&self) -> Option<u64> {
        self.tables.iter().map(|(table, _)| table.known_rows()).sum()
    }

    /// True while nothing has changed; looks at the ends of the tables' logs.
    pub fn hold(&self, contents: &Contents) -> bool {
        self.entries.iter().all(|(name, entry)| contents.find(name) == Some(entry)) && self.are_newest()
    }

    /// True where a statement reads all tables at these versions: the ones that it holds, or holds from here on.
    pub async fn are_held(&self, held: &HeldVersions) -> bool {
        for (table, version) in &self.tables {
            if !held.version(table).await.is_ok_and(|found| found.snapshot.version == *version) {
                return false;
            }
        }
        true
    }

    /// True unless a statement has read one of the tables at another version.
    pub fn agree(&self, held: &HeldVersions) -> bool {
        self.tables.iter().all(|(table, version)| held.agree(table, *version))
    }

    /// True while no table has a newer version.
    pub fn are_newest(&self) -> bool {
        self.tables.iter().all(|(table, version)| table.is_newest(*version))
    }
}

/// The relations in a plan.
#[derive(Default)]
struct Found {
    names: Vec<TableName>,
    tables: Vec<Arc<StoredTable>>,
}

impl Found {
    fn of(plan: &LogicalPlan) -> Result<Option<Self>> {
        let (mut found, mut fixed) = (Self::default(), true);
        plan.apply_with_subqueries(|node| {
            fixed = fixed && found.add(node) && has_fixed_values(node)?;
            Ok(if fixed { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        })?;
        Ok(fixed.then_some(found))
    }

    /// Adds what a node reads; false when that is no stored table.
    fn add(&mut self, node: &LogicalPlan) -> bool {
        match node {
            LogicalPlan::TableScan(scan) => {
                let Ok(provider) = source_as_provider(&scan.source) else { return false };
                let Some(stored) = provider.downcast_ref::<StoredTableProvider>() else { return false };
                // Which version a time names may change, too: past versions are left out.
                let Some(table) = stored.latest_table() else { return false };
                self.names.push(stored.name().clone());
                self.tables.push(Arc::clone(table));
                true
            }
            LogicalPlan::Extension(extension) => {
                let Some(definer) = extension.node.as_any().downcast_ref::<DefinerNode>() else {
                    return false;
                };
                self.names.extend(definer.view.clone());
                true
            }
            _ => true,
        }
    }
}

/// True when the expressions of a node give the same values for the same rows at any time.
fn has_fixed_values(node: &LogicalPlan) -> Result<bool> {
    let mut fixed = true;
    node.apply_expressions(|expr| {
        expr.apply(|expr| {
            fixed = fixed
                && match expr {
                    Expr::ScalarFunction(f) => f.func.signature().volatility == Volatility::Immutable,
                    _ => true,
                };
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(fixed)
}
