//! What a fit on rows is asked for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Subject, did_you_mean};
use crate::ml::device::Placement;
use crate::ml::supervised::scores::RowScores;
use crate::ml::text::TextEncoder;

/// What is told of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// One of these classes, ascending.
    Classes(Vec<String>),
    /// A number.
    Number,
}

impl Task {
    /// Numbers that a model gives for a row: a probability for each class, or the number.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.len(),
            Self::Number => 1,
        }
    }
}

/// A family of models of rows, by the word users write after USING.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberFamily {
    /// Logistic regression of classes, ridge regression of numbers, over words and standardised columns.
    Linear,
    /// Linear machines of support vectors (Cortes and Vapnik 1995), of classes with probabilities (Platt 1999).
    Svm,
    /// One tree (Breiman et al. 1984).
    Tree,
    /// Boosted trees (Friedman 2001).
    Gbt,
    /// An encoder of texts that adapts.
    Bert,
}

impl MemberFamily {
    /// Every family with its words, the first of which is the one that is told.
    const WORDS: [(Self, &'static [&'static str]); 5] = [
        (Self::Linear, &["linear", "logistic", "ridge"]),
        (Self::Svm, &["svm"]),
        (Self::Tree, &["tree"]),
        (Self::Gbt, &["gbt"]),
        (Self::Bert, &["bert"]),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(family, _)| *family == self).map_or("", |(_, words)| words[0])
    }

    /// The family of a word, in any case.
    pub fn parse(word: &str) -> Result<Self> {
        let known = |(_, words): &&(Self, &[&str])| words.iter().any(|w| w.eq_ignore_ascii_case(word));
        Self::WORDS.iter().find(known).map(|(family, _)| *family).ok_or_else(|| {
            let all: Vec<&str> = Self::WORDS.iter().flat_map(|(_, words)| words.iter().copied()).collect();
            let message = format!("unknown family {word}{}", did_you_mean(word, all.iter().copied()));
            Error::input(Subject::Option, message)
                .with_hint(format!("USING of models of rows knows auto, {}", all.join(", ")))
        })
    }
}

/// How to fit.
#[derive(Debug, Clone)]
pub struct RowsOptions {
    /// Families that take part; empty for those that suit the columns.
    pub families: Vec<MemberFamily>,
    /// The encoder that an encoder of texts begins with.
    pub encoder: Option<Arc<TextEncoder>>,
    /// Share of the rows that are held out, to choose and to report.
    pub held_out: f64,
    /// Where an encoder learns.
    pub device: Placement,
    /// Passes of an encoder over the texts.
    pub epochs: usize,
    /// Texts of a step.
    pub batch_size: usize,
    /// Peak learning rate of an encoder.
    pub learning_rate: f64,
    /// Tokens of a text that an encoder reads.
    pub longest: usize,
    /// Most boosted trees.
    pub trees: usize,
    /// Leaves of a tree.
    pub leaves: usize,
    /// Seconds after which no other family begins.
    pub max_seconds: Option<f64>,
    /// Seed of all randomness.
    pub seed: u64,
}

impl Default for RowsOptions {
    fn default() -> Self {
        Self {
            families: vec![],
            encoder: None,
            held_out: 0.2,
            device: Placement::Auto,
            epochs: 3,
            batch_size: 32,
            learning_rate: 5e-5,
            longest: 128,
            trees: 500,
            leaves: 31,
            max_seconds: None,
            seed: 1,
        }
    }
}

/// One family of a fit, and how it did on the rows held out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The family.
    pub family: MemberFamily,
    /// Its scores alone.
    pub scores: RowScores,
    /// Its weight in the combination.
    pub weight: f64,
    /// Seconds that it took.
    pub seconds: f64,
    /// Why it has no scores.
    pub failure: Option<String>,
}
