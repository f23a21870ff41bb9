//! What is known of functions: which only read, and what those do that do not.

use std::collections::HashSet;
use std::sync::LazyLock;

use mainstay_db::Engine;

/// Names that only read, of the engine's own.
static POSTGRES: LazyLock<HashSet<&str>> = LazyLock::new(|| names(include_str!("postgres.txt")));
static MYSQL: LazyLock<HashSet<&str>> = LazyLock::new(|| names(include_str!("mysql.txt")));

/// What MySQL takes for a function of the schema when a space stands before the parenthesis.
const NO_SPACE: &[&str] = &[
    "adddate",
    "bit_and",
    "bit_or",
    "bit_xor",
    "cast",
    "count",
    "curdate",
    "curtime",
    "date_add",
    "date_sub",
    "extract",
    "group_concat",
    "json_arrayagg",
    "json_objectagg",
    "max",
    "mid",
    "min",
    "now",
    "position",
    "session_user",
    "std",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "subdate",
    "substr",
    "substring",
    "sum",
    "sysdate",
    "system_user",
    "trim",
    "variance",
    "var_pop",
    "var_samp",
];

/// What the others do; a name that ends with `*` stands for all that begin so.
const TOLD: &[(&str, &[&str])] = &[
    ("changes a sequence", &["nextval", "setval"]),
    (
        "belongs to a session",
        &[
            "currval",
            "lastval",
            "last_insert_id",
            "found_rows",
            "row_count",
            "connection_id",
            "current_setting",
            "set_config",
            "pg_backend_pid",
            "pg_my_temp_schema",
            "pg_listening_channels",
            "pg_trigger_depth",
            "setseed",
        ],
    ),
    (
        "is a lock of the primary",
        &[
            "pg_advisory_*",
            "pg_try_advisory_*",
            "get_lock",
            "release_lock",
            "release_all_locks",
            "is_free_lock",
            "is_used_lock",
        ],
    ),
    (
        "is volatile",
        &[
            "random",
            "random_normal",
            "gen_random_uuid",
            "gen_random_bytes",
            "gen_salt",
            "uuid_generate_*",
            "uuidv4",
            "uuidv7",
            "uuid",
            "uuid_short",
            "sys_guid",
            "rand",
            "random_bytes",
            "clock_timestamp",
            "timeofday",
            "sysdate",
            "pg_sleep",
            "pg_sleep_for",
            "pg_sleep_until",
            "sleep",
            "benchmark",
            "array_shuffle",
            "array_sample",
            "current_query",
            "encrypt",
        ],
    ),
    ("takes a transaction's number", &["txid_current", "pg_current_xact_id"]),
    (
        "runs SQL of its own",
        &[
            "dblink*",
            "query_to_xml*",
            "cursor_to_xml*",
            "ts_stat",
            "ts_rewrite",
            "table_to_xml*",
            "schema_to_xml*",
            "database_to_xml*",
        ],
    ),
    (
        "does more than read",
        &[
            "lo_*",
            "loread",
            "lowrite",
            "pg_notify",
            "pg_logical_*",
            "pg_terminate_backend",
            "pg_cancel_backend",
            "pg_reload_conf",
            "pg_rotate_logfile",
            "pg_switch_wal",
            "pg_promote",
            "pg_create_*",
            "pg_drop_*",
            "pg_copy_*",
            "pg_replication_*",
            "pg_wal_replay_*",
            "pg_export_snapshot",
            "pg_stat_reset*",
            "pg_backup_*",
            "master_pos_wait",
            "master_gtid_wait",
            "source_pos_wait",
            "wait_for_executed_gtid_set",
            "brin_*",
            "gin_clean_pending_list",
        ],
    ),
    (
        "tells of one server",
        &[
            "version",
            "inet_server_*",
            "inet_client_*",
            "pg_is_in_recovery",
            "pg_last_*",
            "pg_current_*",
            "pg_stat_*",
            "pg_postmaster_start_time",
            "pg_conf_load_time",
            "pg_lock_status",
            "pg_blocking_pids",
            "pg_read_*",
            "pg_ls_*",
            "pg_show_*",
            "pg_control_*",
            "pg_database_size",
            "pg_relation_size",
            "pg_total_relation_size",
            "pg_table_size",
            "pg_indexes_size",
            "pg_tablespace_size",
            "txid_*",
            "load_file",
        ],
    ),
];

fn names(text: &'static str) -> HashSet<&'static str> {
    text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).collect()
}

/// Whether a call of `name`, as the engine keeps names, only reads; an error says what it does.
pub(super) fn judge(name: &str, engine: Engine) -> Result<(), String> {
    let known = match engine {
        Engine::MySql => &MYSQL,
        Engine::Postgres | Engine::Sqlite => &POSTGRES,
    };
    if known.contains(name) {
        return Ok(());
    }
    let is = |told: &&str| match told.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => *told == name,
    };
    match TOLD.iter().find(|(_, names)| names.iter().any(is)) {
        Some((what, _)) => Err(format!("{name}() {what}")),
        None => Err(unknown(name)),
    }
}

/// Whether something is known of what is called so: of the engine's own, or of extensions that are met everywhere.
pub(super) fn is_known(name: &str, engine: Engine) -> bool {
    judge(name, engine).map_or_else(|why| why != unknown(name), |()| true)
}

/// What is told of a call that nothing is known of.
pub(super) fn unknown(name: &str) -> String {
    format!("it calls {name}(), which is not known to only read")
}

/// Whether MySQL looks for `name (` with a space in the schema.
pub(super) fn minds_space(name: &str) -> bool {
    NO_SPACE.iter().any(|n| n.eq_ignore_ascii_case(name))
}
