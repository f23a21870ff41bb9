//! The texts of what a database is asked about leaderboards. They run no statement.
//!
//! MySQL's members are bytes, and are read as text at the very end, where no index is needed any more.

use mainstay_db::{Db, Engine};

/// The text of a statement on each engine.
#[derive(Clone, Copy)]
pub(super) struct Text {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
    pub(super) mysql: &'static str,
}

impl Text {
    pub(super) fn on(self, db: &Db) -> &'static str {
        match db.engine() {
            Engine::Sqlite => self.sqlite,
            Engine::Postgres => self.postgres,
            Engine::MySql => self.mysql,
        }
    }
}

/// Where the score would overflow, no row comes back and nothing is changed: `$5` and `$6` bound what may
/// be added to.
pub(super) const ADD: &str = "INSERT INTO mainstay_board (board, slot, member_id, score) \
     VALUES ($1, $2, $3, $4) \
     ON CONFLICT (board, slot, member_id) DO UPDATE SET score = mainstay_board.score + $4 \
     WHERE mainstay_board.score BETWEEN $5 AND $6 RETURNING score";

/// MySQL gives no row back; it refuses an overflow by itself.
pub(super) const ADD_MYSQL: &str = "INSERT INTO mainstay_board (board, slot, member_id, score) \
     VALUES ($1, $2, $3, $4) ON DUPLICATE KEY UPDATE score = score + $4";

pub(super) const SCORE: &str =
    "SELECT score FROM mainstay_board WHERE board = $1 AND slot = $2 AND member_id = $3";

const SET_UPSERT: &str = "INSERT INTO mainstay_board (board, slot, member_id, score) \
     VALUES ($1, $2, $3, $4) \
     ON CONFLICT (board, slot, member_id) DO UPDATE SET score = excluded.score";

pub(super) const SET: Text = Text {
    sqlite: SET_UPSERT,
    postgres: SET_UPSERT,
    mysql: "INSERT INTO mainstay_board (board, slot, member_id, score) \
            VALUES ($1, $2, $3, $4) ON DUPLICATE KEY UPDATE score = $4",
};

pub(super) const REMOVE: &str =
    "DELETE FROM mainstay_board WHERE board = $1 AND slot = $2 AND member_id = $3";

pub(super) const STANDING: &str = "SELECT me.score, (SELECT COUNT(*) FROM mainstay_board AS o \
     WHERE o.board = $1 AND o.slot = $2 AND o.score > me.score) AS above \
     FROM mainstay_board AS me WHERE me.board = $1 AND me.slot = $2 AND me.member_id = $3";

pub(super) const LEN: &str = "SELECT COUNT(*) FROM mainstay_board WHERE board = $1 AND slot = $2";

pub(super) const PRUNE: &str =
    "DELETE FROM mainstay_board WHERE board = $1 AND slot >= $2 AND slot < $3";

/// Lines `p`, each with how many there are above the first of them: counted once.
macro_rules! range {
    ($member:literal) => {
        concat!(
            "WITH p AS (SELECT member_id, score FROM mainstay_board WHERE board = $1 AND slot = $2 ",
            "ORDER BY score DESC, member_id LIMIT $3 OFFSET $4) ",
            "SELECT ",
            $member,
            ", p.score, (SELECT COUNT(*) FROM mainstay_board AS o WHERE o.board = $1 AND o.slot = $2 ",
            "AND o.score > (SELECT MAX(q.score) FROM p AS q)) AS above ",
            "FROM p ORDER BY p.score DESC, p.member_id"
        )
    };
}

pub(super) const RANGE: Text = Text {
    sqlite: range!("p.member_id"),
    postgres: range!("p.member_id"),
    mysql: range!("CONVERT(p.member_id USING utf8mb4)"),
};

/// As above; `ahead` is how many lines come before the member's own.
macro_rules! around {
    ($member:literal) => {
        concat!(
            "WITH me AS (SELECT member_id, score FROM mainstay_board ",
            "WHERE board = $1 AND slot = $2 AND member_id = $3), ",
            "up AS (SELECT b.member_id, b.score FROM mainstay_board AS b JOIN me ",
            "ON b.score > me.score OR (b.score = me.score AND b.member_id < me.member_id) ",
            "WHERE b.board = $1 AND b.slot = $2 ORDER BY b.score, b.member_id DESC LIMIT $4), ",
            "down AS (SELECT b.member_id, b.score FROM mainstay_board AS b JOIN me ",
            "ON b.score < me.score OR (b.score = me.score AND b.member_id >= me.member_id) ",
            "WHERE b.board = $1 AND b.slot = $2 ORDER BY b.score DESC, b.member_id LIMIT $5), ",
            "p AS (SELECT member_id, score FROM up UNION ALL SELECT member_id, score FROM down) ",
            "SELECT ",
            $member,
            ", p.score, (SELECT COUNT(*) FROM mainstay_board AS o WHERE o.board = $1 AND o.slot = $2 ",
            "AND o.score > (SELECT MAX(q.score) FROM p AS q)) AS above, ",
            "(SELECT COUNT(*) FROM mainstay_board AS o JOIN me ",
            "ON o.score > me.score OR (o.score = me.score AND o.member_id < me.member_id) ",
            "WHERE o.board = $1 AND o.slot = $2) AS ahead ",
            "FROM p ORDER BY p.score DESC, p.member_id"
        )
    };
}

pub(super) const AROUND: Text = Text {
    sqlite: around!("p.member_id"),
    postgres: around!("p.member_id"),
    mysql: around!("CONVERT(p.member_id USING utf8mb4)"),
};
