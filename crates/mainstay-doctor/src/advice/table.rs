//! What advice knows of a table: its columns with how their values are spread, its indexes, and its writes.
//!
//! How each engine is asked for it is in `catalogue`.

/// Below these, reading all of a table is what any plan does.
const ROWS_MIN: f64 = 1000.0;
const PAGES_MIN: f64 = 10.0;

#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// As statements of this workload call it.
    pub(crate) called: Vec<String>,
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) rows: f64,
    pub(crate) pages: f64,
    /// The share of pages that an index-only scan needs not look at.
    pub(crate) visible: f64,
    pub(crate) analyzed: bool,
    /// A table of which there is one, and not a view or one that is cut into parts.
    pub(crate) plain: bool,
    pub(crate) columns: Vec<Column>,
    pub(crate) indexes: Vec<Existing>,
    pub(crate) writes: Writes,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// The engine's words for its type.
    pub(crate) kind: String,
    pub(crate) not_null: bool,
    /// Bytes on average.
    pub(crate) width: f64,
    /// Different values, as far as known.
    pub(crate) distinct: Option<f64>,
    pub(crate) nulls: f64,
    /// The commonest values with their shares.
    pub(crate) common: Vec<(String, f64)>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Existing {
    pub(crate) name: String,
    /// Columns or expressions, in order; as the engine writes them.
    pub(crate) keys: Vec<String>,
    pub(crate) unique: bool,
    pub(crate) partial: bool,
    pub(crate) btree: bool,
    pub(crate) definition: String,
}

/// Since the statistics were begun.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Writes {
    pub(crate) inserted: f64,
    pub(crate) updated: f64,
    /// Updates that touched no index.
    pub(crate) hot: f64,
    pub(crate) days: f64,
}

impl Table {
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    pub(crate) fn is_small(&self) -> bool {
        self.rows < ROWS_MIN || self.pages < PAGES_MIN
    }
}

impl Column {
    /// The share of rows that have `value`; none where nothing is known.
    pub(crate) fn share(&self, value: &str) -> Option<f64> {
        let known = |text: &str| {
            let same = text == value || (is_true(text) && is_true(value));
            same || (is_false(text) && is_false(value))
        };
        if let Some((_, share)) = self.common.iter().find(|(text, _)| known(text)) {
            return Some(*share);
        }
        let listed: f64 = self.common.iter().map(|(_, share)| share).sum();
        let rest = self.distinct? - self.common.len() as f64;
        Some(((1.0 - listed - self.nulls) / rest.max(1.0)).max(0.0))
    }
}

fn is_true(text: &str) -> bool {
    matches!(text, "t" | "true" | "TRUE" | "1")
}

fn is_false(text: &str) -> bool {
    matches!(text, "f" | "false" | "FALSE" | "0")
}
