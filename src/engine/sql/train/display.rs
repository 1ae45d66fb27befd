//! The canonical text of a statement.

use std::fmt::{self, Display};

use crate::engine::sql::train::statement::TrainStatement;
use crate::ml::features::Outliers;
use crate::ml::models::family_name;
use crate::ml::objective::ObjectiveKind;
use crate::ml::reconciliation::Reconciliation;
use crate::ml::series::Gaps;

impl Display for TrainStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TRAIN")?;
        if self.or_replace {
            write!(f, " OR REPLACE")?;
        }
        write!(f, " FORECAST MODEL")?;
        if self.if_not_exists {
            write!(f, " IF NOT EXISTS")?;
        }
        write!(f, " {} ON {}", self.name, self.relation)?;
        write_clause(f, "WHERE", self.filter.as_ref())?;
        write!(f, " TARGET {}", self.target)?;
        write_list(f, "PARTITION BY", Some(&self.partition_by).filter(|items| !items.is_empty()))?;
        write_clause(f, "ORDER BY", self.order_by.as_ref())?;
        write_clause(f, "EVERY", self.every.as_ref())?;
        write_list(f, "KNOWN", self.known.as_ref())?;
        write_list(f, "PAST", self.past.as_ref())?;
        write_list(f, "STATIC", self.statics.as_ref())?;
        write_list(f, "TEXT", self.texts.as_ref())?;
        write_clause(f, "ENCODER", self.encoder.as_ref())?;
        write_list(f, "IGNORE", Some(&self.ignore).filter(|items| !items.is_empty()))?;
        write_clause(f, "CENSORED WHEN", self.censored.as_ref())?;
        write_clause(f, "GAPS", self.gaps.map(Gaps::word).as_ref())?;
        if !self.hierarchy.is_empty() {
            let lists: Vec<String> = self.hierarchy.iter().map(|keys| format!("({})", list(keys))).collect();
            write_list(f, "HIERARCHY", Some(&lists))?;
        }
        write_clause(f, "RECONCILE", self.reconcile.map(Reconciliation::word).as_ref())?;
        write_clause(f, "OUTLIERS", self.outliers.map(Outliers::word).as_ref())?;
        write_clause(f, "HOLIDAYS", self.holidays.as_ref())?;
        write_clause(f, "HORIZON", self.horizon.as_ref())?;
        if let Some(levels) = &self.quantiles {
            write!(f, " QUANTILES ({})", list(levels))?;
        }
        write_clause(f, "VALIDATE LAST", self.validate.as_ref())?;
        let using: Vec<&str> = self.using.iter().copied().map(family_name).collect();
        write_clause(f, "USING", Some(using.join(", ")).filter(|words| !words.is_empty()).as_ref())?;
        write_clause(f, "FROM", self.from.as_ref())?;
        write_clause(f, "TUNE", self.tune.as_ref())?;
        write_clause(f, "OBJECTIVE", self.objective.map(ObjectiveKind::word).as_ref())?;
        if !self.with.is_empty() {
            let pairs: Vec<String> = self.with.iter().map(|(k, v)| format!("{k} = {v}")).collect();
            write!(f, " WITH ({})", pairs.join(", "))?;
        }
        match &self.comment {
            Some(text) => write!(f, " COMMENT '{}'", text.replace('\'', "''")),
            None => Ok(()),
        }
    }
}

/// Things with commas between them.
pub(super) fn list<T: Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A clause with its word, where there is one.
pub(super) fn write_clause(
    f: &mut fmt::Formatter<'_>,
    word: &str,
    value: Option<&impl Display>,
) -> fmt::Result {
    value.map_or(Ok(()), |v| write!(f, " {word} {v}"))
}

fn write_list<T: Display>(f: &mut fmt::Formatter<'_>, word: &str, items: Option<&Vec<T>>) -> fmt::Result {
    items.map_or(Ok(()), |items| write!(f, " {word} {}", list(items)))
}
