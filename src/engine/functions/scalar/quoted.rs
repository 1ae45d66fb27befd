//! Names and texts as they must be written: `x`, `"order"`, `'it''s'`.

/// The words of SQL that are no names as they stand.
///
/// Source: PostgreSQL 15, `pg_get_keywords()`, those that are not unreserved.
const KEYWORDS: &str = "\
    all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean \
    both case cast char character check coalesce collate collation column concurrently constraint create \
    cross current_catalog current_date current_role current_schema current_time current_timestamp \
    current_user dec decimal default deferrable desc distinct do else end except exists extract false \
    fetch float for foreign freeze from full grant greatest group grouping having ilike in initially \
    inner inout int integer intersect interval into is isnull join lateral leading least left like limit \
    localtime localtimestamp national natural nchar none normalize not notnull null nullif numeric \
    offset on only or order out outer overlaps overlay placing position precision primary real \
    references returning right row select session_user setof similar smallint some substring symmetric \
    table tablesample then time timestamp to trailing treat trim true union unique user using values \
    varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement xmlexists \
    xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable";

/// The name, quoted where it is not one as it stands.
pub fn quoted_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_plain = name.chars().all(plain) && name.starts_with(|c: char| !c.is_ascii_digit());
    match is_plain && !KEYWORDS.split(' ').any(|word| word == name) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// The text as a literal.
pub fn quoted_text(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    match text.contains('\\') {
        true => format!("E'{}'", doubled.replace('\\', "\\\\")),
        false => format!("'{doubled}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_they_must_be() {
        for (name, expected) in [
            ("abc_1", "abc_1"),
            ("_x", "_x"),
            ("name", "name"),
            ("1a", "\"1a\""),
            ("Foo", "\"Foo\""),
            ("a\"b", "\"a\"\"b\""),
            ("\u{fc}ber", "\"\u{fc}ber\""),
            ("select", "\"select\""),
            ("xmltable", "\"xmltable\""),
            ("", "\"\""),
        ] {
            assert_eq!(quoted_name(name), expected);
        }
    }
}
