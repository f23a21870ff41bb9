-- The tables of mainstay-jobs, version 1. Times are microseconds since 1970, by this server's clock.
-- A job's body: inserted, read once, deleted. state: 0 live, 1 completed, 2 cancelled, 3 dead.
CREATE TABLE IF NOT EXISTS mainstay_job (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    queue VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    name VARCHAR(100) NOT NULL,
    version INT NOT NULL,
    lane SMALLINT NOT NULL,
    priority SMALLINT NOT NULL,
    created_us BIGINT NOT NULL,
    run_us BIGINT,
    state SMALLINT NOT NULL DEFAULT 0,
    attempt INT NOT NULL DEFAULT 0,
    crashes INT NOT NULL DEFAULT 0,
    finished_us BIGINT,
    payload LONGTEXT NOT NULL,
    options LONGTEXT,
    errors LONGTEXT,
    result LONGTEXT
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
-- What may be run now. Claimed by deleting; its only index is its key. lane: 0 free, 1 with a key or a
-- limit, 2 suspected of having killed its worker; both of these are claimed with care.
CREATE TABLE IF NOT EXISTS mainstay_ready (
    queue VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    lane SMALLINT NOT NULL,
    priority SMALLINT NOT NULL,
    id BIGINT NOT NULL,
    PRIMARY KEY (queue, lane, priority, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE IF NOT EXISTS mainstay_scheduled (
    run_us BIGINT NOT NULL,
    id BIGINT NOT NULL UNIQUE,
    queue VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    lane SMALLINT NOT NULL,
    priority SMALLINT NOT NULL,
    PRIMARY KEY (run_us, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
-- Waits for a key: in the order of ids.
CREATE TABLE IF NOT EXISTS mainstay_parked (
    queue VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    key_text VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    id BIGINT NOT NULL UNIQUE,
    priority SMALLINT NOT NULL,
    PRIMARY KEY (queue, key_text, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
-- Who has a key at present.
CREATE TABLE IF NOT EXISTS mainstay_holding (
    queue VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    key_text VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    id BIGINT NOT NULL,
    PRIMARY KEY (id, key_text),
    INDEX mainstay_holding_key (queue, key_text)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
-- Keys that somebody let go of, for the next careful claim to look at.
CREATE TABLE IF NOT EXISTS mainstay_freed (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    queue VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    key_text VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE IF NOT EXISTS mainstay_rate (
    queue VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    key_text VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    next_us BIGINT NOT NULL,
    PRIMARY KEY (queue, key_text)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE IF NOT EXISTS mainstay_unique (
    key_text VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
    id BIGINT NOT NULL,
    until_us BIGINT,
    INDEX mainstay_unique_id (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE IF NOT EXISTS mainstay_worker (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(200) NOT NULL,
    queues LONGTEXT NOT NULL,
    started_us BIGINT NOT NULL,
    beat BIGINT NOT NULL DEFAULT 0,
    locked SMALLINT NOT NULL,
    draining SMALLINT NOT NULL DEFAULT 0
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
-- A batch that a worker claimed: ids is a JSON array.
CREATE TABLE IF NOT EXISTS mainstay_lease (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    worker BIGINT NOT NULL,
    queue VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    ids LONGTEXT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
-- Given to a broker, and not settled yet.
CREATE TABLE IF NOT EXISTS mainstay_handed (
    id BIGINT PRIMARY KEY,
    queue VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    at_us BIGINT NOT NULL,
    INDEX mainstay_handed_at (at_us)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE IF NOT EXISTS mainstay_queue (
    name VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
    paused SMALLINT NOT NULL DEFAULT 0
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
-- Jobs that ended and are kept: state as in mainstay_job.
CREATE TABLE IF NOT EXISTS mainstay_finished (
    state SMALLINT NOT NULL,
    queue VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    at_us BIGINT NOT NULL,
    id BIGINT NOT NULL UNIQUE,
    expire_us BIGINT NOT NULL,
    PRIMARY KEY (state, queue, at_us, id),
    INDEX mainstay_finished_expire (expire_us)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE IF NOT EXISTS mainstay_progress (
    id BIGINT PRIMARY KEY,
    at_us BIGINT NOT NULL,
    done DOUBLE NOT NULL,
    note LONGTEXT
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
-- Running jobs that somebody wants cancelled.
CREATE TABLE IF NOT EXISTS mainstay_cancel (
    id BIGINT PRIMARY KEY,
    at_us BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE IF NOT EXISTS mainstay_cron (
    name VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
    spec VARCHAR(200) NOT NULL,
    next_us BIGINT NOT NULL,
    last_us BIGINT
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
-- Steps of a job, remembered.
CREATE TABLE IF NOT EXISTS mainstay_step (
    job BIGINT NOT NULL,
    name VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    seq INT NOT NULL,
    result LONGTEXT,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (job, name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE IF NOT EXISTS mainstay_signal (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    job BIGINT NOT NULL,
    name VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    payload LONGTEXT NOT NULL,
    at_us BIGINT NOT NULL,
    INDEX mainstay_signal_job (job, name, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
-- Events. mainstay_outbox: committed and not yet given to the groups. mainstay_log: their order, given
-- after the commit, by one process at a time, so that no reader can miss one.
CREATE TABLE IF NOT EXISTS mainstay_event (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    key_text VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    version INT NOT NULL,
    created_us BIGINT NOT NULL,
    payload LONGTEXT NOT NULL,
    headers LONGTEXT
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE IF NOT EXISTS mainstay_outbox (id BIGINT PRIMARY KEY) ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS mainstay_log (
    position BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    event BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    INDEX mainstay_log_at (at_us)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE IF NOT EXISTS mainstay_group (
    name VARCHAR(90) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
    events LONGTEXT NOT NULL,
    created_us BIGINT NOT NULL,
    replay_from BIGINT,
    replay_to BIGINT
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
-- What a consumer has done: a redelivery of it has no second effect.
CREATE TABLE IF NOT EXISTS mainstay_inbox (
    consumer VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    message VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (consumer, message),
    INDEX mainstay_inbox_at (at_us)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE IF NOT EXISTS mainstay_audit (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    at_us BIGINT NOT NULL,
    actor VARCHAR(200) NOT NULL,
    action VARCHAR(50) NOT NULL,
    target VARCHAR(200) NOT NULL,
    detail LONGTEXT
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE IF NOT EXISTS mainstay_jobs_version (version BIGINT NOT NULL PRIMARY KEY) ENGINE=InnoDB;
INSERT INTO mainstay_jobs_version VALUES (1);
