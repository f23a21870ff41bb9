-- The tables of mainstay-cache, version 1. Times are microseconds since 1970, by the database's clock.
CREATE TABLE IF NOT EXISTS mainstay_cache_version (version BIGINT NOT NULL PRIMARY KEY);
-- Entries and the generations of keys and tags, told apart by how their id begins. Not logged: what a
-- crash takes is loaded anew, and entries go together with the generations that they refer to.
CREATE UNLOGGED TABLE IF NOT EXISTS mainstay_cache_entry (
    id BYTEA NOT NULL PRIMARY KEY,
    body BYTEA NOT NULL,
    expires_us BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS mainstay_cache_entry_expires ON mainstay_cache_entry (expires_us);
