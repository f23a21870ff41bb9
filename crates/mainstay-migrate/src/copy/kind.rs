//! What a column holds, told by the type that it was declared with.

use mainstay_db::Engine;

/// What a column's values are, whatever the engine calls them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whatever it is, from SQLite to SQLite.
    Raw,
    Bool,
    Int {
        min: i128,
        max: i128,
    },
    Float {
        single: bool,
    },
    /// With digits in all and after the point, where they are bounded.
    Numeric {
        digits: Option<(usize, usize)>,
    },
    Text {
        chars: Option<usize>,
        bytes: Option<usize>,
        padded: bool,
    },
    Bytes {
        max: Option<usize>,
        fixed: bool,
    },
    Date,
    Time {
        digits: usize,
    },
    Timestamp {
        digits: usize,
        zone: bool,
    },
    Uuid,
    Json,
    /// One that this knows nothing of: its text goes as it is.
    Other,
}

const TEXT: Kind = Kind::Text { chars: None, bytes: None, padded: false };
const BYTES: Kind = Kind::Bytes { max: None, fixed: false };

impl Kind {
    /// Of a declared type, such as `varchar(20)`. SQLite's say nothing that holds.
    pub(super) fn of(engine: Engine, declared: &str) -> Self {
        let (name, numbers) = split(declared);
        match engine {
            Engine::Postgres => postgres(&name, &numbers),
            Engine::MySql => mysql(&name, &numbers),
            Engine::Sqlite => Kind::Raw,
        }
    }

    /// Whether a literal of it goes without quotes.
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Kind::Int { .. } | Kind::Float { .. } | Kind::Numeric { .. })
    }
}

/// `timestamp(3) with time zone` is `timestamp with time zone` and 3.
fn split(declared: &str) -> (String, Vec<usize>) {
    let lower = declared.to_ascii_lowercase();
    let Some((before, rest)) = lower.split_once('(') else { return (lower, Vec::new()) };
    let (inside, after) = rest.rsplit_once(')').unwrap_or((rest, ""));
    let numbers = inside.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    (format!("{}{after}", before.trim_end()), numbers)
}

fn signed(bits: u32) -> Kind {
    let half = 1_i128 << (bits - 1);
    Kind::Int { min: -half, max: half - 1 }
}

fn numeric(numbers: &[usize]) -> Kind {
    let digits = match numbers {
        [all, after] => Some((*all, *after)),
        [all] => Some((*all, 0)),
        _ => None,
    };
    Kind::Numeric { digits }
}

fn postgres(name: &str, numbers: &[usize]) -> Kind {
    let first = numbers.first().copied();
    match name {
        "boolean" => Kind::Bool,
        "smallint" => signed(16),
        "integer" => signed(32),
        "bigint" => signed(64),
        "real" => Kind::Float { single: true },
        "double precision" => Kind::Float { single: false },
        "numeric" => numeric(numbers),
        "text" | "name" | "citext" => TEXT,
        "character varying" => Kind::Text { chars: first, bytes: None, padded: false },
        "character" => Kind::Text { chars: first, bytes: None, padded: true },
        "bytea" => BYTES,
        "date" => Kind::Date,
        "time without time zone" => Kind::Time { digits: first.unwrap_or(6) },
        "timestamp without time zone" => {
            Kind::Timestamp { digits: first.unwrap_or(6), zone: false }
        }
        "timestamp with time zone" => Kind::Timestamp { digits: first.unwrap_or(6), zone: true },
        "uuid" => Kind::Uuid,
        "json" | "jsonb" => Kind::Json,
        _ => Kind::Other,
    }
}

fn mysql(name: &str, numbers: &[usize]) -> Kind {
    let first = numbers.first().copied();
    let unsigned = name.contains("unsigned");
    let int = |bits: u32| {
        if unsigned { Kind::Int { min: 0, max: (1_i128 << bits) - 1 } } else { signed(bits) }
    };
    let text = |bytes| Kind::Text { chars: None, bytes, padded: false };
    let blob = |max| Kind::Bytes { max, fixed: false };
    match name.split(' ').next().unwrap_or_default() {
        "tinyint" => int(8),
        "smallint" => int(16),
        "mediumint" => int(24),
        "int" | "integer" => int(32),
        "bigint" => int(64),
        "bit" => Kind::Int { min: 0, max: (1_i128 << first.unwrap_or(1).min(64)) - 1 },
        "year" => Kind::Int { min: 0, max: 2155 },
        "decimal" | "numeric" => numeric(numbers),
        "float" => Kind::Float { single: true },
        "double" => Kind::Float { single: false },
        "char" => Kind::Text { chars: first, bytes: None, padded: true },
        "varchar" => Kind::Text { chars: first, bytes: None, padded: false },
        "tinytext" => text(Some(255)),
        "text" => text(Some(65_535)),
        "mediumtext" => text(Some(16_777_215)),
        "longtext" | "enum" | "set" => text(None),
        "binary" => Kind::Bytes { max: first, fixed: true },
        "varbinary" => blob(first),
        "tinyblob" => blob(Some(255)),
        "blob" => blob(Some(65_535)),
        "mediumblob" => blob(Some(16_777_215)),
        "longblob" | "geometry" | "point" | "linestring" | "polygon" | "multipoint"
        | "multilinestring" | "multipolygon" | "geometrycollection" | "geomcollection" => {
            blob(None)
        }
        "date" => Kind::Date,
        "time" => Kind::Time { digits: first.unwrap_or(0) },
        "datetime" => Kind::Timestamp { digits: first.unwrap_or(0), zone: false },
        "timestamp" => Kind::Timestamp { digits: first.unwrap_or(0), zone: true },
        "uuid" => Kind::Uuid,
        "json" => Kind::Json,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_are_understood() {
        let postgres = |declared: &str| Kind::of(Engine::Postgres, declared);
        assert_eq!(postgres("numeric(10,2)"), Kind::Numeric { digits: Some((10, 2)) });
        assert_eq!(
            postgres("timestamp(3) with time zone"),
            Kind::Timestamp { digits: 3, zone: true }
        );
        let five = Kind::Text { chars: Some(5), bytes: None, padded: true };
        assert_eq!(postgres("character(5)"), five);
        assert_eq!(postgres("integer[]"), Kind::Other);
        let mysql = |declared: &str| Kind::of(Engine::MySql, declared);
        assert_eq!(mysql("int(11) unsigned"), Kind::Int { min: 0, max: 4_294_967_295 });
        assert_eq!(mysql("bigint(20)"), signed(64));
        assert_eq!(mysql("bit(8)"), Kind::Int { min: 0, max: 255 });
        assert_eq!(mysql("enum('a','b')"), TEXT);
        assert_eq!(mysql("datetime(6)"), Kind::Timestamp { digits: 6, zone: false });
    }
}
