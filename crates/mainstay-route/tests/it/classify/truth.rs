//! The labels and the lists are held to real servers: what goes to a replica runs where nothing can be written, and what
//! is labelled a write is refused there.

use mainstay_db::Engine;
use mainstay_db::lex::{Lexer, Token};
use mainstay_route::{Where, classify};
use mainstay_testkit::{Engine as Kind, Fresh};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, PgConnection};

use super::labelled::corpus;

/// `$1` and its like with values in their place: whatever fits.
fn filled(sql: &str, engine: Engine) -> String {
    let value = if engine == Engine::MySql { "1" } else { "NULL" };
    let param = |token| matches!(token, Token::Param(_));
    let parts =
        Lexer::new(sql, engine).map(|(token, at)| if param(token) { value } else { &sql[at] });
    parts.collect()
}

/// The driver's own connection: nothing between a statement and the server, nor between its refusal and the test.
enum Server {
    Postgres(PgConnection),
    MariaDb(MySqlConnection),
}

impl Server {
    async fn new(fresh: &Fresh) -> Self {
        match fresh.engine() {
            Kind::MariaDb => Self::MariaDb(MySqlConnection::connect(fresh.url()).await.unwrap()),
            _ => Self::Postgres(PgConnection::connect(fresh.url()).await.unwrap()),
        }
    }

    /// An error is the server's code, and what it says.
    async fn run(&mut self, sql: &str) -> Result<(), (String, String)> {
        let sql = AssertSqlSafe(sql.to_owned());
        let answer = match self {
            Self::Postgres(server) => server.execute(sqlx::raw_sql(sql)).await.map(drop),
            Self::MariaDb(server) => server.execute(sqlx::raw_sql(sql)).await.map(drop),
        };
        answer.map_err(|e| {
            let error = e.as_database_error().unwrap_or_else(|| panic!("no answer: {e}"));
            let number = error.try_downcast_ref::<MySqlDatabaseError>().map(|e| e.number());
            let code = error.code().unwrap_or_default().into_owned();
            (number.map_or(code, |number| number.to_string()), error.message().to_owned())
        })
    }
}

async fn on(kind: Kind, engine: Engine, begin: &str, schema: &str, refused: &str) {
    let fresh = Fresh::new(kind).await;
    let mut server = Server::new(&fresh).await;
    for statement in schema.split(";\n").filter(|one| !one.trim().is_empty()) {
        server.run(statement).await.unwrap_or_else(|e| panic!("{statement}: {e:?}"));
    }
    let (mut read, mut wrote, mut wrong) = (0, 0, Vec::new());
    for one in corpus(engine) {
        // What is sent to a replica is run, and so is what its label calls a read.
        let sent = classify(&one.sql, engine).to;
        let reads = (sent == Where::Replica || one.to == Where::Replica) && one.note != "mysql";
        let writes = one.note == "write";
        if !reads && !writes {
            continue;
        }
        server.run(begin).await.unwrap();
        let answer = server.run(&filled(&one.sql, engine)).await;
        server.run("ROLLBACK").await.unwrap();
        match answer {
            Ok(()) if reads => read += 1,
            Err((code, _)) if writes && !reads && code == refused => wrote += 1,
            answer => wrong.push(format!("{:?}: {answer:?}", one.sql)),
        }
    }
    println!("{kind:?}: {read} reads ran, {wrote} writes were refused by {refused}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(read > 150 && wrote > 40, "{read} {wrote}");
    drop(server);
    fresh.remove().await;
}

mod postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_goes_to_a_replica_writes_nothing() {
        let schema = include_str!("../corpus/postgres.schema.sql");
        on(Kind::Postgres, Engine::Postgres, "BEGIN READ ONLY", schema, "25006").await;
    }

    /// Every function of the catalogue that may be called is called by its name alone: no volatile one is let through.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_volatile_function_is_known_as_one_that_reads() {
        let fresh = Fresh::new(Kind::Postgres).await;
        let mut server = PgConnection::connect(fresh.url()).await.unwrap();
        let all: Vec<(String, bool)> = sqlx::query_as(
            "SELECT proname::text, bool_or(provolatile = 'v') FROM pg_proc \
             WHERE pronamespace = 'pg_catalog'::regnamespace GROUP BY 1",
        )
        .fetch_all(&mut server)
        .await
        .unwrap();
        let reads = |name: &str| {
            let sql = format!("SELECT pg_catalog.\"{name}\"(1)");
            classify(&sql, Engine::Postgres).to == Where::Replica
        };
        let (volatile, others): (Vec<_>, Vec<_>) = all.iter().partition(|(_, volatile)| *volatile);
        let wrong: Vec<_> = volatile.iter().filter(|(name, _)| reads(name)).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        let known = others.iter().filter(|(name, _)| reads(name)).count();
        assert!(volatile.len() > 200 && known > 400, "{} {known}", volatile.len());
        drop(server);
        fresh.remove().await;
    }
}

mod mariadb {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_goes_to_a_replica_writes_nothing() {
        let schema = include_str!("../corpus/mysql.schema.sql");
        on(Kind::MariaDb, Engine::MySql, "START TRANSACTION READ ONLY", schema, "1792").await;
    }
}
