//! What Tab offers: the words that can stand where the cursor is.

use crate::engine::Words;

use super::lexer::{Token, TokenKind, tokens};
use super::meta;

/// Functions whose first argument is a model, and the arguments after it.
const MODEL_FUNCTIONS: [(&str, &[&str]); 6] = [
    ("backtest", &["windows", "step", "horizon", "refit", "by", "level", "version"]),
    ("evaluate", &["on", "by", "version"]),
    ("featurize", &["on", "horizon", "version", "future", "set"]),
    (
        "forecast",
        &[
            "horizon",
            "until",
            "level",
            "quantiles",
            "history",
            "by",
            "total",
            "mean",
            "seed",
            "version",
            "future",
            "set",
        ],
    ),
    ("leaderboard", &["version"]),
    ("simulate", &["horizon", "until", "paths", "seed", "version", "future", "set"]),
];
/// Words after which a table is named.
const BEFORE_TABLES: [&str; 8] = ["from", "join", "into", "update", "table", "view", "truncate", "copy"];

/// Where the completed word starts in `before`, and what can replace it.
pub(super) fn complete(before: &str, words: &Words) -> (usize, Vec<String>) {
    if before.trim_start().starts_with('\\') {
        return complete_meta(before, words);
    }
    let start = before.rfind(|c: char| !is_name_part(c)).map_or(0, |at| at + next_length(before, at));
    let context = tokens(&before[..start]);
    if context.last().is_some_and(|t| !t.closed || t.kind == TokenKind::Comment) {
        return (start, Vec::new());
    }
    let prefix = &before[start..];
    let mut offers = match place(&context) {
        Place::Table => names(prefix, &[&words.tables, &words.functions]),
        Place::Model => names(prefix, &[&words.models]),
        Place::Option => followed_by(names(prefix, &[&words.options]), " = "),
        Place::Argument(arguments) => {
            let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
            followed_by(names(prefix, &[&arguments]), " => ")
        }
        Place::Anything if prefix.is_empty() => Vec::new(),
        Place::Anything => {
            let mut offers = keywords(prefix, words.keywords);
            offers.extend(names(prefix, &[&words.columns, &words.functions, &words.tables]));
            offers
        }
    };
    offers.sort();
    offers.dedup();
    (start, offers)
}

enum Place {
    Table,
    Model,
    Option,
    Argument(&'static [&'static str]),
    Anything,
}

/// What kind of word follows these tokens.
fn place(context: &[Token<'_>]) -> Place {
    let significant: Vec<&Token<'_>> =
        context.iter().filter(|t| !matches!(t.kind, TokenKind::Space | TokenKind::Comment)).collect();
    let word = |token: Option<&&Token<'_>>| token.map(|t| t.text.to_lowercase()).unwrap_or_default();
    let last = word(significant.last());
    let statement_start = significant.iter().rposition(|t| t.text == ";").map_or(0, |at| at + 1);
    let verb = word(significant.get(statement_start));
    let trains = matches!(verb.as_str(), "train" | "explain" | "pretrain" | "refresh");
    if last == "model" {
        return Place::Model;
    }
    if BEFORE_TABLES.contains(&last.as_str()) || (last == "on" && trains) {
        return Place::Table;
    }
    let Some(open) = open_parenthesis(&significant) else { return Place::Anything };
    let caller = if open == 0 { String::new() } else { word(significant.get(open - 1)) };
    let starts_argument = last == "(" || last == ",";
    if caller == "with" && starts_argument && trains {
        return Place::Option;
    }
    if starts_argument && let Some((_, arguments)) = MODEL_FUNCTIONS.iter().find(|(name, _)| *name == caller)
    {
        return if last == "(" { Place::Model } else { Place::Argument(arguments) };
    }
    Place::Anything
}

/// Index of the innermost parenthesis that is still open.
fn open_parenthesis(tokens: &[&Token<'_>]) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().rev() {
        match token.text {
            ")" => depth += 1,
            "(" if depth == 0 => return Some(index),
            "(" => depth -= 1,
            _ => {}
        }
    }
    None
}

fn complete_meta(before: &str, words: &Words) -> (usize, Vec<String>) {
    let start = before.rfind(char::is_whitespace).map_or(0, |at| at + next_length(before, at));
    let prefix = &before[start..];
    let command = before.split_whitespace().next().unwrap_or("");
    let mut offers: Vec<String> = if prefix.starts_with('\\') {
        meta::COMMANDS.iter().map(|c| c.name.to_owned()).filter(|name| name.starts_with(prefix)).collect()
    } else {
        match command {
            "\\d" => names(prefix, &[&words.tables]),
            "\\dm" => names(prefix, &[&words.models]),
            "\\df" => names(prefix, &[&words.functions]),
            "\\plot" => names(prefix, &[&words.columns]),
            "\\x" => names(prefix, &[&["on", "off", "auto"].map(str::to_owned)]),
            "\\timing" => names(prefix, &[&["on", "off"].map(str::to_owned)]),
            _ => Vec::new(),
        }
    };
    offers.sort();
    offers.dedup();
    (start, offers)
}

/// Keywords in the case that the prefix is typed in.
fn keywords(prefix: &str, keywords: &[&str]) -> Vec<String> {
    let lower = prefix.chars().any(char::is_lowercase);
    let cased = |word: &&str| if lower { word.to_lowercase() } else { word.to_uppercase() };
    keywords.iter().filter(|word| starts_with(word, prefix)).map(cased).collect()
}

/// Names that start with the prefix, in quotes where SQL needs them.
fn names(prefix: &str, lists: &[&[String]]) -> Vec<String> {
    let bare = prefix.trim_start_matches('"');
    let quoted = prefix.starts_with('"');
    let all = lists.iter().flat_map(|list| list.iter());
    all.filter(|name| starts_with(name, bare))
        .map(|name| if quoted { quote(name) } else { spelled(name) })
        .collect()
}

fn followed_by(names: Vec<String>, tail: &str) -> Vec<String> {
    names.into_iter().map(|name| name + tail).collect()
}

fn starts_with(word: &str, prefix: &str) -> bool {
    word.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// The name as SQL reads it back: every part quoted that is not plain lower case.
fn spelled(name: &str) -> String {
    name.split('.')
        .map(|part| if is_plain(part) { part.to_owned() } else { quote(part) })
        .collect::<Vec<_>>()
        .join(".")
}

fn is_plain(part: &str) -> bool {
    !part.starts_with(|c: char| c.is_ascii_digit())
        && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn quote(part: &str) -> String {
    format!("\"{}\"", part.replace('"', "\"\""))
}

fn is_name_part(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '"' | '$')
}

fn next_length(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(0, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(before: &str) -> Vec<String> {
        let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let words = Words {
            keywords: &["SELECT", "SET", "TRAIN"],
            tables: list(&["sales", "Stores", "ml.models"]),
            columns: list(&["units", "unit price", "sale_date"]),
            models: list(&["sales_28"]),
            functions: list(&["forecast", "sum"]),
            options: list(&["epochs", "seed"]),
        };
        complete(before, &words).1
    }

    #[test]
    fn the_place_decides_what_is_offered() {
        assert_eq!(offers("SELECT * FROM sa"), ["sales"]);
        assert_eq!(offers("SELECT * FROM st"), ["\"Stores\""]);
        assert_eq!(offers("SELECT * FROM ml.m"), ["ml.models"]);
        assert_eq!(offers("DROP MODEL "), ["sales_28"]);
        assert_eq!(offers("SELECT * FROM forecast("), ["sales_28"]);
        assert_eq!(offers("SELECT * FROM forecast(sales_28, hor"), ["horizon => "]);
        assert_eq!(offers("TRAIN FORECAST MODEL m ON sales WITH (epochs = 3, s"), ["seed = "]);
        assert_eq!(offers("TRAIN FORECAST MODEL m ON sal"), ["sales"]);
        assert_eq!(offers("SELECT un"), ["\"unit price\"", "units"]);
    }

    #[test]
    fn keywords_follow_the_case_that_is_typed() {
        assert_eq!(offers("se"), ["select", "set"]);
        assert_eq!(offers("SE"), ["SELECT", "SET"]);
        assert!(offers("SELECT 'se").is_empty());
        assert!(offers("-- se").is_empty());
        assert!(offers("").is_empty());
    }

    #[test]
    fn meta_commands_and_their_arguments_are_offered() {
        assert_eq!(offers("\\ti"), ["\\timing"]);
        assert_eq!(offers("\\x a"), ["auto"]);
        assert_eq!(offers("\\d sa"), ["sales"]);
    }
}
