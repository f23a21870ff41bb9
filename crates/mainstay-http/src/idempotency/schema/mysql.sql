-- The table of mainstay-http's idempotency keys, version 1. `id` is the SHA-256 of scope and key; times are
-- microseconds since 1970, by the database's clock.
CREATE TABLE IF NOT EXISTS mainstay_idempotency (
    id BINARY(32) NOT NULL PRIMARY KEY,
    fingerprint BINARY(32) NOT NULL,
    status INTEGER NOT NULL,
    headers MEDIUMBLOB NOT NULL,
    body LONGBLOB NOT NULL,
    expires_us BIGINT NOT NULL,
    INDEX mainstay_idempotency_expires (expires_us)
) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS mainstay_idempotency_version (version BIGINT NOT NULL PRIMARY KEY) ENGINE = InnoDB;
