//! `a || b` of texts, whose results may be far larger than what they are made of: DataFusion's operator asks nobody how
//! much memory there is.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::logical_expr::expr::{BinaryExpr, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, ScalarUDF};

use crate::engine::functions::counted_textcat;

/// Texts of one chain of operators: the columns of all of them are in memory together.
const TEXTS_MAX: usize = 256;

/// Chains of `||` become one call, which asks for the memory of its result.
#[derive(Debug)]
pub struct JoinedTexts(Arc<ScalarUDF>);

impl JoinedTexts {
    /// The rewrite, for statements whose memory is of this pool.
    pub fn new(pool: &Arc<dyn MemoryPool>) -> Self {
        Self(Arc::new(counted_textcat(pool)))
    }

    /// The texts that this one is joined of.
    fn texts<'a>(&self, text: &'a Expr) -> &'a [Expr] {
        match text {
            Expr::ScalarFunction(call) if call.func == self.0 => &call.args,
            text => std::slice::from_ref(text),
        }
    }

    /// True for texts, or binary strings, of one type.
    fn are_joined(&self, left: &Expr, right: &Expr, schema: &DFSchema) -> Result<bool> {
        // All texts of a call have its type.
        let [Some(left), Some(right)] = [left, right].map(|text| self.texts(text).first()) else {
            return Ok(false);
        };
        let (left, right) = (left.get_type(schema)?, right.get_type(schema)?);
        let is_text = left.is_string()
            || matches!(left, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
        Ok(is_text && left == right)
    }
}

impl FunctionRewrite for JoinedTexts {
    fn name(&self) -> &str {
        "joined_texts"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _config: &ConfigOptions) -> Result<Transformed<Expr>> {
        let BinaryExpr { left, right, .. } = match expr {
            Expr::BinaryExpr(both)
                if both.op == Operator::StringConcat
                    && self.are_joined(&both.left, &both.right, schema)? =>
            {
                both
            }
            expr => return Ok(Transformed::no(expr)),
        };
        let are_few = self.texts(&left).len() + self.texts(&right).len() <= TEXTS_MAX;
        let mut texts = vec![];
        for side in [*left, *right] {
            match side {
                Expr::ScalarFunction(call) if are_few && call.func == self.0 => texts.extend(call.args),
                side => texts.push(side),
            }
        }
        Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&self.0), texts))))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{Field, Schema};
    use datafusion::common::tree_node::TreeNode;
    use datafusion::execution::memory_pool::UnboundedMemoryPool;
    use datafusion::logical_expr::{binary_expr, col, lit};

    use super::*;

    fn rewritten(expr: Expr) -> Transformed<Expr> {
        let fields = [("n", DataType::Int64), ("a", DataType::Utf8View), ("b", DataType::Utf8View)];
        let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
        let schema = DFSchema::try_from(Schema::new(fields.to_vec())).unwrap();
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let (rewrite, config) = (JoinedTexts::new(&pool), ConfigOptions::default());
        expr.transform_up(|expr| rewrite.rewrite(expr, &schema, &config)).unwrap()
    }

    fn joined(left: Expr, right: Expr) -> Expr {
        binary_expr(left, Operator::StringConcat, right)
    }

    fn arguments(expr: &Expr) -> &[Expr] {
        let Expr::ScalarFunction(call) = expr else { panic!("{expr} is a call") };
        assert_eq!(call.func.name(), "textcat");
        &call.args
    }

    #[test]
    fn a_chain_is_one_call() {
        let chain = joined(joined(col("a"), col("b")), joined(col("b"), joined(col("a"), col("a"))));
        let call = rewritten(chain).data;
        assert_eq!(arguments(&call), ["a", "b", "b", "a", "a"].map(col));
        let long = (0..TEXTS_MAX).fold(col("a"), |chain, _| joined(chain, col("b")));
        let call = rewritten(long).data;
        let [first, last] = arguments(&call) else { panic!("{call} has two arguments") };
        assert_eq!((arguments(first).len(), last), (TEXTS_MAX, &col("b")));
    }

    #[test]
    fn texts_of_two_types_stay_as_they_are() {
        for (left, right) in [(col("a"), col("n")), (col("a"), lit("x")), (col("n"), col("n"))] {
            assert!(!rewritten(joined(left, right)).transformed);
        }
    }
}
