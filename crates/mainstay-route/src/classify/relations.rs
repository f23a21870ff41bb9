//! Tables that every server has its own of: what they say on a replica is true of the replica.

use mainstay_db::Engine;

/// Where PostgreSQL keeps the schema. What is here is the same on replicas; every other `pg_` is not sure to be.
const CATALOGUE: &[&str] = &[
    "pg_aggregate",
    "pg_am",
    "pg_amop",
    "pg_amproc",
    "pg_attrdef",
    "pg_attribute",
    "pg_auth_members",
    "pg_authid",
    "pg_cast",
    "pg_class",
    "pg_collation",
    "pg_constraint",
    "pg_conversion",
    "pg_database",
    "pg_db_role_setting",
    "pg_default_acl",
    "pg_depend",
    "pg_description",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_group",
    "pg_index",
    "pg_indexes",
    "pg_inherits",
    "pg_init_privs",
    "pg_language",
    "pg_matviews",
    "pg_namespace",
    "pg_opclass",
    "pg_operator",
    "pg_opfamily",
    "pg_partitioned_table",
    "pg_policies",
    "pg_policy",
    "pg_proc",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_publication_tables",
    "pg_range",
    "pg_rewrite",
    "pg_roles",
    "pg_rules",
    "pg_seclabel",
    "pg_seclabels",
    "pg_sequence",
    "pg_shdepend",
    "pg_shdescription",
    "pg_shseclabel",
    "pg_statistic_ext",
    "pg_tables",
    "pg_tablespace",
    "pg_transform",
    "pg_trigger",
    "pg_ts_config",
    "pg_ts_config_map",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_ts_template",
    "pg_type",
    "pg_user",
    "pg_views",
];

/// What MySQL's information_schema says of the schema.
const INFORMATION: &[&str] = &[
    "character_sets",
    "check_constraints",
    "collation_character_set_applicability",
    "collations",
    "column_privileges",
    "columns",
    "events",
    "geometry_columns",
    "key_column_usage",
    "keywords",
    "parameters",
    "partitions",
    "referential_constraints",
    "routines",
    "schema_privileges",
    "schemata",
    "spatial_ref_sys",
    "statistics",
    "table_constraints",
    "table_privileges",
    "tables",
    "triggers",
    "views",
];

/// Whether the table of this path, as the engine keeps names, is the same on a replica; an error says why not.
pub(super) fn judge(path: &[String], engine: Engine) -> Result<(), String> {
    let (schema, name) = match path {
        [name] => (None, name.as_str()),
        [.., schema, name] => (Some(schema.as_str()), name.as_str()),
        [] => return Err("it is not understood".to_owned()),
    };
    let own = match engine {
        Engine::MySql => match schema.map(str::to_ascii_lowercase).as_deref() {
            Some("information_schema") => {
                !INFORMATION.contains(&name.to_ascii_lowercase().as_str())
            }
            Some("performance_schema" | "mysql" | "sys") => true,
            _ => false,
        },
        Engine::Postgres | Engine::Sqlite => match schema {
            Some(schema) if schema.starts_with("pg_temp") => {
                return Err(format!("{schema}.{name} is of one session"));
            }
            Some("pg_catalog") => !CATALOGUE.contains(&name),
            Some(schema) if schema.starts_with("pg_") => true,
            Some(_) => false,
            None => name.starts_with("pg_") && !CATALOGUE.contains(&name),
        },
    };
    let shown = path.join(".");
    if own { Err(format!("{shown} tells of one server")) } else { Ok(()) }
}
