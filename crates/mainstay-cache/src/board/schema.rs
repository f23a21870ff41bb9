//! The table of leaderboards.

use mainstay_db::Engine;

/// The statements that make it, unless it is there. `slot` is the window: `all`, or a letter for its kind and
/// its first day. The index has the order of the list, and the check keeps SQLite from going over to floating
/// point where an integer overflows.
pub(crate) fn statements(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Sqlite => &[
            "CREATE TABLE IF NOT EXISTS mainstay_board (
    board TEXT NOT NULL,
    slot TEXT NOT NULL,
    member_id TEXT NOT NULL,
    score BIGINT NOT NULL CHECK (typeof(score) = 'integer'),
    PRIMARY KEY (board, slot, member_id)
) WITHOUT ROWID;",
            ORDER_INDEX,
        ],
        Engine::Postgres => &[
            "CREATE TABLE IF NOT EXISTS mainstay_board (
    board VARCHAR(100) COLLATE \"C\" NOT NULL,
    slot VARCHAR(16) COLLATE \"C\" NOT NULL,
    member_id VARCHAR(200) COLLATE \"C\" NOT NULL,
    score BIGINT NOT NULL,
    PRIMARY KEY (board, slot, member_id)
);",
            ORDER_INDEX,
        ],
        // Bytes: as text, `cup` and `cup ` would be one member, and the order another than elsewhere.
        Engine::MySql => &["CREATE TABLE IF NOT EXISTS mainstay_board (
    board VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    slot VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    member_id VARBINARY(200) NOT NULL,
    score BIGINT NOT NULL,
    PRIMARY KEY (board, slot, member_id),
    INDEX mainstay_board_order (board, slot, score DESC, member_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;"],
    }
}

const ORDER_INDEX: &str = "CREATE INDEX IF NOT EXISTS mainstay_board_order \
                           ON mainstay_board (board, slot, score DESC, member_id);";
