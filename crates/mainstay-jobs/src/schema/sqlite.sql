-- The tables of mainstay-jobs, version 1. Times are microseconds since 1970, by this machine's clock.
-- A job's body: inserted, read once, deleted. state: 0 live, 1 completed, 2 cancelled, 3 dead.
CREATE TABLE IF NOT EXISTS mainstay_job (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    run_us INTEGER,
    state INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    finished_us INTEGER,
    payload TEXT NOT NULL,
    options TEXT,
    errors TEXT,
    result TEXT
);
-- What may be run now. Claimed by deleting; its only index is its key. lane: 0 free, 1 with a key or a
-- limit, 2 suspected of having killed its worker; both of these are claimed with care.
CREATE TABLE IF NOT EXISTS mainstay_ready (
    queue TEXT NOT NULL,
    lane INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (queue, lane, priority, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mainstay_scheduled (
    run_us INTEGER NOT NULL,
    id INTEGER NOT NULL UNIQUE,
    queue TEXT NOT NULL,
    lane INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    PRIMARY KEY (run_us, id)
) WITHOUT ROWID;
-- Waits for a key: in the order of ids.
CREATE TABLE IF NOT EXISTS mainstay_parked (
    queue TEXT NOT NULL,
    key_text TEXT NOT NULL,
    id INTEGER NOT NULL UNIQUE,
    priority INTEGER NOT NULL,
    PRIMARY KEY (queue, key_text, id)
) WITHOUT ROWID;
-- Who has a key at present.
CREATE TABLE IF NOT EXISTS mainstay_holding (
    queue TEXT NOT NULL,
    key_text TEXT NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (id, key_text)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS mainstay_holding_key ON mainstay_holding (queue, key_text);
-- Keys that somebody let go of, for the next careful claim to look at.
CREATE TABLE IF NOT EXISTS mainstay_freed (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    key_text TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS mainstay_rate (
    queue TEXT NOT NULL,
    key_text TEXT NOT NULL,
    next_us INTEGER NOT NULL,
    PRIMARY KEY (queue, key_text)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mainstay_unique (
    key_text TEXT PRIMARY KEY,
    id INTEGER NOT NULL,
    until_us INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS mainstay_unique_id ON mainstay_unique (id);
CREATE TABLE IF NOT EXISTS mainstay_worker (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    queues TEXT NOT NULL,
    started_us INTEGER NOT NULL,
    beat INTEGER NOT NULL DEFAULT 0,
    locked INTEGER NOT NULL,
    draining INTEGER NOT NULL DEFAULT 0
);
-- A batch that a worker claimed: ids is a JSON array.
CREATE TABLE IF NOT EXISTS mainstay_lease (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    worker INTEGER NOT NULL,
    queue TEXT NOT NULL,
    ids TEXT NOT NULL
);
-- Given to a broker, and not settled yet.
CREATE TABLE IF NOT EXISTS mainstay_handed (
    id INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    at_us INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS mainstay_handed_at ON mainstay_handed (at_us);
CREATE TABLE IF NOT EXISTS mainstay_queue (
    name TEXT PRIMARY KEY,
    paused INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
-- Jobs that ended and are kept: state as in mainstay_job.
CREATE TABLE IF NOT EXISTS mainstay_finished (
    state INTEGER NOT NULL,
    queue TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    id INTEGER NOT NULL UNIQUE,
    expire_us INTEGER NOT NULL,
    PRIMARY KEY (state, queue, at_us, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS mainstay_finished_expire ON mainstay_finished (expire_us);
CREATE TABLE IF NOT EXISTS mainstay_progress (
    id INTEGER PRIMARY KEY,
    at_us INTEGER NOT NULL,
    done REAL NOT NULL,
    note TEXT
);
-- Running jobs that somebody wants cancelled.
CREATE TABLE IF NOT EXISTS mainstay_cancel (
    id INTEGER PRIMARY KEY,
    at_us INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS mainstay_cron (
    name TEXT PRIMARY KEY,
    spec TEXT NOT NULL,
    next_us INTEGER NOT NULL,
    last_us INTEGER
) WITHOUT ROWID;
-- Steps of a job, remembered.
CREATE TABLE IF NOT EXISTS mainstay_step (
    job INTEGER NOT NULL,
    name TEXT NOT NULL,
    seq INTEGER NOT NULL,
    result TEXT,
    at_us INTEGER NOT NULL,
    PRIMARY KEY (job, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mainstay_signal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job INTEGER NOT NULL,
    name TEXT NOT NULL,
    payload TEXT NOT NULL,
    at_us INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS mainstay_signal_job ON mainstay_signal (job, name, id);
-- Events. mainstay_outbox: committed and not yet given to the groups. mainstay_log: their order, given
-- after the commit, by one process at a time, so that no reader can miss one.
CREATE TABLE IF NOT EXISTS mainstay_event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    key_text TEXT,
    version INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    payload TEXT NOT NULL,
    headers TEXT
);
CREATE TABLE IF NOT EXISTS mainstay_outbox (id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS mainstay_log (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    event INTEGER NOT NULL,
    at_us INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS mainstay_log_at ON mainstay_log (at_us);
CREATE TABLE IF NOT EXISTS mainstay_group (
    name TEXT PRIMARY KEY,
    events TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    replay_from INTEGER,
    replay_to INTEGER
) WITHOUT ROWID;
-- What a consumer has done: a redelivery of it has no second effect.
CREATE TABLE IF NOT EXISTS mainstay_inbox (
    consumer TEXT NOT NULL,
    message TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    PRIMARY KEY (consumer, message)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS mainstay_inbox_at ON mainstay_inbox (at_us);
CREATE TABLE IF NOT EXISTS mainstay_audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_us INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT
);
CREATE TABLE IF NOT EXISTS mainstay_jobs_version (version INTEGER NOT NULL PRIMARY KEY);
INSERT INTO mainstay_jobs_version VALUES (1);
