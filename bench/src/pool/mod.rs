//! The pool beside deadpool, bb8, mobc and sqlx's own: its nine figures.

mod nothing;
mod turnover;

use crate::report::Case;

pub(crate) async fn run() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(turnover::run().await);
    cases
}
