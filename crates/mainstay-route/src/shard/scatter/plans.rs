//! Plans that were made are kept, by the text of the question: it is parsed once, and not for each question. Texts that can't
//! be planned are not kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use mainstay_core::Result;

use super::plan::Plan;
use crate::shard::handle::Shards;

/// Texts kept; a service has dozens.
const TEXTS_MAX: usize = 512;
/// A longer text is most likely put together for one use.
const KEPT_BYTES_MAX: usize = 4096;

type ByText = HashMap<Box<str>, Arc<Plan>, RandomState>;

/// Of one [`Shards`]: which tables are references is part of a plan.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    /// Of questions that say they are colocated, and of the others.
    kept: [Mutex<ByText>; 2],
}

impl Plans {
    /// Errors: as [`Plan::new`].
    pub(crate) fn of(&self, sql: &str, shards: &Shards, colocated: bool) -> Result<Arc<Plan>> {
        let kept =
            || self.kept[usize::from(colocated)].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = kept().get(sql) {
            return Ok(Arc::clone(plan));
        }
        // Not under the lock: it parses.
        let plan = Arc::new(Plan::new(sql, shards, colocated)?);
        if sql.len() <= KEPT_BYTES_MAX {
            let mut kept = kept();
            // Whichever goes is parsed again when it comes.
            if kept.len() >= TEXTS_MAX
                && let Some(other) = kept.keys().next().cloned()
            {
                kept.remove(&other);
            }
            kept.insert(sql.into(), Arc::clone(&plan));
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Map;
    use mainstay_core::Code;
    use mainstay_db::Db;

    #[tokio::test]
    async fn a_text_is_planned_once_by_how_it_is_asked_and_few_are_kept() {
        let db = Db::connect("sqlite::memory:").await.unwrap();
        let shards = Shards::builder(Map::even(["a"]).unwrap()).shard("a", db).build().unwrap();
        let plans = Plans::default();
        let grouped = "SELECT id FROM t WHERE id IN (SELECT MAX(id) FROM t)";
        assert!(plans.of(grouped, &shards, true).is_ok());
        let refused = plans.of(grouped, &shards, false).unwrap_err();
        assert_eq!(refused.code(), Code::ShardMerge);
        let sql = "SELECT id FROM t ORDER BY id";
        let first = plans.of(sql, &shards, false).unwrap();
        assert!(Arc::ptr_eq(&first, &plans.of(sql, &shards, false).unwrap()));
        for n in 0..2 * TEXTS_MAX {
            let plan = plans.of(&format!("SELECT {n} FROM t"), &shards, false).unwrap();
            assert!(plan.sql.contains(&n.to_string()));
        }
        let long = format!("SELECT '{}' FROM t", "a".repeat(KEPT_BYTES_MAX));
        assert!(plans.of(&long, &shards, false).is_ok());
        assert_eq!(plans.kept[0].lock().unwrap().len(), TEXTS_MAX);
        assert!(plans.kept[0].lock().unwrap().keys().all(|sql| sql.len() <= KEPT_BYTES_MAX));
    }
}
