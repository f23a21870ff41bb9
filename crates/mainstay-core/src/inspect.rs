//! What a part of the program shows of itself to a person: a console, a status page, a log. Whoever
//! shows it knows nothing of the part; whoever is shown knows nothing of the page.

use serde::Serialize;

/// A part that can show itself. It must be quick and must not block for long: it is called for each
/// view of a page.
///
/// ```
/// use mainstay_core::inspect::{Fact, Inspect, Snapshot};
///
/// struct Queue(Vec<u64>);
/// impl Inspect for Queue {
///     fn inspect(&self) -> Snapshot {
///         Snapshot::new("queue", "orders").fact(Fact::count("waiting", self.0.len()))
///     }
/// }
/// assert_eq!(Queue(vec![1, 2]).inspect().facts[0].value, 2.0);
/// ```
pub trait Inspect: Send + Sync {
    /// How it stands at this moment.
    fn inspect(&self) -> Snapshot;
}

/// How a part stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// What kind of part it is: `pool`, `queue`, `limit`.
    pub kind: &'static str,
    /// Its name among its kind.
    pub name: String,
    /// Whether somebody should look.
    pub health: Health,
    /// Numbers.
    pub facts: Vec<Fact>,
    /// Lists.
    pub tables: Vec<Table>,
    /// Sentences for a person, such as advice.
    pub notes: Vec<String>,
}

/// Whether somebody should look at a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// All is as it should be.
    #[default]
    Good,
    /// It works, and something about it needs attention.
    Degraded,
    /// It does not work.
    Bad,
}

/// A number with its unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fact {
    /// What it is.
    pub name: &'static str,
    /// How much.
    pub value: f64,
    /// Of what: `1` for a count, `s`, `By`, as UCUM writes them.
    pub unit: &'static str,
}

/// A list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// What it lists.
    pub title: &'static str,
    /// The columns' names.
    pub columns: Vec<&'static str>,
    /// The rows, a cell for each column.
    pub rows: Vec<Vec<String>>,
}

impl Snapshot {
    /// Of a part in good health, with nothing to say yet.
    pub fn new(kind: &'static str, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            health: Health::Good,
            facts: Vec::new(),
            tables: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// With one more number.
    #[must_use]
    pub fn fact(mut self, fact: Fact) -> Self {
        self.facts.push(fact);
        self
    }

    /// With one more list.
    #[must_use]
    pub fn table(mut self, table: Table) -> Self {
        self.tables.push(table);
        self
    }

    /// With one more sentence.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// In another health than good.
    #[must_use]
    pub fn health(mut self, health: Health) -> Self {
        self.health = health;
        self
    }
}

impl Fact {
    /// A count.
    pub fn count(name: &'static str, value: usize) -> Self {
        Self { name, value: value as f64, unit: "1" }
    }

    /// A duration.
    pub fn seconds(name: &'static str, value: std::time::Duration) -> Self {
        Self { name, value: value.as_secs_f64(), unit: "s" }
    }
}
