//! The types of branches: `SELECT 1 UNION SELECT 2.5`, `SELECT 1 EXCEPT SELECT 2.5`, `CASE WHEN … THEN 1 ELSE 2.5 END`.
//!
//! DataFusion 55 plans what is made of them in the type of the first branch, and gives all branches one type only when it
//! analyzes the plan: until then casts to whole numbers do not round, and quotients are those of whole numbers.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, NullEquality};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::type_coercion::other::get_coerce_type_for_case_expression;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Union, cast};
use datafusion::optimizer::analyzer::AnalyzerRule;

use crate::engine::functions;

/// The plan with one type for branches that give numbers of several, and what is made of them as that type wants it.
pub fn with_branch_types(plan: LogicalPlan) -> Result<LogicalPlan> {
    typed(plan, expression)
}

fn typed(plan: LogicalPlan, expression: Typing) -> Result<LogicalPlan> {
    if !has_branches(&plan)? {
        return Ok(plan);
    }
    let mut changed = false;
    let typed = plan.transform_up_with_subqueries(|node| {
        let node = in_one_type(node)?.transform_data(|node| expressions(node, expression))?;
        changed |= node.transformed;
        // The columns of a node above a change are of other types, too.
        if changed { node.map_data(LogicalPlan::recompute_schema) } else { Ok(node) }
    });
    typed.data()
}

/// Makes a part of an expression over these columns what the types of branches want.
type Typing = fn(Expr, &DFSchema) -> Result<Transformed<Expr>>;

/// True for a plan with branches, or columns of outer queries, whose types are known by now.
fn has_branches(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= match node {
            LogicalPlan::Union(_) => true,
            LogicalPlan::Join(join) => is_set_operation(join),
            _ => false,
        };
        node.apply_expressions(|expr| {
            found |=
                expr.exists(|part| Ok(matches!(part, Expr::Case(_) | Expr::OuterReferenceColumn(..))))?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

/// A set operation whose branches give numbers of one type in each column.
fn in_one_type(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match node {
        LogicalPlan::Union(union) => union_in_one_type(union),
        LogicalPlan::Join(join) if is_set_operation(&join) => sides_in_one_type(join),
        node => Ok(Transformed::no(node)),
    }
}

/// True for INTERSECT and EXCEPT, which are planned as joins.
pub fn is_set_operation(join: &Join) -> bool {
    matches!(join.join_type, JoinType::LeftAnti | JoinType::LeftSemi)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
}

fn sides_in_one_type(mut join: Join) -> Result<Transformed<LogicalPlan>> {
    let (mut lefts, mut rights) = (HashMap::new(), HashMap::new());
    for (left, right) in &join.on {
        let (Expr::Column(left), Expr::Column(right)) = (left, right) else { continue };
        let (n, m) = (join.left.schema().index_of_column(left)?, join.right.schema().index_of_column(right)?);
        let types = [join.left.schema().field(n), join.right.schema().field(m)];
        if let Some(common) = number_type(&types.map(|field| field.data_type().clone())) {
            lefts.insert(n, common.clone());
            rights.insert(m, common);
        }
    }
    if lefts.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    (join.left, join.right) = (cast_columns(&join.left, &lefts)?, cast_columns(&join.right, &rights)?);
    Ok(Transformed::yes(LogicalPlan::Join(join)))
}

fn union_in_one_type(union: Union) -> Result<Transformed<LogicalPlan>> {
    let common = |n: usize| {
        let types = union.inputs.iter().map(|input| input.schema().field(n).data_type().clone());
        let types: Vec<DataType> = types.collect();
        number_type(&types).or_else(|| beside_null(&types)).map(|common| (n, common))
    };
    let types: HashMap<usize, DataType> = (0..union.schema.fields().len()).filter_map(common).collect();
    if types.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let inputs = union.inputs.iter().map(|input| cast_columns(input, &types)).collect::<Result<_>>()?;
    Ok(Transformed::yes(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?)))
}

/// The expressions of a node whose inputs have their types.
fn expressions(node: LogicalPlan, expression: Typing) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&node.inputs());
    let names = NamePreserver::new(&node);
    node.map_expressions(|expr| {
        let name = names.save(&expr);
        let typed = expr.transform_up(|part| expression(part, &schema))?;
        Ok(typed.update_data(|expr| name.restore(expr)))
    })
}

fn expression(part: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match part {
        Expr::Case(_) => return choice(part, schema),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            match functions::operator(op, &left, &right, schema) {
                Some(call) => Transformed::yes(call),
                None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            }
        }
        part => Transformed::no(part),
    })
}

/// A CASE whose values are numbers of one type.
fn choice(part: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::Case(mut case) = part else { return Ok(Transformed::no(part)) };
    let values = || case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
    let types: Option<Vec<DataType>> = values().map(|value| value.get_type(schema).ok()).collect();
    let Some(common) = types.as_deref().and_then(number_type) else {
        return Ok(Transformed::no(Expr::Case(case)));
    };
    let thens = case.when_then_expr.iter_mut().map(|(_, then)| then);
    for (value, given) in thens.chain(&mut case.else_expr).zip(types.unwrap_or_default()) {
        if given != common && !given.is_null() {
            **value = cast(std::mem::take(value.as_mut()), common.clone());
        }
    }
    Ok(Transformed::yes(Expr::Case(case)))
}

/// The type of numbers that a NULL without a type is beside.
fn beside_null(types: &[DataType]) -> Option<DataType> {
    let (nulls, numbers): (Vec<&DataType>, Vec<&DataType>) = types.iter().partition(|given| given.is_null());
    let is_one = !nulls.is_empty() && numbers.iter().all(|given| given.is_numeric() && *given == numbers[0]);
    numbers.first().filter(|_| is_one).map(|first| (*first).clone())
}

/// The type for numbers of several types; `None` for other values, and those of one type.
fn number_type(types: &[DataType]) -> Option<DataType> {
    let numbers: Vec<&DataType> = types.iter().filter(|given| !given.is_null()).collect();
    let (first, others) = numbers.split_first()?;
    if others.iter().all(|other| other == first) || !numbers.iter().all(|given| given.is_numeric()) {
        return None;
    }
    // Beside a float, decimals are floats; DataFusion makes decimals of the floats, which may not fit.
    let has_floats = numbers.iter().any(|given| given.is_floating());
    let beside = |given: &DataType| match given {
        decimal if has_floats && decimal.is_decimal() => DataType::Float64,
        given => given.clone(),
    };
    let others: Vec<DataType> = others.iter().map(|given| beside(given)).collect();
    get_coerce_type_for_case_expression(&others, Some(&beside(first)))
}

/// The rows with some columns, by their places, in other types.
fn cast_columns(input: &Arc<LogicalPlan>, types: &HashMap<usize, DataType>) -> Result<Arc<LogicalPlan>> {
    let exprs = input.schema().iter().enumerate().map(|(n, (table, field))| {
        let column = Expr::Column(Column::from((table, field)));
        match types.get(&n).filter(|wanted| *wanted != field.data_type()) {
            Some(wanted) => cast(column, wanted.clone()).alias_qualified(table.cloned(), field.name()),
            None => column,
        }
    });
    Ok(Arc::new(LogicalPlanBuilder::from(Arc::clone(input)).project(exprs)?.build()?))
}

/// Branches whose types only parameters told have one type before the analyzer gives them another one. Operators have been
/// planned by then, and casts written.
#[derive(Debug)]
pub struct BranchTypes;

impl AnalyzerRule for BranchTypes {
    fn name(&self) -> &str {
        "branch_types"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        typed(plan, choice)
    }
}
