//! `Idempotency-Key`, read exactly: a key that is guessed at could be another operation's.

use std::borrow::Cow;

use axum::http::HeaderMap;

use super::IDEMPOTENCY_KEY;
use super::refusal::malformed;
use crate::problem::Problem;

/// Characters of a key, at most, without its quotes.
const KEY_MAX: usize = 255;

/// The key, if there is one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<Cow<'_, str>>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(malformed("it is there more than once"));
    }
    // A proxy may have made one line of several headers: the comma outside of quotes is refused below.
    let text = value.to_str().map_err(|_| malformed("it has characters other than ASCII's"))?;
    parse(text.trim_matches(' ')).map(Some).map_err(malformed)
}

fn parse(text: &str) -> Result<Cow<'_, str>, &'static str> {
    let key = match text.strip_prefix('"') {
        Some(rest) => Cow::Owned(quoted(rest)?),
        None => Cow::Borrowed(bare(text)?),
    };
    match key.len() {
        0 => Err("it is empty"),
        1..=KEY_MAX => Ok(key),
        _ => Err("a key has 255 characters at most"),
    }
}

/// What comes after the opening quote of a string of RFC 8941.
fn quoted(rest: &str) -> Result<String, &'static str> {
    let mut key = String::with_capacity(rest.len());
    let mut rest = rest.chars();
    loop {
        match rest.next() {
            None => return Err("its closing quote is missing"),
            Some('"') => break,
            Some('\\') => match rest.next() {
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                _ => return Err("a backslash stands before a quote or another backslash alone"),
            },
            Some(c @ ' '..='~') => key.push(c),
            Some(_) => return Err("it has control characters"),
        }
    }
    // Parameters are none of the draft's, and after a comma there would be another key.
    if rest.as_str().is_empty() { Ok(key) } else { Err("there is more after its closing quote") }
}

fn bare(text: &str) -> Result<&str, &'static str> {
    let fits = |b: u8| matches!(b, b'!'..=b'~') && !matches!(b, b'"' | b',' | b';' | b'\\');
    let why =
        "outside of double quotes a key has no spaces, commas, semicolons, quotes or backslashes";
    if text.bytes().all(fits) { Ok(text) } else { Err(why) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_bare_keys_are_read() {
        for (text, key) in [
            (r#""8e03978e-40d5-43e8-bc93-6894a57f9324""#, "8e03978e-40d5-43e8-bc93-6894a57f9324"),
            ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
            (r#""a, b; c""#, "a, b; c"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            ("aGk+/w==", "aGk+/w=="),
        ] {
            assert_eq!(parse(text).unwrap(), key, "{text}");
        }
        let (longest, longer) = ("k".repeat(KEY_MAX), "k".repeat(KEY_MAX + 1));
        assert!(parse(&longest).is_ok() && parse(&format!("\"{longest}\"")).is_ok());
        assert!(parse(&longer).is_err() && parse(&format!("\"{longer}\"")).is_err());
    }

    #[test]
    fn everything_else_is_refused() {
        let wrong = [
            "",
            "\"\"",
            "\"",
            "\"a",
            "a\"",
            "a\"b\"",
            "\"a\"b",
            "\"a\";p=1",
            "\"a\", \"b\"",
            "a, b",
            "a,b",
            "a b",
            "a;b",
            r"a\b",
            r#""\a""#,
            r#""a\"#,
            "\"a\tb\"",
            "\u{7f}",
            "ключ",
        ];
        for text in wrong {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
