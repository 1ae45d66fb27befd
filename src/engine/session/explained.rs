//! What EXPLAIN answers, in PostgreSQL's shape: a column `QUERY PLAN`, a line of the plan in each row.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::format::ExplainFormat;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use crate::postgres::PG_TYPE;

/// How a plan is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Explained {
    /// The operators that run, a line each.
    Lines,
    /// All stages of the plan.
    Stages,
    /// One JSON document.
    Json,
}

impl Explained {
    /// How this plan is told, when it is an EXPLAIN.
    pub fn of(plan: &LogicalPlan) -> Option<Self> {
        match plan {
            LogicalPlan::Explain(explain) if explain.explain_format == ExplainFormat::PostgresJSON => {
                Some(Self::Json)
            }
            LogicalPlan::Explain(explain) if explain.verbose => Some(Self::Stages),
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => Some(Self::Lines),
            _ => None,
        }
    }

    /// The column that is told.
    pub fn schema(self) -> SchemaRef {
        let field = Field::new("QUERY PLAN", DataType::Utf8, false);
        let json = (self == Self::Json).then(|| (PG_TYPE.to_owned(), "json".to_owned()));
        Arc::new(Schema::new(vec![field.with_metadata(json.into_iter().collect())]))
    }

    /// The rows of DataFusion's EXPLAIN as rows of this column.
    pub fn rows(self, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = self.schema();
        let told = Arc::clone(&schema);
        let lines = rows.map(move |batch| {
            let batch = batch?;
            let texts = |n: usize| cast(batch.column(n), &DataType::Utf8);
            let (kinds, plans) = (texts(0)?, texts(1)?);
            let lines = self.lines(kinds.as_string::<i32>(), plans.as_string::<i32>());
            Ok(RecordBatch::try_new(Arc::clone(&told), vec![Arc::new(StringArray::from(lines))])?)
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, lines))
    }

    fn lines(self, kinds: &StringArray, plans: &StringArray) -> Vec<String> {
        let stages = (0..plans.len()).map(|row| (kinds.value(row), plans.value(row)));
        match self {
            Self::Json => stages.map(|(_, plan)| plan.to_owned()).collect(),
            Self::Lines => {
                let runs = (0..kinds.len()).any(|row| kinds.value(row) != "logical_plan");
                let told = stages.filter(|(kind, _)| !runs || *kind != "logical_plan");
                told.flat_map(|(_, plan)| plan.trim_end().lines().map(str::to_owned)).collect()
            }
            Self::Stages => stages
                .flat_map(|(kind, plan)| {
                    let lines = plan.trim_end().lines().map(|line| format!("  {line}"));
                    std::iter::once(format!("{kind}:")).chain(lines).collect::<Vec<_>>()
                })
                .collect(),
        }
    }
}
