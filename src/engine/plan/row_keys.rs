//! A repair of `count(DISTINCT (a, b))`, which counts the bytes of rows.
//!
//! DataFusion 55 keeps each row as a value that holds the buffers of all: time and memory grew with the square of the rows,
//! to seconds and gigabytes for five thousand.

use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, ExprSchemable};

use crate::engine::functions;

/// Counts rows by their bytes.
#[derive(Debug)]
pub struct RowKeys;

impl FunctionRewrite for RowKeys {
    fn name(&self) -> &str {
        "row_keys"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _config: &ConfigOptions) -> Result<Transformed<Expr>> {
        Ok(match expr {
            Expr::AggregateFunction(mut count) if counts_rows(&count, schema) => {
                let rows = std::mem::take(&mut count.params.args);
                count.params.args = vec![functions::row_key().call(rows)];
                Transformed::yes(Expr::AggregateFunction(count))
            }
            expr => Transformed::no(expr),
        })
    }
}

fn counts_rows(aggregate: &AggregateFunction, schema: &DFSchema) -> bool {
    let [row] = aggregate.params.args.as_slice() else { return false };
    let counts = aggregate.func.name() == "count" && aggregate.params.distinct;
    counts
        && row.get_type(schema).is_ok_and(|given| {
            matches!(given, DataType::Struct(_)) && RowConverter::supports_fields(&[SortField::new(given)])
        })
}
