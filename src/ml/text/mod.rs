//! Reading texts: BERT encoders of our own layers, their tokenizers, pretraining on texts without labels.

mod bert;
mod config;
mod encoder;
mod import;
mod objective;
mod pretrain;
mod terms;
mod tokens;
mod vocabulary;

pub use bert::Bert;
pub use config::BertConfig;
pub use encoder::{Pooling, TextEncoder, pooled, repeated};
pub use import::{Files, import};
pub use objective::TextObjective;
pub use pretrain::{HEAD, Parts, PretrainedText, TextCourse, TextPretraining, pretrain};
pub use terms::{Terms, most_frequent};
pub use tokens::{Encoded, TextTokenizer, Tokens};
