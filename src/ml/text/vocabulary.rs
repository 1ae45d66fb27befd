//! A vocabulary of word pieces (Schuster and Nakajima 2012; Devlin et al. 2019) from the texts at hand.

use std::collections::BTreeSet;

use tokenizers::models::wordpiece::{WordPiece, WordPieceTrainerBuilder};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::tokenizer::{
    AddedToken, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer, Tokenizer, Trainer,
};

use crate::error::{Error, Result};
use crate::ml::text::tokens::TextTokenizer;

const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
/// How pieces that go on a word begin.
const GOES_ON: &str = "##";
/// Characters of the vocabulary, at most: the most frequent ones.
const ALPHABET_MAX: usize = 1_000;
/// How often a piece must occur.
const FREQUENCY_MIN: u64 = 2;

/// A tokenizer of at most `size` pieces that the texts have, in small letters without accents; the same texts give the
/// same one.
pub(super) fn learn(texts: &[String], size: usize, longest: usize) -> Result<TextTokenizer> {
    let failed = |e: tokenizers::Error| Error::internal(format!("no vocabulary was found: {e}"));
    let words = |text: &str| -> tokenizers::Result<Vec<String>> { words(text) };
    // Pieces of one letter get their places here: the library gives them in the order of a hash table.
    let mut letters = std::collections::BTreeMap::<char, usize>::new();
    for text in texts {
        let found = words(text).map_err(failed)?;
        found.iter().flat_map(|word| word.chars()).for_each(|c| *letters.entry(c).or_default() += 1);
    }
    let mut frequent: Vec<(char, usize)> = letters.into_iter().collect();
    frequent.sort_by_key(|(letter, count)| (std::cmp::Reverse(*count), *letter));
    frequent.truncate(ALPHABET_MAX);
    let letters: BTreeSet<char> = frequent.into_iter().map(|(letter, _)| letter).collect();
    let single = letters.iter().map(char::to_string);
    let going_on = letters.iter().map(|letter| format!("{GOES_ON}{letter}"));
    let first: Vec<AddedToken> = SPECIAL
        .iter()
        .map(|word| (*word).to_owned())
        .chain(single)
        .chain(going_on)
        .map(|word| AddedToken::from(word, true))
        .collect();
    let mut trainer = WordPieceTrainerBuilder::new()
        .vocab_size(size.max(first.len()))
        .min_frequency(FREQUENCY_MIN)
        .limit_alphabet(letters.len())
        .special_tokens(first)
        .continuing_subword_prefix(GOES_ON.to_owned())
        .show_progress(false)
        .build();
    let known = |word: &String| word.chars().all(|c| letters.contains(&c));
    trainer
        .feed(texts.iter(), |text| Ok(words(text)?.into_iter().filter(known).collect()))
        .map_err(failed)?;
    let mut model = WordPiece::default();
    trainer.train(&mut model).map_err(failed)?;
    "[UNK]".clone_into(&mut model.unk_token);
    TextTokenizer::of(assembled(model)?, longest)
}

fn normalizer() -> BertNormalizer {
    BertNormalizer::new(true, true, None, true)
}

/// The words of a text as they are counted.
fn words(text: &str) -> tokenizers::Result<Vec<String>> {
    let mut normalized = NormalizedString::from(text);
    normalizer().normalize(&mut normalized)?;
    let mut words = PreTokenizedString::from(normalized);
    BertPreTokenizer.pre_tokenize(&mut words)?;
    let splits = words.get_splits(OffsetReferential::Original, OffsetType::Byte);
    Ok(splits.into_iter().map(|(word, _, _)| word.to_owned()).collect())
}

/// The tokenizer around a vocabulary.
fn assembled(model: WordPiece) -> Result<Tokenizer> {
    let mut tokenizer = Tokenizer::new(model);
    let place = |tokenizer: &Tokenizer, word: &str| tokenizer.token_to_id(word).unwrap_or(0);
    let (cls, sep) = (place(&tokenizer, "[CLS]"), place(&tokenizer, "[SEP]"));
    let special: Vec<AddedToken> = SPECIAL.iter().map(|word| AddedToken::from(*word, true)).collect();
    let processing = BertProcessing::new(("[SEP]".into(), sep), ("[CLS]".into(), cls));
    let assembled = tokenizer.with_normalizer(Some(normalizer())).and_then(|t| {
        t.with_pre_tokenizer(Some(BertPreTokenizer))
            .with_post_processor(Some(processing))
            .add_special_tokens(special)
    });
    assembled.map_err(|e| Error::internal(format!("no vocabulary was found: {e}")))?;
    Ok(tokenizer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Vec<String> {
        let words = [
            "Red running shoe",
            "blue running shoes",
            "Café au lait mug",
            "red mug, small",
            "T-light holder",
        ];
        (0..40).map(|i| format!("{} {}", words[i % 5], words[(i / 5) % 5])).collect()
    }

    #[test]
    fn pieces_are_those_of_the_texts_and_repeat() {
        let tokenizer = learn(&texts(), 120, 32).unwrap();
        for _ in 0..5 {
            assert_eq!(learn(&texts(), 120, 32).unwrap().to_json().unwrap(), tokenizer.to_json().unwrap());
        }
        let ids = |text: &str| tokenizer.encode(text, None).unwrap().ids;
        let special = tokenizer.special();
        assert_eq!((special.cls, special.sep, special.mask), (2, 3, Some(4)));
        // Frequent words are one piece, in any letters and with or without accents.
        assert_eq!(ids("RED Mug").len(), 4);
        assert_eq!(ids("café"), ids("Cafe"));
        // What no text has is unknown.
        assert_eq!(ids("\u{4e2d}"), vec![2, 1, 3]);
        let pair = tokenizer.encode("red", Some("blue mug")).unwrap();
        assert_eq!(pair.kinds, vec![0, 0, 0, 1, 1, 1]);
    }

    #[test]
    fn long_texts_are_cut() {
        let tokenizer = learn(&texts(), 120, 16).unwrap();
        assert_eq!(tokenizer.encode(&"red mug ".repeat(200_000), None).unwrap().ids.len(), 16);
        assert_eq!(tokenizer.encode("", None).unwrap().ids, vec![2, 3]);
    }
}
