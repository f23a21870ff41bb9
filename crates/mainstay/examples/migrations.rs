//! Migrations that fail half-way, and go on: `cargo run -p mainstay --example migrations --features
//! migrate`.

use mainstay::migrate::{Migrations, Migrator, Target};
use mainstay::prelude::*;

const USERS: &str = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)";

fn migrations(second: &'static str) -> Migrations {
    Migrations::new()
        .text("V1__users.sql", USERS)
        .text("V2__ada.sql", second)
        .text("U2__ada.sql", "DELETE FROM users WHERE id = 1")
        .text(
            "R__names.sql",
            "DROP VIEW IF EXISTS names; CREATE VIEW names AS SELECT name FROM users",
        )
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> mainstay::Result<()> {
    let db = Db::connect("sqlite::memory:").await?;

    println!("a statement that fails is named with its place:");
    let wrong =
        migrations("INSERT INTO users VALUES (1, 'Ada');\nINSERT INTO user VALUES (2, 'Bob');");
    if let Err(error) = Migrator::new(&db, wrong).up(Target::Latest).await {
        println!("{}\n", error.report());
    }

    println!("corrected, it goes on:");
    let migrator = Migrator::new(&db, migrations("INSERT INTO users VALUES (1, 'Ada')"));
    for ran in migrator.up(Target::Latest).await?.applied {
        println!("  {} in {:.1?}", ran.script, ran.took);
    }
    let name: String = db.query("SELECT name FROM names").scalar().await?;
    println!("  {name} is there\n");

    println!("and can be taken back:");
    migrator.undo(None).await?;
    for migration in migrator.info().await?.migrations {
        let version = migration.version.unwrap_or_default();
        println!("  {version:>2} {:<6} {}", migration.description, migration.state);
    }
    Ok(())
}
