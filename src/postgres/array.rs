//! The text form of arrays, taken apart.

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
    let (items, rest) = items(text.trim())?;
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

/// The elements of `{…}`, and what follows it.
fn items(text: &str) -> Option<(Vec<ArrayItem>, &str)> {
    let mut rest = text.strip_prefix('{')?.trim_start();
    let mut found = vec![];
    if let Some(after) = rest.strip_prefix('}') {
        return Some((found, after));
    }
    loop {
        let (item, after) = item(rest)?;
        found.push(item);
        let after = after.trim_start();
        match after.as_bytes().first()? {
            b',' => rest = after[1..].trim_start(),
            b'}' => return Some((found, &after[1..])),
            _ => return None,
        }
    }
}

fn item(text: &str) -> Option<(ArrayItem, &str)> {
    if text.starts_with('{') {
        let (_, after) = items(text)?;
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
