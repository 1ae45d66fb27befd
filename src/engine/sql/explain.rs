//! PostgreSQL's options of EXPLAIN as DataFusion reads them.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::engine::sql::tokens::{solid, text};
use crate::error::{Error, Result, Subject, did_you_mean};

/// Options about what PostgreSQL counts and this engine does not.
const WITHOUT_EFFECT: [&str; 7] =
    ["buffers", "costs", "generic_plan", "settings", "summary", "timing", "wal"];

/// `EXPLAIN (ANALYZE, COSTS off, FORMAT JSON) …` as `EXPLAIN ANALYZE FORMAT PGJSON …`.
pub fn plain_options(tokens: &mut Vec<TokenWithSpan>) -> Result<()> {
    let solid = solid(tokens);
    let word = |n: usize| solid.get(n).map(|place| text(&tokens[*place].token)).unwrap_or_default();
    if word(0) != "explain"
        || word(1) != "("
        || matches!(word(2).as_str(), "select" | "with" | "(" | "values")
    {
        return Ok(());
    }
    let Some(end) = (2..solid.len()).find(|n| word(*n) == ")") else { return Ok(()) };
    let words: Vec<String> = (2..end).map(word).collect();
    let mut kept = vec![];
    for option in words.split(|word| word == ",") {
        let (name, value) = (option.first().map_or("", String::as_str), option.get(1).map(String::as_str));
        let on = !matches!(value, Some("off" | "false" | "0"));
        match (name, value) {
            ("analyze" | "verbose", _) if on => kept.push(name.to_uppercase()),
            ("analyze" | "verbose", _) => {}
            ("format", Some("json")) => kept.push("FORMAT PGJSON".to_owned()),
            ("format", Some("text")) => {}
            ("format", Some(other)) => kept.push(format!("FORMAT {}", other.to_uppercase())),
            (name, _) if WITHOUT_EFFECT.contains(&name) => {}
            _ => {
                let known = ["analyze", "verbose", "format"].into_iter().chain(WITHOUT_EFFECT);
                let message = format!("unknown option {name} of EXPLAIN{}", did_you_mean(name, known));
                return Err(Error::input(Subject::Syntax, message));
            }
        }
    }
    // The grammar has one order.
    kept.sort_by_key(|option| (option.starts_with("FORMAT"), option != "ANALYZE"));
    let span = tokens[solid[1]].span;
    let plain = kept.iter().flat_map(|option| option.split(' '));
    let plain = plain.map(|word| TokenWithSpan { token: Token::make_word(word, None), span });
    let plain: Vec<_> = plain.collect();
    tokens.splice(solid[1]..=solid[end], plain);
    Ok(())
}
