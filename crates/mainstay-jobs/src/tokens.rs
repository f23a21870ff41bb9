//! What a job or an event must see from replicas: where its worker's database was when it was claimed, and how far other
//! clusters were for whoever enqueued it.
//!
//! The position of a job's own transaction is known only after its commit, when the job can't be changed any more. It need
//! not be: whoever claims the job does so after that commit, and all that is committed by then covers it. Tokens of
//! other clusters travel in a header.

use std::collections::BTreeMap;

use mainstay_core::scope::{Kind, Scope};
use mainstay_core::token::{Marks, Tokens};
use mainstay_db::Db;

/// The header of jobs and events that has the tokens of other clusters than theirs.
pub(crate) const TOKEN: &str = "mainstay-token";

/// The tokens of the current scope, save that of the cluster that the job itself is in. It waits for positions that are
/// not known yet: those of statements outside transactions, on other clusters.
pub(crate) async fn carried(db: &Db) -> Option<String> {
    let tokens = Scope::current()?.tokens_except(db.cluster()).await;
    (!tokens.is_empty()).then(|| tokens.to_string())
}

/// All that is committed in `db` by now.
pub(crate) fn now(db: &Db) -> Marks {
    if db.cluster().is_none() {
        return Marks::default();
    }
    let scope = Scope::new(Kind::Job, "claim");
    scope.enter(|| db.observe_now());
    scope.marks(|marks| marks.clone())
}

/// What a job sees at least: as it is claimed, and what its headers say. What can't be read is passed over.
pub(crate) fn give(scope: &Scope, claimed: &Marks, headers: &BTreeMap<String, String>) {
    scope.marks(|marks| marks.add(claimed));
    let Some(text) = headers.get(TOKEN) else { return };
    match text.parse::<Tokens>() {
        Ok(tokens) => tokens.iter().for_each(|token| scope.observe(token)),
        Err(error) => tracing::debug!(code = %error.code(), "a token is passed over: {error}"),
    }
}
