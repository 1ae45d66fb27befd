//! The setting search_path: names of schemas as SQL writes them, with commas between.

/// The names in a text such as `"$user", Sales, public`: those without quotes in lower case.
pub fn schema_names(text: &str) -> Vec<String> {
    let (mut names, mut current, mut quoted) = (vec![], String::new(), false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            c if quoted => current.push(c),
            ',' => names.push(std::mem::take(&mut current)),
            c if c.is_whitespace() => {}
            c => current.extend(c.to_lowercase()),
        }
    }
    names.push(current);
    names.retain(|name| !name.is_empty());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_unless_quoted() {
        assert_eq!(schema_names("\"$user\", Sales ,\"My, Own\""), ["$user", "sales", "My, Own"]);
        assert!(schema_names("\"\"").is_empty() && schema_names("").is_empty());
    }
}
