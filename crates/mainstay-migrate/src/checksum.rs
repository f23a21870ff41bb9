//! What tells whether a file is the one that was applied: Flyway's checksum, for its table, and a
//! strong hash, for ours. Neither sees how lines are ended.
//!
//! Flyway's is CRC-32 (ISO 3309) over the lines without what ends them, so that a moved line break
//! goes unnoticed; the strong one is SHA-256 over the lines, each ended by a line feed.

use sha2::{Digest, Sha256};

/// Flyway's checksum of a file's text, as its table stores it.
///
/// ```
/// assert_eq!(mainstay_migrate::checksum("select 3;\r\n"), -455_012_933);
/// ```
pub fn checksum(text: &str) -> i32 {
    let mut crc = crc32fast::Hasher::new();
    lines(text).for_each(|line| crc.update(line.as_bytes()));
    crc.finalize().cast_signed()
}

/// SHA-256 of a file's text, in hexadecimal.
pub(crate) fn strong(text: &str) -> String {
    let mut hash = Sha256::new();
    for line in lines(text) {
        hash.update(line);
        hash.update("\n");
    }
    hex(&hash.finalize())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('?');
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// The lines, ended by `\n`, `\r` or both, as Java reads them.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rest = Some(text).filter(|t| !t.is_empty());
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\n', '\r']) else { return rest.take() };
        let after = end + if text[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = Some(&text[after..]).filter(|t| !t.is_empty());
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERSON: &str =
        "CREATE TABLE person (\n    id INT NOT NULL,\n    name VARCHAR(100) NOT NULL\n);\n";

    #[test]
    fn the_values_of_a_real_flyway() {
        assert_eq!(checksum(PERSON), -1_455_529_326);
        let windows = format!("\u{feff}{}", PERSON.replace('\n', "\r\n"));
        assert_eq!(checksum(&windows), -1_455_529_326);
        assert_eq!(checksum("INSERT INTO person VALUES (1, 'Zürich');\n\n-- c\n"), -1_286_852_971);
        assert_eq!(checksum("CREATE VIEW v AS SELECT * FROM person;"), 1_842_084_908);
        assert_eq!(checksum("select 3;"), -455_012_933);
        assert_eq!(checksum(""), 0);
    }

    #[test]
    fn the_strong_hash_sees_a_moved_line_break_and_no_line_ending() {
        assert_eq!(checksum("--x\nDROP"), checksum("--xDROP"));
        assert_ne!(strong("--x\nDROP"), strong("--xDROP"));
        assert_eq!(strong(PERSON), strong(&PERSON.replace('\n', "\r")));
        assert_eq!(strong("\u{feff}a\r\nb"), strong("a\nb\n"));
        let of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(strong(""), of_nothing);
    }
}
