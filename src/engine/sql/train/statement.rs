//! The statement, as it was read.

use datafusion::sql::sqlparser::ast::{self, Ident, VisitMut, VisitorMut};

use crate::engine::sql::train::holidays::HolidaysClause;
use crate::engine::sql::train::items::{Item, Relation};
use crate::engine::sql::train::tune::TuneClause;
use crate::engine::sql::words::fold;
use crate::ml::features::Outliers;
use crate::ml::forecaster::Family;
use crate::ml::objective::ObjectiveKind;
use crate::ml::reconciliation::Reconciliation;
use crate::ml::series::{Frequency, Gaps};

/// One `TRAIN FORECAST MODEL` statement; clauses that were not written are `None` or empty.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainStatement {
    /// `OR REPLACE`: add a version to an existing model.
    pub or_replace: bool,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// The model.
    pub name: Ident,
    /// `ON`.
    pub relation: Relation,
    /// `WHERE`, after `ON`.
    pub filter: Option<ast::Expr>,
    /// `TARGET`.
    pub target: Item,
    /// `PARTITION BY`: the series keys.
    pub partition_by: Vec<Item>,
    /// `ORDER BY`: the time column.
    pub order_by: Option<Item>,
    /// `EVERY`: the time grid.
    pub every: Option<Frequency>,
    /// `KNOWN`: covariates known in the future.
    pub known: Option<Vec<Item>>,
    /// `PAST`: covariates known in the past only.
    pub past: Option<Vec<Item>>,
    /// `STATIC`: attributes of a series.
    pub statics: Option<Vec<Item>>,
    /// `TEXT`: texts of a series, which become numbers by what they say.
    pub texts: Option<Vec<Item>>,
    /// `ENCODER`, after `TEXT`: the text model that reads them.
    pub encoder: Option<Ident>,
    /// `IGNORE`: columns that inference leaves out.
    pub ignore: Vec<Ident>,
    /// `CENSORED WHEN`: rows whose target is not what would have been, such as sales without stock.
    pub censored: Option<ast::Expr>,
    /// `GAPS`: what missing periods become.
    pub gaps: Option<Gaps>,
    /// `HIERARCHY`: lists of keys that are rolled up.
    pub hierarchy: Vec<Vec<Ident>>,
    /// `RECONCILE`, after `HIERARCHY`.
    pub reconcile: Option<Reconciliation>,
    /// `OUTLIERS`: what values far from all others become.
    pub outliers: Option<Outliers>,
    /// `HOLIDAYS`: whose holidays a model sees.
    pub holidays: Option<HolidaysClause>,
    /// `HORIZON`: steps to forecast.
    pub horizon: Option<ast::Expr>,
    /// `QUANTILES`: levels to learn.
    pub quantiles: Option<Vec<ast::Expr>>,
    /// `VALIDATE LAST`: steps held out.
    pub validate: Option<ast::Expr>,
    /// `USING`: the families, none where the choice is ours.
    pub using: Vec<Family>,
    /// `FROM`: the pretrained model that the network of the family `foundation` begins with, and adapts from; with `distill`
    /// the model whose forecasts are learnt from.
    pub from: Option<Ident>,
    /// `TUNE`: options whose best values are searched for.
    pub tune: Option<TuneClause>,
    /// `OBJECTIVE`: what is minimised.
    pub objective: Option<ObjectiveKind>,
    /// `WITH`: options.
    pub with: Vec<(Ident, ast::Expr)>,
    /// `COMMENT`.
    pub comment: Option<String>,
}

impl TrainStatement {
    /// The families that were named, or that FROM names.
    pub fn families(&self) -> Vec<Family> {
        match (&self.from, self.using.is_empty()) {
            (Some(_), true) if self.distills() => vec![Family::Tide],
            (Some(_), true) => vec![Family::Foundation],
            _ => self.using.clone(),
        }
    }

    /// It learns from the forecasts of the model that FROM names.
    pub fn distills(&self) -> bool {
        let says = |(key, value): &(Ident, ast::Expr)| {
            fold(key) == "distill" && value.to_string().eq_ignore_ascii_case("true")
        };
        self.with.iter().any(says)
    }

    /// Visits all its expressions.
    pub fn visit(&mut self, visitor: &mut impl VisitorMut) {
        let calendar = self.holidays.as_mut().and_then(HolidaysClause::table_mut);
        for relation in std::iter::once(&mut self.relation).chain(calendar) {
            if let Relation::Query(query) = relation {
                let _ = query.visit(visitor);
            }
        }
        if let Some(HolidaysClause::Column(item, _)) = &mut self.holidays {
            let _ = item.expr.visit(visitor);
        }
        let items = [&mut self.known, &mut self.past, &mut self.statics, &mut self.texts];
        let items = items.into_iter().flatten().flatten();
        let items = items.chain([&mut self.target]).chain(&mut self.partition_by).chain(&mut self.order_by);
        let exprs = items.map(|item| &mut item.expr);
        let tune = self.tune.iter_mut().flat_map(TuneClause::values_mut);
        let values = [&mut self.filter, &mut self.censored, &mut self.horizon, &mut self.validate];
        let values = values.into_iter().flatten().chain(tune);
        let values = values.chain(self.quantiles.iter_mut().flatten());
        let values = values.chain(self.with.iter_mut().map(|(_, value)| value));
        exprs.chain(values).for_each(|expr| drop(expr.visit(visitor)));
    }
}
