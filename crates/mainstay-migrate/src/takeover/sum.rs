//! Other tools' checksums. How a file ends its lines does not count here, though it does to them: a
//! version control system may have changed it since.

use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha384};
use siphasher::sip::SipHasher13;

use super::Tool;
use super::read::Old;
use crate::checksum::hex;

/// Whether `text` is what was applied as `old`; `true` where the tool keeps no checksum.
pub(super) fn fits(tool: Tool, old: &Old, text: &str) -> bool {
    let Some(sum) = &old.sum else { return true };
    let unix = text.replace("\r\n", "\n");
    let windows = unix.replace('\n', "\r\n");
    [text, unix.as_str(), windows.as_str()].into_iter().any(|text| match tool {
        Tool::Sqlx => sqlx(text) == sum.to_ascii_lowercase(),
        Tool::Refinery => refinery(old, text).contains(sum),
        Tool::Flyway | Tool::Liquibase | Tool::Diesel => true,
    })
}

fn sqlx(text: &str) -> String {
    hex(&Sha384::digest(text))
}

/// Both that refinery may have written: it can be built to keep versions in 32 bits or in 64.
fn refinery(old: &Old, text: &str) -> Vec<String> {
    let narrow = old.version.parse::<i32>().ok().map(|version| sip(&old.name, &version, text));
    let wide = old.version.parse::<i64>().ok().map(|version| sip(&old.name, &version, text));
    narrow.into_iter().chain(wide).map(|sum| sum.to_string()).collect()
}

fn sip(name: &str, version: &impl Hash, text: &str) -> u64 {
    let mut hash = SipHasher13::new();
    name.hash(&mut hash);
    version.hash(&mut hash);
    text.hash(&mut hash);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::super::read::When;
    use super::*;

    fn old(version: &str, name: &str, sum: &str) -> Old {
        Old {
            version: version.to_owned(),
            name: name.to_owned(),
            on: When::Unknown,
            success: true,
            sum: Some(sum.to_owned()),
            execution_ms: 0,
        }
    }

    const SQL: &str = "CREATE TABLE a (id INT);\n";

    /// Worked out by another program, from the definitions of SHA-384 and SipHash.
    #[test]
    fn the_sums_are_the_tools_own() {
        let sqlx = "3fe175e6046ef43f222e00f4e37eb3334e080326914e01e8\
                    1c3002088a2d0ead3325ebc38815da90fe87a4f23f2f933a";
        assert!(fits(Tool::Sqlx, &old("1", "create a", sqlx), SQL));
        assert!(!fits(Tool::Sqlx, &old("1", "create a", sqlx), "CREATE TABLE a (id BIGINT);\n"));
        let narrow = old("1", "create_a", "75385668854584566");
        assert!(fits(Tool::Refinery, &narrow, SQL));
        let wide = old("20240504090343", "create_a", "4508831501175192769");
        assert!(fits(Tool::Refinery, &wide, SQL));
        let small_in_wide = old("1", "create_a", "18245469386277479551");
        assert!(fits(Tool::Refinery, &small_in_wide, SQL));
        assert!(!fits(Tool::Refinery, &old("2", "create_a", "75385668854584566"), SQL));
    }

    #[test]
    fn line_endings_do_not_count() {
        let narrow = old("1", "create_a", "75385668854584566");
        assert!(fits(Tool::Refinery, &narrow, &SQL.replace('\n', "\r\n")));
    }
}
