//! The documents of all versions: read, and held to golden files.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use mainstay_core::{Code, Error, Result};
use serde_json::Value;

use super::derive::Derived;
use super::{diff, life, ordered};
use crate::version::described::segment;
use crate::version::{Stage, Version, Versions};

/// The OpenAPI documents of an API's versions. Made by [`Versions::documents`]; cheap to clone.
///
/// A document is derived once. What it says of its version's stage is of the moment at which it is read, by
/// the clock of the [`Versions`]; nothing else in it changes.
#[derive(Clone)]
pub struct Documents(Arc<Inner>);

struct Inner {
    versions: Versions,
    /// In ascending order.
    derived: Vec<Derived>,
    /// The last text of each, with the stage that it tells.
    written: Vec<Mutex<Option<(Stage, Bytes)>>>,
}

impl Documents {
    pub(super) fn new(versions: Versions, derived: Vec<Derived>) -> Self {
        let written = derived.iter().map(|_| Mutex::default()).collect();
        Self(Arc::new(Inner { versions, derived, written }))
    }

    /// The versions, in ascending order.
    pub fn versions(&self) -> impl Iterator<Item = Version> {
        self.0.derived.iter().map(|derived| derived.life.version)
    }

    /// One version's document, as of now.
    pub fn value(&self, version: Version) -> Option<Value> {
        let derived = &self.0.derived[self.place(version)?];
        Some(now(derived, self.stage(version)))
    }

    /// One version's document as text, as of now: indented, in an order that does not change.
    pub fn text(&self, version: Version) -> Option<String> {
        Some(ordered::text(&self.value(version)?))
    }

    /// Holds each document to its golden file, such as `v1.json` in `folder`, or writes it there if `update`.
    /// For a test: let the [`Versions`] have a clock that stands still, or the day of a deprecation will
    /// fail it. Files of versions that no longer exist stay where they are.
    ///
    /// Errors: HTTP-014 where one differs or can't be read, with what changed in it.
    pub fn golden(&self, folder: impl AsRef<Path>, update: bool) -> Result<()> {
        let folder = folder.as_ref();
        let unusable = |path: &Path, error| {
            let what = format!("{} can't be read or written", path.display());
            Error::new(Code::OpenApi, what).cause(error).fix("write it with `update` once")
        };
        if update {
            std::fs::create_dir_all(folder).map_err(|error| unusable(folder, error))?;
        }
        for version in self.versions() {
            let path = folder.join(format!("{}.json", segment(version)));
            let text = self.text(version).unwrap_or_default();
            if update {
                std::fs::write(&path, text).map_err(|error| unusable(&path, error))?;
                continue;
            }
            let golden = std::fs::read_to_string(&path).map_err(|error| unusable(&path, error))?;
            // A checkout may have other ends of lines.
            if golden.replace("\r\n", "\n") != text {
                return Err(differs(&path, &golden, &text));
            }
        }
        Ok(())
    }

    /// As served: written anew only when the stage has changed.
    pub(super) fn bytes(&self, version: Version) -> Option<Bytes> {
        let place = self.place(version)?;
        let stage = self.stage(version);
        let mut written = self.0.written[place].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, bytes)) = &*written
            && *of == stage
        {
            return Some(bytes.clone());
        }
        let bytes = Bytes::from(ordered::text(&now(&self.0.derived[place], stage)));
        *written = Some((stage, bytes.clone()));
        Some(bytes)
    }

    /// `2 (deprecated)`.
    pub(super) fn title(&self, version: Version) -> String {
        match self.stage(version) {
            Stage::Current => format!("version {version}"),
            stage => format!("version {version} ({})", stage.as_str()),
        }
    }

    fn stage(&self, version: Version) -> Stage {
        self.0.versions.stage(version).unwrap_or(Stage::Current)
    }

    fn place(&self, version: Version) -> Option<usize> {
        self.versions().position(|known| known == version)
    }
}

fn now(derived: &Derived, stage: Stage) -> Value {
    let mut document = derived.document.clone();
    life::tell(&mut document, &derived.operations, &derived.life, stage);
    document
}

fn differs(path: &Path, golden: &str, text: &str) -> Error {
    let what = format!("{} is not what the code says", path.display());
    let values = serde_json::from_str(golden).ok().zip(serde_json::from_str(text).ok());
    let why = match values.map(|(old, new): (Value, Value)| diff(&old, &new)) {
        Some(Ok(found)) if !found.is_empty() => found.to_string(),
        _ => "they differ in what no client depends on".to_owned(),
    };
    Error::new(Code::OpenApi, what)
        .why(why)
        .fix("if it was meant, write the golden files anew, and review what changed in them")
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.versions()).finish()
    }
}
