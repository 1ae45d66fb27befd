//! Subqueries for many outer values at once say what they say for one after the other.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::dataframe::DataFrame;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;

use super::{AppliedSubquery, Domains, answers, applied_subquery, outer_columns, with_applied_subqueries};

/// Relations of which the order of rows is not asked for.
const RELATIONS: [&str; 42] = [
    "SELECT t.x, t.s FROM t WHERE t.k = o.k",
    "SELECT t.x + o.n AS z, o.k FROM t WHERE t.x > o.k",
    "SELECT o.k + 1 AS v WHERE o.n > 0",
    "SELECT q.x FROM (SELECT t.x, t.k FROM t WHERE t.x > o.n) q WHERE q.k = o.k",
    "SELECT q.x FROM (SELECT x FROM t ORDER BY x DESC, s LIMIT 2) q WHERE q.x > o.k",
    "SELECT count(*), sum(t.x), max(t.s) FROM t WHERE t.k = o.k",
    "SELECT count(*) FILTER (WHERE t.x > 9), count(DISTINCT t.x) FROM t WHERE t.k = o.k",
    "SELECT sum(t.x + o.n), count(o.n) FROM t WHERE t.k = o.k",
    "SELECT count(*) AS c FROM t WHERE t.k = o.k HAVING count(*) > 1",
    "SELECT c + o.n FROM (SELECT count(*) AS c FROM t WHERE t.k = o.k) q",
    "SELECT t.k, count(*), avg(t.x) FROM t WHERE t.x > o.n GROUP BY t.k",
    "SELECT t.k + o.k AS g, sum(t.x) FROM t GROUP BY t.k + o.k HAVING sum(t.x) > o.n",
    "SELECT t.k, t.s, sum(t.x) FROM t WHERE t.k = o.k GROUP BY ROLLUP (t.k, t.s)",
    "SELECT t.k, t.s, count(*) FROM t WHERE t.k = o.k GROUP BY GROUPING SETS ((t.k), (t.s))",
    "SELECT t.x, sum(t.x) OVER (PARTITION BY t.k) FROM t WHERE t.x > o.n",
    "SELECT t.x, rank() OVER (ORDER BY t.x DESC), lag(t.x, 1) OVER (ORDER BY t.x, t.s) FROM t WHERE t.k >= o.k",
    "SELECT t.s, sum(o.n) OVER (ORDER BY t.s) FROM t WHERE t.k = o.k",
    "SELECT DISTINCT t.k FROM t WHERE t.x > o.n",
    "SELECT DISTINCT o.n, t.k > 1 FROM t WHERE t.x > o.k",
    "SELECT t.x FROM t WHERE t.k = o.k UNION ALL SELECT u.y FROM u WHERE u.y > o.n",
    "SELECT t.x FROM t WHERE t.k = o.k UNION SELECT o.n UNION SELECT y FROM u",
    "SELECT t.x FROM t WHERE t.k = o.k EXCEPT SELECT u.y FROM u WHERE u.y > o.n",
    "SELECT u.y FROM u EXCEPT SELECT t.x FROM t WHERE t.k = o.k",
    "SELECT t.x FROM t WHERE t.k >= o.k INTERSECT SELECT u.y FROM u",
    "SELECT t.x, u.y FROM t JOIN u ON t.k = u.k WHERE t.x > o.n",
    "SELECT t.x, u.y FROM t JOIN u ON t.k = u.k AND u.y > o.n",
    "SELECT v.x, w.y FROM (SELECT * FROM t WHERE t.k = o.k) v JOIN (SELECT * FROM u WHERE u.y > o.n) w ON v.x >= w.y",
    "SELECT v.x, w.y FROM (SELECT * FROM t WHERE t.k = o.k) v CROSS JOIN (SELECT * FROM u WHERE u.y > o.n) w",
    "SELECT t.x, u.y FROM t LEFT JOIN u ON t.k = u.k AND u.y > o.n",
    "SELECT t.x, w.y FROM t LEFT JOIN (SELECT * FROM u WHERE u.y > o.n) w ON w.k = t.k",
    "SELECT v.x, u.y FROM (SELECT * FROM t WHERE t.k = o.k) v LEFT JOIN u ON v.k = u.k",
    "SELECT v.x, u.y FROM (SELECT * FROM t WHERE t.k = o.k) v RIGHT JOIN u ON v.k = u.k",
    "SELECT t.x, w.y FROM t RIGHT JOIN (SELECT * FROM u WHERE u.y > o.n) w ON w.k = t.k AND t.x > o.k",
    "SELECT v.x, w.y FROM (SELECT * FROM t WHERE t.k = o.k) v FULL JOIN (SELECT * FROM u WHERE u.y > o.n) w ON v.k = w.k",
    "SELECT v.x, u.y FROM (SELECT * FROM t WHERE t.k = o.k) v FULL JOIN u ON v.k = u.k AND u.y > o.n",
    "SELECT v.x, w.x FROM (SELECT * FROM t WHERE t.k = o.k) v JOIN (SELECT count(*) AS x FROM u WHERE u.y > o.n) w ON true",
    "SELECT t.x FROM t WHERE t.x > (SELECT min(u.y) FROM u)  AND t.k = o.k",
    "SELECT t.x FROM t WHERE t.x >= (SELECT u.y FROM u WHERE u.k = t.k AND u.y > o.n ORDER BY u.y LIMIT 1)",
    "SELECT q.v FROM t, LATERAL (SELECT u.y + o.k AS v FROM u WHERE u.y > t.x ORDER BY u.y LIMIT 1) q WHERE t.k = o.k",
    "SELECT q.v FROM (VALUES (o.k), (o.n), (7)) q(v) WHERE q.v > 1",
    "SELECT DISTINCT q.c FROM (SELECT count(*) AS c, t.k FROM t GROUP BY t.k) q WHERE q.c > o.n",
    "SELECT q.x FROM (SELECT * FROM t LIMIT 3) q WHERE q.k = o.k LIMIT 100",
];

/// Relations with an order, which is the order of their rows.
const ORDERED: [&str; 8] = [
    "SELECT t.x FROM t WHERE t.x > o.n ORDER BY t.x DESC NULLS LAST, t.s LIMIT 2",
    "SELECT t.x, t.s FROM t ORDER BY t.x, t.s LIMIT 2 OFFSET o.n",
    "SELECT t.s FROM t WHERE t.k >= o.k ORDER BY t.x + o.k, t.s LIMIT o.n",
    "SELECT t.s FROM t WHERE t.k >= o.k ORDER BY t.s OFFSET 1",
    "SELECT q.s FROM (SELECT t.s, t.x FROM t WHERE t.k >= o.k ORDER BY t.s LIMIT 4) q ORDER BY q.x, q.s LIMIT 2",
    "SELECT DISTINCT ON (t.k) t.k, t.x, t.s FROM t WHERE t.x > o.n ORDER BY t.k, t.x DESC, t.s",
    "SELECT t.k, count(*) AS c FROM t WHERE t.x > o.n GROUP BY t.k ORDER BY c DESC, t.k LIMIT 2",
    "SELECT t.x FROM t WHERE t.k = o.k UNION SELECT o.n ORDER BY 1 LIMIT 2",
];

/// Expressions of outer values.
const EXPRESSIONS: [&str; 9] = [
    "(SELECT max(t.x) FROM t WHERE t.k < o.k)",
    "(SELECT t.x FROM t WHERE t.k = o.k ORDER BY t.x, t.s LIMIT 1)",
    "(SELECT count(*) FROM t WHERE t.x > o.n OR o.n IS NULL)",
    "(SELECT string_agg(t.s, ',' ORDER BY t.s) FROM t WHERE t.k = o.k)",
    "EXISTS (SELECT 1 FROM t WHERE t.x > o.n ORDER BY t.x LIMIT 1 OFFSET 2)",
    "NOT EXISTS (SELECT 1 FROM t WHERE t.k > o.k)",
    "o.n IN (SELECT t.k FROM t WHERE t.k >= o.k ORDER BY t.k)",
    "o.k + 9 IN (SELECT t.x FROM t WHERE t.k = o.k)",
    "o.n NOT IN (SELECT t.x FROM t WHERE t.k = o.k)",
];

const TABLES: [&str; 3] = [
    "CREATE TABLE o (k BIGINT, n BIGINT) AS VALUES \
     (1, 1), (2, NULL), (NULL, 3), (1, 1), (3, 0), (4, 2), (5, 5), (1, 0), (NULL, NULL)",
    "CREATE TABLE t (k BIGINT, x BIGINT, s VARCHAR) AS VALUES (1, 10, 'a'), (1, 20, 'b'), (1, 20, NULL), \
     (2, 5, 'c'), (2, NULL, 'd'), (3, 7, 'e'), (NULL, 9, 'f'), (3, 1, 'g'), (5, 0, 'h')",
    "CREATE TABLE u (k BIGINT, y BIGINT) AS VALUES (1, 10), (1, 3), (2, 20), (6, 5), (NULL, 4), (3, NULL)",
];

async fn session() -> SessionContext {
    let session = SessionContext::new();
    for table in TABLES {
        session.sql(table).await.unwrap().collect().await.unwrap();
    }
    session
}

async fn applied(session: &SessionContext, sql: &str) -> LogicalPlan {
    let state = Arc::new(session.state());
    let plan = state.create_logical_plan(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    with_applied_subqueries(plan, &state, &Arc::default()).unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// The call of the outermost subquery.
fn call_in(plan: &LogicalPlan) -> ScalarFunction {
    let mut found = None;
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let (Expr::ScalarFunction(call), Some(_)) = (part, applied_subquery(part)) {
                    found.get_or_insert_with(|| call.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .unwrap();
    found.unwrap()
}

async fn all_rows(frame: DataFrame) -> RecordBatch {
    let schema = Arc::clone(frame.schema().inner());
    concat_batches(&schema, &frame.collect().await.unwrap()).unwrap()
}

/// The plan for all outer values and these, for a query with a subquery.
async fn with_domains(
    session: &SessionContext,
    sql: &str,
) -> (ScalarFunction, Result<Domains>, Vec<ArrayRef>) {
    let call = call_in(&applied(session, sql).await);
    let names: Vec<String> = (0..call.args.len()).map(|n| format!("c{n}")).collect();
    let args: Vec<Expr> = call.args.iter().zip(&names).map(|(arg, name)| arg.clone().alias(name)).collect();
    let frame = session.table("o").await.unwrap().select(args).unwrap();
    let values = all_rows(frame).await.columns().to_vec();
    let subquery = subquery_of(&call);
    let types: Vec<DataType> = values.iter().map(|array| array.data_type().clone()).collect();
    let outer = subquery.outer.iter().map(|(_, column)| column.clone()).collect();
    let domains = Domains::try_new(subquery.kind, &subquery.plan, outer, &types, &subquery.state);
    (call, domains, values)
}

fn subquery_of(call: &ScalarFunction) -> &AppliedSubquery {
    call.func.inner().downcast_ref::<AppliedSubquery>().unwrap()
}

/// What is said for each, the rows of a list in an order of their own where it does not matter.
fn texts(answers: &ArrayRef, ordered: bool) -> Vec<Vec<String>> {
    let text = |array: &ArrayRef, row| ScalarValue::try_from_array(array, row).unwrap().to_string();
    let rows = (0..answers.len()).map(|row| {
        let Some(lists) = answers.as_list_opt::<i32>() else { return vec![text(answers, row)] };
        if lists.is_null(row) {
            return vec![];
        }
        let list = lists.value(row);
        let mut rows: Vec<String> = (0..list.len()).map(|row| text(&list, row)).collect();
        if !ordered {
            rows.sort();
        }
        rows
    });
    rows.collect()
}

async fn ensure_same(session: &SessionContext, sql: &str, ordered: bool) {
    let (call, domains, values) = with_domains(session, sql).await;
    let domains = domains.unwrap_or_else(|e| panic!("{sql}: {e}"));
    let (subquery, count) = (subquery_of(&call), values[0].len());
    let rows = subquery.rows_of_all(&domains, values.clone()).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let all = answers::for_all(subquery.kind, &rows, count, subquery.field.data_type()).unwrap();
    let each = subquery.answers_one_by_one(&values, count).unwrap_or_else(|e| panic!("{sql}: {e}"));
    assert_eq!(texts(&all, ordered), texts(&each, ordered), "{sql}");
}

#[tokio::test(flavor = "multi_thread")]
async fn relations_have_the_same_rows() {
    let session = session().await;
    for relation in RELATIONS {
        ensure_same(&session, &format!("SELECT * FROM o, LATERAL ({relation}) r"), false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn relations_with_an_order_have_it() {
    let session = session().await;
    for relation in ORDERED {
        ensure_same(&session, &format!("SELECT * FROM o, LATERAL ({relation}) r"), true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_have_the_same_values() {
    let session = session().await;
    for expression in EXPRESSIONS {
        ensure_same(&session, &format!("SELECT {expression} FROM o"), true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn volatile_subqueries_are_run_for_each() {
    let session = session().await;
    for subquery in [
        "SELECT (SELECT max(random()) FROM t WHERE t.k > o.k) FROM o",
        "SELECT (SELECT max((SELECT random() + u.y FROM u WHERE u.k = t.k LIMIT 1)) FROM t WHERE t.k > o.k) FROM o",
    ] {
        let (_, domains, _) = with_domains(&session, subquery).await;
        let error = domains.unwrap_err().to_string();
        assert!(error.contains("values that are others with every run"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rows_are_too_many_for_an_expression() {
    let session = session().await;
    let (call, domains, values) =
        with_domains(&session, "SELECT (SELECT t.x FROM t WHERE t.k >= o.k ORDER BY t.x) FROM o").await;
    let (subquery, count) = (subquery_of(&call), values[0].len());
    let rows = subquery.rows_of_all(&domains.unwrap(), values.clone()).unwrap();
    let error = answers::for_all(subquery.kind, &rows, count, subquery.field.data_type()).unwrap_err();
    assert!(error.to_string().contains("more than one row returned by a subquery"), "{error}");
    assert_eq!(subquery.answers_one_by_one(&values, count).unwrap_err().to_string(), error.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_outer_queries_are_found_at_any_depth() {
    let session = session().await;
    let sql = "SELECT (SELECT max((SELECT u.y + (SELECT min(v.x) FROM t v WHERE v.k > o.k AND v.x > u.y + t.x) \
               FROM u WHERE u.k = o.n ORDER BY u.y LIMIT 1)) FROM t) FROM o";
    let call = call_in(&applied(&session, sql).await);
    let outer = outer_columns(&subquery_of(&call).plan).unwrap();
    let mut names: Vec<&str> = outer.iter().map(|(_, column)| column.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["k", "n"]);
    let inner = call_in(&subquery_of(&call).plan);
    assert_eq!(inner.args.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn subqueries_in_those_without_outer_columns_are_applied() {
    let session = session().await;
    let sql =
        "SELECT k, (SELECT max((SELECT u.y FROM u WHERE u.y < t.x ORDER BY u.y DESC LIMIT 1)) FROM t) FROM o";
    let found = all_rows(DataFrame::new(session.state(), applied(&session, sql).await)).await;
    assert_eq!(found.num_rows(), 9);
    assert_eq!(ScalarValue::try_from_array(found.column(1), 0).unwrap(), ScalarValue::from(10_i64));
}
