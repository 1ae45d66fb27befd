//! The text form of arrays, taken apart.

/// Most dimensions of an array, as in PostgreSQL.
pub const DIMENSIONS_MAX: usize = 6;

/// One element of the text of an array.
#[derive(Debug, PartialEq)]
pub enum ArrayItem {
    /// `NULL`.
    Null,
    /// A value, without its quotes.
    Text(String),
    /// An array inside, as written.
    List(String),
}

/// The elements of a text such as `{a,"b,c",NULL}`.
pub fn array_items(text: &str) -> Option<Vec<ArrayItem>> {
    let (items, rest) = items(text.trim(), 1)?;
    rest.is_empty().then_some(items)
}

/// As [`array_items`]: `None` for NULL, an array inside as it is written.
pub fn array_elements(text: &str) -> Option<Vec<Option<String>>> {
    let element = |item| match item {
        ArrayItem::Null => None,
        ArrayItem::Text(text) | ArrayItem::List(text) => Some(text),
    };
    Some(array_items(text)?.into_iter().map(element).collect())
}

/// The elements of `{…}`, and what follows it; `dimension` tells how many braces are open.
fn items(text: &str, dimension: usize) -> Option<(Vec<ArrayItem>, &str)> {
    if dimension > DIMENSIONS_MAX {
        return None;
    }
    let mut rest = text.strip_prefix('{')?.trim_start();
    let mut found = vec![];
    if let Some(after) = rest.strip_prefix('}') {
        return Some((found, after));
    }
    loop {
        let (item, after) = item(rest, dimension)?;
        found.push(item);
        let after = after.trim_start();
        match after.as_bytes().first()? {
            b',' => rest = after[1..].trim_start(),
            b'}' => return Some((found, &after[1..])),
            _ => return None,
        }
    }
}

fn item(text: &str, dimension: usize) -> Option<(ArrayItem, &str)> {
    if text.starts_with('{') {
        let (_, after) = items(text, dimension + 1)?;
        return Some((ArrayItem::List(text[..text.len() - after.len()].to_owned()), after));
    }
    let (mut value, mut quoted, mut escaped) = (String::new(), false, false);
    let is_quoted = text.starts_with('"');
    let body = if is_quoted { &text[1..] } else { text };
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' if is_quoted => return Some((ArrayItem::Text(value), &body[at + 1..])),
            '"' => quoted = true,
            ',' | '}' if !is_quoted => {
                let value = value.trim_end().to_owned();
                let null = value.eq_ignore_ascii_case("null") && !quoted;
                let item = if null { ArrayItem::Null } else { ArrayItem::Text(value) };
                return Some((item, &body[at..]));
            }
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_have_six_dimensions_at_most() {
        let nested = |depth: usize| format!("{}1{}", "{".repeat(depth), "}".repeat(depth));
        assert!(array_items(&nested(6)).is_some());
        assert_eq!(array_items(&nested(7)), None);
        assert_eq!(array_items(&"{".repeat(1 << 20)), None);
    }
}
