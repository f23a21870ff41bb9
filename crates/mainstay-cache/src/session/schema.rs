//! The table of sessions.

use mainstay_db::Engine;

/// The statements that make it, unless it is there. Times are microseconds since 1970 by the program's
/// clock; `id` is the SHA-256 of what the cookie has.
pub(crate) fn statements(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Sqlite => &[
            "CREATE TABLE IF NOT EXISTS mainstay_session (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT,
    created_us BIGINT NOT NULL,
    seen_us BIGINT NOT NULL,
    expires_us BIGINT NOT NULL,
    data TEXT NOT NULL
);",
            USER_INDEX,
            EXPIRES_INDEX,
        ],
        Engine::Postgres => &[
            "CREATE TABLE IF NOT EXISTS mainstay_session (
    id VARCHAR(64) COLLATE \"C\" NOT NULL PRIMARY KEY,
    user_id VARCHAR(200) COLLATE \"C\",
    created_us BIGINT NOT NULL,
    seen_us BIGINT NOT NULL,
    expires_us BIGINT NOT NULL,
    data TEXT NOT NULL
);",
            USER_INDEX,
            EXPIRES_INDEX,
        ],
        // Bytes: as text, `ann` and `ann ` would be one user.
        Engine::MySql => &["CREATE TABLE IF NOT EXISTS mainstay_session (
    id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
    user_id VARBINARY(200),
    created_us BIGINT NOT NULL,
    seen_us BIGINT NOT NULL,
    expires_us BIGINT NOT NULL,
    data TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    INDEX mainstay_session_user (user_id),
    INDEX mainstay_session_expires (expires_us)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;"],
    }
}

const USER_INDEX: &str =
    "CREATE INDEX IF NOT EXISTS mainstay_session_user ON mainstay_session (user_id);";
const EXPIRES_INDEX: &str =
    "CREATE INDEX IF NOT EXISTS mainstay_session_expires ON mainstay_session (expires_us);";
