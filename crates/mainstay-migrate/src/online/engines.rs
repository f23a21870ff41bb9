//! A text of a declaration that may differ by engine: `"text"`, or `{ postgres = "text", ... }`.

use std::fmt;

use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, de};

/// For each engine, or for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PerEngine {
    All(String),
    Each(Each),
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Each {
    postgres: Option<String>,
    mysql: Option<String>,
    sqlite: Option<String>,
}

impl PerEngine {
    /// The text for `engine`; `key` names it. Errors: MIG-017.
    pub(crate) fn of(&self, engine: Engine, key: &str) -> Result<String> {
        let text = match (self, engine) {
            (PerEngine::All(text), _) => Some(text),
            (PerEngine::Each(each), Engine::Postgres) => each.postgres.as_ref(),
            (PerEngine::Each(each), Engine::MySql) => each.mysql.as_ref(),
            (PerEngine::Each(each), Engine::Sqlite) => each.sqlite.as_ref(),
        };
        let given = text.map(|text| text.trim()).filter(|text| !text.is_empty());
        given
            .map(str::to_owned)
            .ok_or_else(|| Error::new(Code::ExpandPlan, format!("{key} says nothing for {engine}")))
    }
}

impl<'de> Deserialize<'de> for PerEngine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not an untagged enum: that would say no more than that nothing fits.
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = PerEngine;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or a table with postgres, mysql and sqlite")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<PerEngine, E> {
        Ok(PerEngine::All(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PerEngine, A::Error> {
        Each::deserialize(MapAccessDeserializer::new(map)).map(PerEngine::Each)
    }
}
