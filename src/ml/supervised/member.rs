//! One fitted model of rows, whatever its family.

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::supervised::boosted::{Boosted, Trees};
use crate::ml::supervised::linear::{Linear, Loss};
use crate::ml::supervised::options::{MemberFamily, RowsOptions, Task};
use crate::ml::supervised::table::{ColumnKind, Table, Target};
use crate::ml::supervised::text::TextModel;

/// Columns of every kind.
pub(super) const ALL: [ColumnKind; 3] = [ColumnKind::Number, ColumnKind::Category, ColumnKind::Text];

/// The model.
#[derive(Debug)]
pub(super) enum FittedMember {
    Linear(Box<Linear>),
    Trees(Box<Boosted>),
    Text(Box<TextModel>),
}

/// Fits a family to some rows; others tell how far to go.
pub(super) fn fit(
    family: MemberFamily,
    data: (&Table, &Target, &Task),
    rows: (&[usize], &[usize]),
    options: &RowsOptions,
    control: &Control,
) -> Result<FittedMember> {
    let (table, target, task) = data;
    let linear = |loss| {
        let data = (table, target, task.outputs());
        Linear::fit(data, rows, (loss, &ALL), control).map(|model| FittedMember::Linear(model.into()))
    };
    let trees = |trees| {
        Boosted::fit(data, rows, trees, options, control).map(|model| FittedMember::Trees(model.into()))
    };
    match (family, task) {
        (MemberFamily::Linear, Task::Classes(_)) => linear(Loss::Logistic),
        (MemberFamily::Linear, Task::Number) => linear(Loss::Squared),
        (MemberFamily::Svm, Task::Classes(_)) => linear(Loss::Hinge),
        (MemberFamily::Svm, Task::Number) => {
            Err(Error::data("svm of rows tells classes; linear and gbt tell numbers"))
        }
        (MemberFamily::Tree, _) => trees(Trees::One),
        (MemberFamily::Gbt, _) => trees(Trees::Boosted),
        (MemberFamily::Bert, _) => {
            TextModel::fit(data, rows, options, control).map(|model| FittedMember::Text(model.into()))
        }
    }
}

impl FittedMember {
    /// What is told of these rows, `[rows, outputs]`.
    pub(super) fn predict(&self, table: &Table, rows: &[usize], control: &Control) -> Result<Vec<f32>> {
        match self {
            Self::Linear(model) => Ok(model.predict(table, rows)),
            Self::Trees(model) => Ok(model.predict(table, rows)),
            Self::Text(model) => model.predict(table, rows, control),
        }
    }
}
