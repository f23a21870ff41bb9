//! Where a statement may run, by its text: on a replica only what surely reads, locks nothing, and would give the
//! same answer there. It knows neither the catalogue nor the values.
//!
//! What is not understood runs on the primary, and so does what calls a function that is not known to only read. A
//! comment `/* primary */`, first in the text, sends it there too; there is none for a replica.
//!
//! What the catalogue alone tells is not seen: a view, a row security policy, a cast or an operator of one's own that
//! calls a function which writes, a function that is written as a column of its row (`t.f`), and one that overloads one
//! of the engine's by its name. A replica refuses such a write; it does not take it.

mod cache;
mod functions;
mod relations;
mod safe;
mod scan;
mod stack;
mod tree;
mod words;

use mainstay_db::Engine;
use serde::Serialize;

pub use cache::{Classifier, ClassifierBuilder};
use safe::Safe;
use words::Kind;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Where {
    /// The one that takes writes.
    Primary,
    /// Any, a replica too.
    Replica,
}

/// Where a statement may run, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Which server.
    pub to: Where,
    /// Why, in a few words.
    pub why: String,
}

/// Where `sql` may run. What is not understood, or is several statements, runs on the primary; SQLite has nothing else.
///
/// Texts of over 64 KiB or 2000 words and operators are not looked through; for deep ones a thread is begun, for its
/// stack. It parses: [`Classifier`] keeps what was decided.
///
/// ```
/// use mainstay_db::Engine;
/// use mainstay_route::{Where, classify};
///
/// let decision = classify("SELECT nextval('invoices')", Engine::Postgres);
/// assert_eq!(decision.to, Where::Primary);
/// assert_eq!(decision.why, "nextval() changes a sequence");
/// ```
pub fn classify(sql: &str, engine: Engine) -> Decision {
    decide(sql, engine, &Safe::default())
}

fn decide(sql: &str, engine: Engine, safe: &Safe) -> Decision {
    let judged = match engine {
        Engine::Sqlite => Err("SQLite has no replicas".to_owned()),
        Engine::Postgres | Engine::MySql => judge(sql, engine, safe),
    };
    match judged {
        Ok(why) => Decision { to: Where::Replica, why: why.to_owned() },
        Err(why) => Decision { to: Where::Primary, why },
    }
}

fn judge(sql: &str, engine: Engine, safe: &Safe) -> Result<&'static str, String> {
    let pieces = scan::scan(sql, engine)?;
    match words::kind(&pieces, engine)? {
        Kind::Reads(why) => Ok(why),
        Kind::Query(query) => stack::judge(query, engine, safe).map(|()| "it only reads"),
    }
}
