//! Types of columns: which changes leave the rows as they are.

/// A type, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// The engine's own name of it, with what follows the brackets.
    pub(super) base: String,
    pub(super) args: Vec<u32>,
    /// What stands in the brackets, for types such as `enum`.
    inner: String,
}

/// `character varying(50)[]` is `character varying[]` with 50.
fn split(text: &str) -> Kind {
    let text = text.trim().to_lowercase();
    let Some((before, rest)) = text.split_once('(') else {
        return Kind { base: text, args: Vec::new(), inner: String::new() };
    };
    let (inner, after) = rest.rsplit_once(')').unwrap_or((rest, ""));
    let gap = if after.starts_with(' ') { " " } else { "" };
    let base = format!("{}{gap}{}", before.trim(), after.trim());
    let args = inner.split(',').filter_map(|arg| arg.trim().parse().ok()).collect();
    Kind { base, args, inner: inner.to_owned() }
}

/// PostgreSQL's own names, as its catalogue writes them.
pub(super) fn postgres(text: &str) -> Kind {
    let mut kind = split(text.trim_start_matches("pg_catalog."));
    let (name, array) = match kind.base.split_once('[') {
        Some((name, _)) => (name.to_owned(), "[]"),
        None => (kind.base.clone(), ""),
    };
    let name = match name.as_str() {
        "varchar" => "character varying",
        "char" | "bpchar" | "nchar" => "character",
        "int" | "int4" => "integer",
        "int8" => "bigint",
        "int2" => "smallint",
        "decimal" | "dec" => "numeric",
        "float8" | "float" => "double precision",
        "float4" => "real",
        "bool" => "boolean",
        "varbit" => "bit varying",
        "timestamp" => "timestamp without time zone",
        "timestamptz" => "timestamp with time zone",
        "time" => "time without time zone",
        "timetz" => "time with time zone",
        other => other,
    };
    kind.base = format!("{name}{array}");
    if kind.base == "numeric" && kind.args.len() == 1 {
        kind.args.push(0);
    }
    kind
}

/// What PostgreSQL does about a change of type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Free,
    /// Free if the session's time zone is UTC, from version 12 on.
    FreeInUtc,
    Rewrite,
}

/// Whether PostgreSQL writes the table anew for a change of type.
pub(super) fn change(old: &Kind, new: &Kind) -> Change {
    const PLAIN: &str = "timestamp without time zone";
    const ZONED: &str = "timestamp with time zone";
    let free = match (old.base.as_str(), new.base.as_str()) {
        (PLAIN, ZONED) | (ZONED, PLAIN) if widens(old, new) => return Change::FreeInUtc,
        ("character varying", "text") | ("cidr", "inet") => true,
        ("text", "character varying") => new.args.is_empty(),
        ("numeric", "numeric") => {
            new.args.is_empty() || (widens(old, new) && old.args.get(1) == new.args.get(1))
        }
        // Padded to their length, so that any other length is another value.
        ("character", "character") | ("bit", "bit") => old.args == new.args,
        (a, b) if a == b => widens(old, new),
        _ => false,
    };
    if free { Change::Free } else { Change::Rewrite }
}

/// Whether the first limit grows, stays, or goes.
fn widens(old: &Kind, new: &Kind) -> bool {
    match (old.args.first(), new.args.first()) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(old), Some(new)) => new >= old,
    }
}

/// MySQL's own names. The width that integers are shown with is no part of their type.
pub(super) fn mysql(text: &str) -> Kind {
    let mut kind = split(text);
    let (name, rest) = match kind.base.split_once(' ') {
        Some((name, rest)) => (name.to_owned(), rest.to_owned()),
        None => (kind.base.clone(), String::new()),
    };
    let name = match name.as_str() {
        "integer" => "int",
        "bool" | "boolean" => "tinyint",
        "dec" | "numeric" | "fixed" => "decimal",
        "double" if rest == "precision" => return Kind { base: "double".to_owned(), ..kind },
        "character" if rest == "varying" => return Kind { base: "varchar".to_owned(), ..kind },
        "character" => "char",
        other => other,
    };
    if name.ends_with("int") {
        kind.args.clear();
        kind.inner.clear();
    }
    if name == "decimal" && kind.args.len() < 2 {
        let precision = kind.args.first().copied().unwrap_or(10);
        kind.args = vec![precision, 0];
        kind.inner = format!("{precision},0");
    }
    kind.base = if rest.is_empty() { name.to_owned() } else { format!("{name} {rest}") };
    kind
}

/// The length in bytes from which a VARCHAR needs two of them to say how long it is.
const TWO_BYTES: u32 = 256;

/// Bytes that one character of a MySQL character set may take.
pub(super) fn mysql_bytes(charset: &str) -> u32 {
    match charset {
        "utf8" | "utf8mb3" | "eucjpms" | "ujis" => 3,
        "utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030" => 4,
        "ucs2" | "big5" | "gbk" | "gb2312" | "euckr" | "sjis" | "cp932" => 2,
        _ => 1,
    }
}

/// The character set that a collation is of. `utf8` is what servers call utf8mb3, or have called it.
pub(super) fn mysql_charset(collation: &str) -> &str {
    match collation.split('_').next().unwrap_or_default() {
        "utf8" => "utf8mb3",
        charset => charset,
    }
}

/// Whether MySQL makes the change in place: a longer VARCHAR whose length still takes as many
/// bytes, at so many bytes a character, or values appended to an ENUM or a SET that takes no more
/// room for them.
pub(super) fn mysql_in_place(old: &Kind, new: &Kind, bytes: u32) -> bool {
    if old == new {
        return true;
    }
    match (old.base.as_str(), new.base.as_str()) {
        ("varchar", "varchar") => longer(old, new, bytes),
        ("varbinary", "varbinary") => longer(old, new, 1),
        ("enum", "enum") | ("set", "set") => {
            let set = old.base == "set";
            let room = |kind: &Kind| room(values(&kind.inner), set);
            let added = new.inner.strip_prefix(&old.inner);
            added.is_some_and(|added| added.starts_with(',')) && room(old) == room(new)
        }
        _ => false,
    }
}

fn longer(old: &Kind, new: &Kind, bytes: u32) -> bool {
    let (Some(old), Some(new)) = (old.args.first(), new.args.first()) else { return false };
    let two = |length: u32| length.saturating_mul(bytes) >= TWO_BYTES;
    new >= old && two(*old) == two(*new)
}

/// How many values a list in quotes has.
fn values(list: &str) -> usize {
    let mut quoted = false;
    let commas = list.chars().filter(|c| {
        quoted ^= *c == '\'';
        *c == ',' && !quoted
    });
    commas.count() + 1
}

/// The bytes that a value of an ENUM or a SET takes.
fn room(values: usize, set: bool) -> usize {
    match values {
        _ if !set => usize::from(values > 255) + 1,
        0..=32 => values.div_ceil(8),
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mysql_in_place_depends_on_the_width_and_the_room() {
        let free = |old: &str, new: &str, bytes| mysql_in_place(&mysql(old), &mysql(new), bytes);
        assert!(free("varchar(50)", "varchar(60)", 4) && !free("varchar(50)", "varchar(200)", 4));
        assert!(free("varchar(50)", "varchar(200)", 1) && !free("varchar(80)", "varchar(90)", 3));
        assert!(free("varbinary(100)", "varbinary(255)", 4));
        assert!(free("enum('a','b')", "enum('a','b','c,d')", 4));
        assert!(!free("enum('a','b')", "enum('a','c','b')", 4));
        let set = |n: usize| {
            let all: Vec<_> = (0..n).map(|v| format!("'v{v}'")).collect();
            format!("({})", all.join(","))
        };
        assert!(free(&format!("set{}", set(7)), &format!("set{}", set(8)), 4));
        assert!(!free(&format!("set{}", set(8)), &format!("set{}", set(9)), 4));
        assert!(!free(&format!("enum{}", set(255)), &format!("enum{}", set(256)), 4));
        assert_eq!(mysql_charset("utf8_general_ci"), "utf8mb3");
        assert_eq!(values("'a,b','c''d'"), 2);
    }
}
