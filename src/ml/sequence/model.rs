//! A fitted network of events: what it tells of sequences, and its file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::layers::{Along, Parameters};
use crate::ml::sequence::events::Events;
use crate::ml::sequence::network::{Pass, SequenceNetwork, Sizes};
use crate::ml::sequence::vocabulary::{FIRST, Vocabulary};
use crate::ml::tensor_file::{Precision, TensorFile, unreadable};
use crate::ml::training::Network;

/// What such a file is in errors.
const WHAT: &str = "the sequence model";
/// The bytes that hold the words.
const WORDS: &str = "words";

/// What tells which event comes next.
#[derive(Debug)]
pub struct SequenceModel {
    pub(super) config: SequenceConfig,
    pub(super) vocabulary: Vocabulary,
    pub(super) network: SequenceNetwork,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SequenceConfig {
    pub(super) sizes: Sizes,
    /// It tells what is hidden, and looks along all steps.
    pub(super) pretrained: bool,
}

impl SequenceModel {
    /// What it may tell.
    pub fn classes(&self) -> &[String] {
        self.vocabulary.classes()
    }

    /// Events that it looks at.
    pub fn longest(&self) -> usize {
        self.config.sizes.longest
    }

    /// Numbers that it holds.
    pub fn parameters(&self) -> usize {
        self.network.parameters().count()
    }

    /// The probability of every class to come next in these sequences: `[sequences, classes]`.
    pub fn predict(&self, events: &Events, control: &Control) -> Result<Vec<f32>> {
        control.check()?;
        let codes = self.vocabulary.encode(events);
        let longest = self.longest();
        let seen = |n: usize| {
            let range = events.of(n);
            range.end.saturating_sub(longest).max(range.start)..range.end
        };
        let steps = (0..events.len()).map(|n| seen(n).len()).max().unwrap_or(0).max(1);
        let mut pass = Pass { sequences: events.len(), steps, ..Pass::default() };
        pass.codes = vec![vec![0; events.len() * steps]; codes.len()];
        pass.present = vec![false; events.len() * steps];
        for n in 0..events.len() {
            let (range, to) = (seen(n), n * steps);
            for (into, codes) in pass.codes.iter_mut().zip(&codes) {
                into[to..to + range.len()].copy_from_slice(&codes[range.clone()]);
            }
            // A sequence without events is one of an event that is not known.
            pass.present[to..to + range.len().max(1)].fill(true);
            pass.places.push((to + range.len().max(1) - 1) as u32);
        }
        let scores = self.network.scores(&pass)?;
        let scores = scores.narrow(1, FIRST as usize, self.classes().len())?;
        let told =
            candle_nn::ops::softmax_last_dim(&scores.contiguous()?)?.flatten_all()?.to_vec1::<f32>()?;
        match told.iter().all(|p| p.is_finite()) {
            true => Ok(told),
            false => Err(Error::data("the model tells values that are not finite numbers")),
        }
    }

    /// The probabilities of what comes after each of its classes, of the most frequent ones.
    pub fn said(&self, most: usize, control: &Control) -> Result<Vec<Vec<f32>>> {
        let mut events = Events::new(self.vocabulary.sizes().len());
        for class in self.classes().iter().take(most) {
            let (first, others) = events.columns.split_at_mut(1);
            first[0].push(Some(class));
            others.iter_mut().for_each(|column| column.push(None));
            events.ends.push(first[0].codes.len());
        }
        let told = self.predict(&events, control)?;
        Ok(told.chunks_exact(self.classes().len()).map(<[f32]>::to_vec).collect())
    }

    /// The model as a file; equal models give equal bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let weights = self.network.parameters().iter();
        let weights = weights.map(|(name, var, _)| (name.to_owned(), var.as_tensor().clone())).collect();
        let json = |e: serde_json::Error| Error::internal(format!("the model cannot be written: {e}"));
        let words = serde_json::to_vec(&self.vocabulary).map_err(json)?;
        let config = Some(serde_json::to_string(&self.config).map_err(json)?);
        let bytes = BTreeMap::from([(WORDS.to_owned(), words)]);
        TensorFile { config, weights, bytes }.write(Precision::Single)
    }

    /// The model of a file that [`SequenceModel::to_bytes`] made.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut file = TensorFile::read(bytes, WHAT)?;
        let missing = |what: &str| unreadable(WHAT, format!("it has no {what}"));
        let config = file.config.take().ok_or_else(|| missing("sizes"))?;
        let broken = |e: serde_json::Error| unreadable(WHAT, e.to_string());
        let config: SequenceConfig = serde_json::from_str(&config).map_err(broken)?;
        let words = file.bytes.remove(WORDS).ok_or_else(|| missing("words"))?;
        let vocabulary: Vocabulary = serde_json::from_slice(&words).map_err(broken)?;
        let sizes = &config.sizes;
        let sound = sizes.codes == vocabulary.sizes()
            && !vocabulary.classes().is_empty()
            && sizes.longest > 0
            && sizes.heads > 0
            && sizes.width.is_multiple_of(2 * sizes.heads);
        if !sound {
            return Err(unreadable(WHAT, "its words do not fit its sizes".to_owned()));
        }
        let names = file.names();
        let along = if config.pretrained { Along::Steps } else { Along::Earlier };
        let network = SequenceNetwork::new(Parameters::stored(file.weights), sizes, along, 0.0)?;
        TensorFile::ensure_used(&names, network.parameters(), WHAT)?;
        Ok(Self { config, vocabulary, network })
    }
}
