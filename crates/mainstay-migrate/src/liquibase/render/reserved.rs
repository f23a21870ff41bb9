//! The words that PostgreSQL reserves, which Liquibase therefore quotes as they are written.

const WORDS: &str = " all analyse analyze and any array as asc asymmetric authorization binary both case \
    cast check collate collation column concurrently constraint create cross current_catalog \
    current_date current_role current_schema current_time current_timestamp current_user default \
    deferrable desc distinct do else end except false fetch for foreign freeze from full grant group \
    having ilike in initially inner intersect into is isnull join lateral leading left like limit \
    localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing \
    primary references returning right select session_user similar some symmetric table tablesample \
    then to trailing true union unique user using variadic verbose when where window with ";

/// Whether the word, in any case, is reserved.
pub(super) fn is(word: &str) -> bool {
    let word = format!(" {} ", word.to_lowercase());
    !word.trim().contains(' ') && WORDS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_whole() {
        assert!(is("ORDER") && is("user") && is("all") && is("with"));
        assert!(!is("ord") && !is("name") && !is("left right") && !is(""));
    }
}
