//! Every propagation with every ending, as the table in `docs/guide/transactions.md` says: the table
//! is written from what happens here.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use mainstay_db::{Code, Db, Engine, Error, Propagation, Result};
use tokio::sync::Notify;

use crate::support::{all_back, on_every_engine};

on_every_engine!(every_propagation_with_every_ending_is_as_the_guide_says);

/// How the part with the propagation ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Commits,
    Fails,
    /// The part fails, and the transaction around it swallows that.
    FailsCaught,
    Panics,
    /// The part is dropped half-way, and the transaction around it goes on.
    Dropped,
}

const ENDINGS: [(Ending, &str); 5] = [
    (Ending::Commits, "returns Ok"),
    (Ending::Fails, "returns an error"),
    (Ending::FailsCaught, "an error, caught outside"),
    (Ending::Panics, "panics"),
    (Ending::Dropped, "is dropped"),
];

async fn add(db: &Db, who: &'static str) -> Result<()> {
    db.query("INSERT INTO kept (who) VALUES ($1)").bind(who).execute().await.map(drop)
}

/// The part: writes one row, and ends.
async fn part(db: &Db, propagation: Propagation, ending: Ending) -> Result<()> {
    let written = &Notify::new();
    let run = db.tx().propagation(propagation).run(|db| async move {
        add(&db, "inner").await?;
        match ending {
            Ending::Commits => Ok(()),
            Ending::Fails | Ending::FailsCaught => Err(Error::user("the part fails")),
            Ending::Panics => panic!("the part panics"),
            Ending::Dropped => {
                written.notify_one();
                std::future::pending().await
            }
        }
    });
    if ending == Ending::Dropped {
        // Between two statements, however slow the machine.
        return tokio::select! {
            refused = run => refused,
            () = written.notified() => Ok(()),
        };
    }
    let outcome = run.await;
    if ending == Ending::FailsCaught { Ok(()) } else { outcome }
}

/// What is there when all is over, in the guide's words.
async fn outcome(db: &Db, propagation: Propagation, ending: Ending, inside: bool) -> String {
    db.query("DELETE FROM kept").execute().await.unwrap();
    let all = async {
        if !inside {
            return part(db, propagation, ending).await;
        }
        db.transaction(|tx| async move {
            add(&tx, "outer").await?;
            part(&tx, propagation, ending).await
        })
        .await
    };
    let ended = AssertUnwindSafe(all).catch_unwind().await;
    all_back(db).await;
    let rows: Vec<(String,)> =
        db.query("SELECT who FROM kept ORDER BY who DESC").all().await.unwrap();
    let kept = match rows.iter().map(|r| r.0.as_str()).collect::<Vec<_>>().as_slice() {
        [] => "nothing".to_owned(),
        [one] => format!("the {one}"),
        _ => "both".to_owned(),
    };
    match ended {
        Ok(Err(error)) if error.code() != Code::User => format!("{kept}, {}", error.code()),
        _ => kept,
    }
}

fn expected_file() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/transactions.md").to_owned()
}

async fn every_propagation_with_every_ending_is_as_the_guide_says(db: Db) {
    db.script("CREATE TABLE kept (who VARCHAR(10) NOT NULL)").await.unwrap();
    let mut table = String::new();
    for inside in [false, true] {
        let on = if inside { "a transaction's handle" } else { "the pool's handle" };
        table += &format!("\n| on {on}: the part |");
        for (_, name) in ENDINGS {
            table += &format!(" {name} |");
        }
        table += "\n|---|---|---|---|---|---|\n";
        for propagation in Propagation::ALL {
            table += &format!("| {} |", propagation.as_str());
            for (ending, _) in ENDINGS {
                table += &format!(" {} |", outcome(&db, propagation, ending, inside).await);
            }
            table += "\n";
        }
    }
    let kind = if db.engine() == Engine::Sqlite { "sqlite" } else { "servers" };
    let (begin, end) = (format!("<!-- {kind}: from the tests -->\n"), "<!-- end -->");
    let guide = std::fs::read_to_string(expected_file()).unwrap();
    let (head, rest) = guide.split_once(&begin).expect("the guide has a place for the table");
    let (shown, tail) = rest.split_once(end).expect("the table in the guide has an end");
    if writes() && db.engine() != Engine::MySql {
        std::fs::write(expected_file(), format!("{head}{begin}{table}\n{end}{tail}")).unwrap();
        return;
    }
    assert_eq!(
        shown.trim(),
        table.trim(),
        "the guide is stale: MAINSTAY_UPDATE_DOCS=1 cargo test -p mainstay-db --test it -- --test-threads 1 propagation"
    );
}

/// PostgreSQL's test writes for the servers; MariaDB's is held to what that wrote.
#[expect(clippy::disallowed_methods, reason = "a switch for whoever runs the test")]
fn writes() -> bool {
    std::env::var("MAINSTAY_UPDATE_DOCS").is_ok()
}
