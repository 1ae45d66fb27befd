//! Refuses the shapes of UPDATE and DELETE that DataFusion would apply to the wrong rows.

use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    DmlStatement, EmptyRelation, Expr, LogicalPlan, LogicalPlanBuilder, WriteOp, lit,
};

use crate::engine::plan::subqueries::has_subquery;
use crate::error::Error;

/// What an UPDATE or DELETE turned out to be.
#[derive(Debug)]
pub enum Guarded {
    /// The planner may apply it.
    Sound,
    /// No row can match: nothing is to be done.
    Nothing,
}

/// Checks an optimised plan; statements other than UPDATE and DELETE are sound.
///
/// DataFusion collects the filters it finds above the scan and forgets everything else, so that a join, a
/// limit or an empty input would change every row.
pub fn check(dml: &DmlStatement) -> Result<Guarded> {
    let verb = match dml.op {
        WriteOp::Delete => "DELETE",
        WriteOp::Update => "UPDATE",
        _ => return Ok(Guarded::Sound),
    };
    check_input(verb, &dml.input)
}

fn check_input(verb: &str, plan: &LogicalPlan) -> Result<Guarded> {
    match plan {
        LogicalPlan::TableScan(scan) if scan.fetch.is_some() => refuse(verb, "LIMIT"),
        LogicalPlan::TableScan(_) => Ok(Guarded::Sound),
        LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, .. }) => Ok(Guarded::Nothing),
        LogicalPlan::Projection(p) => check_input(verb, &p.input),
        LogicalPlan::SubqueryAlias(a) => check_input(verb, &a.input),
        LogicalPlan::Filter(f) => match &f.predicate {
            Expr::Literal(ScalarValue::Boolean(Some(false) | None) | ScalarValue::Null, _) => {
                Ok(Guarded::Nothing)
            }
            predicate if has_subquery(predicate) => refuse(verb, "a subquery in WHERE"),
            _ => check_input(verb, &f.input),
        },
        LogicalPlan::Limit(_) => refuse(verb, "LIMIT"),
        LogicalPlan::Join(_) => refuse(verb, "a join, EXISTS or a correlated subquery"),
        other => refuse(verb, other.display().to_string().as_str()),
    }
}

fn refuse(verb: &str, what: &str) -> Result<Guarded> {
    Err(Error::unsupported(format!("{verb} with {what} is not supported"))
            .with_hint(format!("write the condition with columns of the table and IN (SELECT …): {verb} … WHERE key IN (SELECT key FROM …)")).into())
}

/// The plan that changes nothing: a count of 0.
pub fn nothing() -> Result<LogicalPlan> {
    LogicalPlanBuilder::values(vec![vec![lit(0u64)]])?
        .project(vec![datafusion::logical_expr::col("column1").alias("count")])?
        .build()
}
