-- The table of mainstay-http's idempotency keys, version 1. `id` is the SHA-256 of scope and key; times are
-- microseconds since 1970, by the database's clock.
CREATE TABLE IF NOT EXISTS mainstay_idempotency (
    id BYTEA NOT NULL PRIMARY KEY,
    fingerprint BYTEA NOT NULL,
    status INTEGER NOT NULL,
    headers BYTEA NOT NULL,
    body BYTEA NOT NULL,
    expires_us BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS mainstay_idempotency_expires ON mainstay_idempotency (expires_us);
CREATE TABLE IF NOT EXISTS mainstay_idempotency_version (version BIGINT NOT NULL PRIMARY KEY);
