//! `regexp_split_to_array(text, pattern [, flags])`, and `regexp_groups(…)`, whose elements `regexp_matches(…)` gives as rows.
//!
//! Source: PostgreSQL 15 documentation, section 9.7.3 (POSIX Regular Expressions), and `setup_regexp_matches` in regexp.c.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListBuilder, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use regex::Regex;

use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::engine::functions::scalar::regexp_flags::Flags;
use crate::error::{Error, Subject};

/// What is taken of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Pieces {
    /// What stands between the matches.
    Between,
    /// The groups of each match, or all of it where the pattern has none.
    Groups,
}

/// Pieces of texts by a regular expression.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct RegexpPieces {
    pieces: Pieces,
    signature: Signature,
}

impl RegexpPieces {
    /// `regexp_split_to_array`.
    pub fn split() -> Self {
        Self::new(Pieces::Between)
    }

    /// `regexp_groups`.
    pub fn groups() -> Self {
        Self::new(Pieces::Groups)
    }

    fn new(pieces: Pieces) -> Self {
        let with_or_without = vec![TypeSignature::String(2), TypeSignature::String(3)];
        Self { pieces, signature: Signature::one_of(with_or_without, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for RegexpPieces {
    fn name(&self) -> &str {
        match self.pieces {
            Pieces::Between => "regexp_split_to_array",
            Pieces::Groups => "regexp_groups",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        let texts = list_of(DataType::Utf8);
        Ok(if self.pieces == Pieces::Groups { list_of(texts) } else { texts })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = rows(&args);
        let texts = |value: &ColumnarValue| -> Result<ArrayRef> {
            Ok(cast(&value.to_array(rows)?, &DataType::Utf8)?)
        };
        let columns = args.args.iter().map(texts).collect::<Result<Vec<_>>>()?;
        let text = |column: usize, row: usize| match columns.get(column) {
            None => Some(""),
            Some(texts) => texts.is_valid(row).then(|| texts.as_string::<i32>().value(row)),
        };
        let searches = (0..rows).map(|row| Some((text(0, row)?, text(1, row)?, text(2, row)?)));
        let found = match self.pieces {
            Pieces::Between => splits(searches)?,
            Pieces::Groups => groups(searches)?,
        };
        answer(found, is_one(&args))
    }
}

fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element, true)))
}

/// A regular expression, and whether all of its matches are asked for.
struct Pattern {
    expression: Regex,
    all: bool,
}

impl Pattern {
    fn new(pattern: &str, letters: &str) -> Result<Self> {
        let flags = Flags::parse(letters)?;
        let written = format!("(?{}){pattern}", flags.modes());
        let expression = Regex::new(&written)
            .map_err(|e| Error::input(Subject::Value, format!("invalid regular expression: {e}")))?;
        Ok(Self { expression, all: flags.all })
    }
}

/// Patterns of a batch, each read once.
#[derive(Default)]
struct Patterns<'a>(HashMap<(&'a str, &'a str), Pattern>);

impl<'a> Patterns<'a> {
    fn get(&mut self, pattern: &'a str, flags: &'a str) -> Result<&Pattern> {
        use std::collections::hash_map::Entry;
        Ok(match self.0.entry((pattern, flags)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Pattern::new(pattern, flags)?),
        })
    }
}

/// Text, pattern and flags of a row, where none is NULL.
type Search<'a> = Option<(&'a str, &'a str, &'a str)>;

fn splits<'a>(searches: impl Iterator<Item = Search<'a>>) -> Result<ArrayRef> {
    let (mut patterns, mut lists) = (Patterns::default(), ListBuilder::new(StringBuilder::new()));
    for search in searches {
        if let Some((text, pattern, flags)) = search {
            let mut from = 0;
            for found in patterns.get(pattern, flags)?.expression.find_iter(text) {
                // Matches of nothing split no text at its ends, nor where another match ended.
                if found.is_empty() && (found.start() == from || found.start() == text.len()) {
                    continue;
                }
                lists.values().append_value(&text[from..found.start()]);
                from = found.end();
            }
            lists.values().append_value(&text[from..]);
        }
        lists.append(search.is_some());
    }
    Ok(Arc::new(lists.finish()))
}

fn groups<'a>(searches: impl Iterator<Item = Search<'a>>) -> Result<ArrayRef> {
    let mut patterns = Patterns::default();
    let mut lists = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
    for search in searches {
        if let Some((text, pattern, flags)) = search {
            let pattern = patterns.get(pattern, flags)?;
            let first = usize::from(pattern.expression.captures_len() > 1);
            for found in pattern.expression.captures_iter(text).take(if pattern.all { usize::MAX } else { 1 })
            {
                for group in found.iter().skip(first) {
                    lists.values().values().append_option(group.map(|group| group.as_str()));
                }
                lists.values().append(true);
            }
        }
        lists.append(search.is_some());
    }
    Ok(Arc::new(lists.finish()))
}
