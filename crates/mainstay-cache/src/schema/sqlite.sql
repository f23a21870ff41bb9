-- The tables of mainstay-cache, version 1. Times are microseconds since 1970, by the database's clock.
CREATE TABLE IF NOT EXISTS mainstay_cache_version (version INTEGER NOT NULL PRIMARY KEY);
-- Entries and the generations of keys and tags, told apart by how their id begins.
CREATE TABLE IF NOT EXISTS mainstay_cache_entry (
    id BLOB NOT NULL PRIMARY KEY,
    body BLOB NOT NULL,
    expires_us INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS mainstay_cache_entry_expires ON mainstay_cache_entry (expires_us);
