-- The tables of mainstay-cache, version 1. Times are microseconds since 1970, by the database's clock.
CREATE TABLE IF NOT EXISTS mainstay_cache_version (version BIGINT NOT NULL PRIMARY KEY) ENGINE = InnoDB;
-- Entries and the generations of keys and tags, told apart by how their id begins.
CREATE TABLE IF NOT EXISTS mainstay_cache_entry (
    id VARBINARY(400) NOT NULL PRIMARY KEY,
    body LONGBLOB NOT NULL,
    expires_us BIGINT NOT NULL,
    INDEX mainstay_cache_entry_expires (expires_us)
) ENGINE = InnoDB;
