-- The table of mainstay-http's idempotency keys, version 1. `id` is the SHA-256 of scope and key; times are
-- microseconds since 1970, by the database's clock.
CREATE TABLE IF NOT EXISTS mainstay_idempotency (
    id BLOB NOT NULL PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    status INTEGER NOT NULL,
    headers BLOB NOT NULL,
    body BLOB NOT NULL,
    expires_us INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS mainstay_idempotency_expires ON mainstay_idempotency (expires_us);
CREATE TABLE IF NOT EXISTS mainstay_idempotency_version (version INTEGER NOT NULL PRIMARY KEY);
