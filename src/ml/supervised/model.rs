//! A fitted combination of models of rows: what it tells, and its file.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::layers::Parameters;
use crate::ml::rng::Rng;
use crate::ml::supervised::boosted::{Boosted, TreeColumns};
use crate::ml::supervised::combination::mean;
use crate::ml::supervised::design::Design;
use crate::ml::supervised::linear::Linear;
use crate::ml::supervised::member::FittedMember;
use crate::ml::supervised::options::{Member, Task};
use crate::ml::supervised::scores::RowScores;
use crate::ml::supervised::table::{ColumnKind, Table};
use crate::ml::supervised::text::{TextModel, TextNetwork};
use crate::ml::tensor_file::{Precision, TensorFile, unreadable};
use crate::ml::text::TextEncoder;
use crate::ml::trees::{Booster, Flat};

/// What such a file is in errors.
const WHAT: &str = "the model of rows";
/// The bytes that hold everything but encoders.
const MODEL: &str = "model";
/// Rows that are told at once.
const CHUNK: usize = 4_096;

/// How a fit went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RowsReport {
    /// Rows that were learnt from.
    pub rows: usize,
    /// Rows that were held out.
    pub held_out: usize,
    /// Scores of the combination on the rows held out.
    pub scores: RowScores,
    /// Scores of telling every row the same.
    pub naive: RowScores,
    /// The families that took part, the best first.
    pub members: Vec<Member>,
    /// Numbers that were learnt.
    pub parameters: usize,
}

/// The combination.
#[derive(Debug)]
pub struct Fitted {
    pub(super) task: Task,
    /// Columns that it reads, in their order.
    pub(super) columns: Vec<(String, ColumnKind)>,
    pub(super) members: Vec<(FittedMember, f64)>,
}

/// What the file tells.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    task: Task,
    columns: Vec<(String, ColumnKind)>,
    members: Vec<(StoredMember, f64)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredMember {
    Linear(Box<Linear>),
    Trees {
        columns: TreeColumns,
        texts: Option<Box<Linear>>,
        outputs: usize,
        boosters: Vec<Flat>,
    },
    /// An encoder, whose file has the name of its place, with its head.
    Text {
        beside: Design,
        unit: [f64; 2],
        longest: usize,
        epochs: usize,
        head: Vec<Vec<f32>>,
    },
}

impl Fitted {
    /// What it tells.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// The columns that it reads.
    pub fn columns(&self) -> &[(String, ColumnKind)] {
        &self.columns
    }

    /// The encoders of texts among its members.
    pub fn encoders(&self) -> impl Iterator<Item = &TextEncoder> {
        self.members.iter().filter_map(|(member, _)| match member {
            FittedMember::Text(model) => Some(model.encoder.as_ref()),
            _ => None,
        })
    }

    /// A probability for each class, or a number, of every row: `[rows, outputs]`.
    pub fn predict(&self, table: &Table, control: &Control) -> Result<Vec<f32>> {
        let mut out = Vec::with_capacity(table.rows * self.task.outputs());
        let rows: Vec<usize> = (0..table.rows).collect();
        for rows in rows.chunks(CHUNK) {
            control.check()?;
            let told = self.members.iter().map(|(member, _)| member.predict(table, rows, control).map(Some));
            let weights: Vec<f64> = self.members.iter().map(|(_, weight)| *weight).collect();
            out.append(&mut mean(&told.collect::<Result<Vec<_>>>()?, &weights));
        }
        if out.iter().any(|x| !x.is_finite()) {
            return Err(Error::data("the model tells values that are not finite numbers"));
        }
        Ok(out)
    }

    /// Numbers that it holds.
    pub(super) fn parameters(&self) -> usize {
        let of = |(member, _): &(FittedMember, f64)| match member {
            FittedMember::Linear(model) => model.parameters(),
            FittedMember::Trees(model) => {
                let leaves: usize = model.boosters.iter().map(Booster::leaves).sum();
                leaves + model.texts.as_ref().map_or(0, Linear::parameters)
            }
            FittedMember::Text(model) => model.network.parameters.count(),
        };
        self.members.iter().map(of).sum()
    }

    /// The model as a file; equal models give equal bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let (mut members, mut bytes) = (vec![], BTreeMap::new());
        for (place, (member, weight)) in self.members.iter().enumerate() {
            let stored = match member {
                FittedMember::Linear(model) => StoredMember::Linear(model.clone()),
                FittedMember::Trees(model) => StoredMember::Trees {
                    columns: model.columns.clone(),
                    texts: model.texts.clone().map(Box::new),
                    outputs: model.outputs,
                    boosters: model.boosters.iter().map(Booster::to_flat).collect(),
                },
                FittedMember::Text(model) => {
                    let network = &model.network.parameters;
                    bytes.insert(encoder_name(place), model.encoder.write_with(network, Precision::Single)?);
                    StoredMember::Text {
                        beside: model.beside.clone(),
                        unit: model.unit,
                        longest: model.longest,
                        epochs: model.epochs,
                        head: model.network.head()?,
                    }
                }
            };
            members.push((stored, *weight));
        }
        let stored = Stored { task: self.task.clone(), columns: self.columns.clone(), members };
        let json = serde_json::to_vec(&stored);
        let json = json.map_err(|e| Error::internal(format!("the model cannot be written: {e}")))?;
        bytes.insert(MODEL.to_owned(), json);
        TensorFile { bytes, ..TensorFile::default() }.write(Precision::Single)
    }

    /// The model of a file that [`Fitted::to_bytes`] made.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut file = TensorFile::read(bytes, WHAT)?;
        let missing = || unreadable(WHAT, "it lacks what it tells".to_owned());
        let json = file.bytes.remove(MODEL).ok_or_else(missing)?;
        let stored: Stored = serde_json::from_slice(&json).map_err(|e| unreadable(WHAT, e.to_string()))?;
        let outputs = stored.task.outputs();
        let mut members = vec![];
        for (place, (member, weight)) in stored.members.into_iter().enumerate() {
            let encoder = file.bytes.remove(&encoder_name(place));
            members.push((load(member, encoder, outputs)?, weight));
        }
        if members.is_empty() || outputs == 0 || members.iter().any(|(_, weight)| !weight.is_finite()) {
            return Err(missing());
        }
        Ok(Self { task: stored.task, columns: stored.columns, members })
    }
}

fn encoder_name(place: usize) -> String {
    format!("encoder.{place}")
}

fn load(member: StoredMember, encoder: Option<Vec<u8>>, outputs: usize) -> Result<FittedMember> {
    let refused = |why: &str| unreadable(WHAT, why.to_owned());
    let check = |model: &Linear| model.refuses().map_or(Ok(()), |why| Err(refused(why)));
    Ok(match member {
        StoredMember::Linear(model) => {
            check(&model)?;
            FittedMember::Linear(model)
        }
        StoredMember::Trees { columns, texts, outputs: told, boosters } => {
            texts.iter().try_for_each(|model| check(model))?;
            let boosters: Vec<Booster> = boosters
                .into_iter()
                .map(|flat| Booster::from_flat(flat).map_err(|why| refused(&why)))
                .collect::<Result<_>>()?;
            let scores = if told == 2 { 1 } else { told };
            let width = columns.width();
            if told != outputs || boosters.len() != scores || boosters.iter().any(|b| b.columns() != width) {
                return Err(refused("its trees do not fit its columns"));
            }
            FittedMember::Trees(
                Boosted { columns, texts: texts.map(|model| *model), boosters, outputs }.into(),
            )
        }
        StoredMember::Text { beside, unit, longest, epochs, head } => {
            let encoder = encoder.ok_or_else(|| refused("it lacks its encoder"))?;
            let encoder = Arc::new(TextEncoder::read(&encoder)?);
            if !beside.is_whole() {
                return Err(refused("its columns do not stand side by side"));
            }
            let network =
                TextNetwork::new(Parameters::seeded(Rng::new(0)), &encoder, (beside.width(), outputs))?;
            network.parameters.copy_from(encoder.parameters())?;
            network.set_head(&head).map_err(|_| refused("its head does not fit its encoder"))?;
            FittedMember::Text(TextModel { network, encoder, beside, unit, longest, epochs }.into())
        }
    })
}
