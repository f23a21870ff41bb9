//! Every statement of the corpus goes where its label says.

use mainstay_db::Engine;
use mainstay_route::{Classifier, Where, classify};

use super::labelled::corpus;

fn on(engine: Engine) {
    let all = corpus(engine);
    let (reads, others): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.to == Where::Replica);
    assert!(reads.len() > 150 && others.len() > 200, "{} and {}", reads.len(), others.len());
    for one in others {
        let decision = classify(&one.sql, engine);
        assert_eq!(decision.to, Where::Primary, "{:?}: {}", one.sql, decision.why);
        assert!(!decision.why.is_empty());
    }
    let missed: Vec<_> = reads
        .iter()
        .map(|one| (&one.sql, classify(&one.sql, engine)))
        .filter(|(_, decision)| decision.to == Where::Primary)
        .collect();
    let found = reads.len() - missed.len();
    println!("{engine}: {found} of {} reads are seen as such; not:", reads.len());
    for (sql, decision) in &missed {
        println!("  {sql}\n    {}", decision.why);
    }
    assert!(missed.len() * 20 <= reads.len(), "{missed:#?}");
}

#[test]
fn no_statement_for_the_primary_goes_to_a_replica_on_postgres() {
    on(Engine::Postgres);
}

#[test]
fn no_statement_for_the_primary_goes_to_a_replica_on_mysql() {
    on(Engine::MySql);
}

#[test]
fn sqlite_has_no_replicas() {
    for one in corpus(Engine::Postgres) {
        let decision = classify(&one.sql, Engine::Sqlite);
        assert_eq!((decision.to, &*decision.why), (Where::Primary, "SQLite has no replicas"));
    }
}

#[test]
fn what_is_kept_is_what_was_decided() {
    for engine in [Engine::Postgres, Engine::MySql] {
        let classifier = Classifier::new(engine);
        for _ in 0..2 {
            for one in corpus(engine) {
                assert_eq!(classifier.of(&one.sql), classify(&one.sql, engine).to, "{}", one.sql);
            }
        }
    }
}

#[test]
fn why_names_what_decided() {
    let pg = Engine::Postgres;
    let my = Engine::MySql;
    for (engine, sql, why) in [
        (pg, "SELECT 1", "it only reads"),
        (pg, "SELECT 1 FOR UPDATE", "FOR UPDATE locks rows"),
        (pg, "SELECT a FROM t FOR NO KEY UPDATE", "FOR NO KEY UPDATE locks rows"),
        (pg, "SELECT nextval('a')", "nextval() changes a sequence"),
        (pg, "SELECT f(1)", "it calls f(), which is not known to only read"),
        (pg, "SELECT app.f(1)", "it calls app.f(), which is not known to only read"),
        (pg, "SELECT random()", "random() is volatile"),
        (pg, "WITH x AS (DELETE FROM t RETURNING a) SELECT a FROM x", "DELETE inside of it writes"),
        (pg, "update t set a = 1", "UPDATE writes"),
        (pg, "EXPLAIN ANALYZE INSERT INTO t VALUES (1)", "INTO writes"),
        (pg, "EXPLAIN UPDATE t SET a = 1", "what it explains is no read: UPDATE writes"),
        (pg, "SELECT 1; SELECT 2", "it is several statements"),
        (pg, "/* primary */ SELECT 1", "the hint /* primary */ says so"),
        (pg, "SELECT * FROM pg_stat_activity", "pg_stat_activity tells of one server"),
        (my, "SELECT a FROM t LOCK IN SHARE MODE", "LOCK IN SHARE MODE locks rows"),
        (my, "SELECT GET_LOCK('a', 1)", "get_lock() is a lock of the primary"),
        (my, "SELECT @x", "@ names a variable of a session or of one server"),
        (my, "SELECT 1 /*! , 2 */", "/*! ... */ is run by some versions alone"),
        (my, "SHOW STATUS", "SHOW tells of one server or session"),
        (my, "DESC t", "it describes a table"),
    ] {
        assert_eq!(classify(sql, engine).why, why, "{sql}");
    }
}
