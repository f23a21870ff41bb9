//! Leaderboards on every store, beside a list that is sorted anew for every question.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use mainstay_cache::board::{Board, BoardStore, Entry, Standing, Window};
use mainstay_core::clock::{Clock, Hand};
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error};
use mainstay_db::Db;
use mainstay_testkit::{Broker, Engine, Fresh};
use tokio::sync::OnceCell;

/// Makes each function a test on every store, in a module named after what it needs.
macro_rules! on_every_store {
    ($($name:ident),* $(,)?) => {
        on_every_store!(@store memory Memory $($name)*);
        on_every_store!(@store sqlite Sqlite $($name)*);
        on_every_store!(@store postgres Postgres $($name)*);
        on_every_store!(@store mariadb MariaDb $($name)*);
        on_every_store!(@store redis Redis $($name)*);
    };
    (@store $module:ident $kind:ident $($name:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let here = super::Here::new(super::Kind::$kind).await;
                    super::$name(&here).await;
                    here.close().await;
                }
            )*
        }
    };
}

on_every_store!(
    ties_share_a_rank_and_are_in_the_order_of_their_names,
    random_operations_agree_with_a_sorted_list,
    windows_are_counted_apart_and_forgotten,
    old_windows_go_where_all_is_written_in_transactions,
    concurrent_additions_are_all_counted,
    scores_do_not_leave_their_bounds,
    names_are_told_apart_byte_by_byte,
    ten_thousand_members,
    options_out_of_their_bounds_are_refused,
);

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Memory,
    Sqlite,
    Postgres,
    MariaDb,
    Redis,
}

struct Here {
    kind: Kind,
    store: BoardStore,
    clock: Clock,
    hand: Hand,
    database: Option<(Db, Fresh)>,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Here {
    async fn new(kind: Kind) -> Self {
        static SERVER: OnceCell<Broker> = OnceCell::const_new();
        let engine = match kind {
            Kind::Sqlite => Some(Engine::Sqlite),
            Kind::Postgres => Some(Engine::Postgres),
            Kind::MariaDb => Some(Engine::MariaDb),
            Kind::Memory | Kind::Redis => None,
        };
        let (clock, hand) = Clock::manual();
        let Some(engine) = engine else {
            let store = if kind == Kind::Memory {
                BoardStore::memory(20_000)
            } else {
                let url = SERVER.get_or_init(Broker::redis).await.url();
                let prefix = format!("t{:x}", Rng::system().u64(0..u64::MAX));
                BoardStore::redis(&url, &prefix).await.unwrap()
            };
            return Self { kind, store, clock, hand, database: None };
        };
        let fresh = Fresh::new(engine).await;
        let db = Db::connect(fresh.url()).await.unwrap();
        mainstay_cache::install(&db).await.unwrap();
        Self { kind, store: BoardStore::sql(&db), clock, hand, database: Some((db, fresh)) }
    }

    fn board(&self, name: &str) -> Board {
        Board::new(name, self.store.clone()).clock(self.clock.clone())
    }

    async fn close(self) {
        if let Some((db, fresh)) = self.database {
            let _ = db.close(Duration::from_secs(5)).await;
            fresh.remove().await;
        }
    }
}

/// The board, done naively.
#[derive(Default)]
struct Oracle(BTreeMap<String, i64>);

impl Oracle {
    fn list(&self) -> Vec<Entry> {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by_key(|(member, score)| (std::cmp::Reverse(**score), (*member).clone()));
        let rank = |score| all.iter().filter(|(_, other)| **other > score).count() as u64 + 1;
        let line = |(member, score): &(&String, &i64)| Entry {
            rank: rank(**score),
            member: (*member).clone(),
            score: **score,
        };
        all.iter().map(line).collect()
    }
}

fn ranks(entries: &[Entry]) -> Vec<(u64, &str, i64)> {
    entries.iter().map(|e| (e.rank, e.member.as_str(), e.score)).collect()
}

async fn ties_share_a_rank_and_are_in_the_order_of_their_names(here: &Here) {
    let board = here.board("ties");
    assert!(board.is_empty().await.unwrap() && board.top(5).await.unwrap().is_empty());
    for (member, score) in [("d", 7), ("c", 8), ("a", 9), ("b", 8), ("e", -1), ("f", 0)] {
        assert_eq!(board.add(member, score).await.unwrap(), score);
    }
    let all = board.top(10).await.unwrap();
    assert_eq!(
        ranks(&all),
        [(1, "a", 9), (2, "b", 8), (2, "c", 8), (4, "d", 7), (5, "f", 0), (6, "e", -1)]
    );
    assert_eq!(board.rank("c").await.unwrap(), Some(Standing { rank: 2, score: 8 }));
    assert_eq!(board.rank("nobody").await.unwrap(), None);
    // A page that begins among them.
    assert_eq!(ranks(&board.range(3, 2).await.unwrap()), [(2, "c", 8), (4, "d", 7)]);
    assert_eq!(
        ranks(&board.around("c", 1).await.unwrap()),
        [(2, "b", 8), (2, "c", 8), (4, "d", 7)]
    );
    assert!(board.around("nobody", 1).await.unwrap().is_empty());
    assert!(board.remove("b").await.unwrap() && !board.remove("b").await.unwrap());
    assert_eq!(board.len().await.unwrap(), 5);
    board.set("e", 100).await.unwrap();
    assert_eq!(ranks(&board.top(1).await.unwrap()), [(1, "e", 100)]);
    assert_eq!(here.board("other").len().await.unwrap(), 0);
}

async fn random_operations_agree_with_a_sorted_list(here: &Here) {
    let rng = Rng::seeded(42);
    let (board, mut oracle) = (here.board("random"), Oracle::default());
    for step in 0..400 {
        let member = format!("m{}", rng.u64(0..30));
        let number = rng.u64(0..12) as i64 - 6;
        match rng.u64(0..8) {
            0 => {
                let was = oracle.0.remove(&member).is_some();
                assert_eq!(board.remove(&member).await.unwrap(), was, "{step}");
            }
            1 => {
                board.set(&member, number).await.unwrap();
                oracle.0.insert(member, number);
            }
            2 | 3 => {
                let list = oracle.list();
                let at = list.iter().position(|e| e.member == member);
                let n = rng.u64(0..5) as usize;
                let near = at.map_or(&[][..], |at| {
                    &list[at.saturating_sub(n)..(at + n + 1).min(list.len())]
                });
                assert_eq!(board.around(&member, n as u32).await.unwrap(), near, "{step}");
                let standing = at.map(|at| Standing { rank: list[at].rank, score: list[at].score });
                assert_eq!(board.rank(&member).await.unwrap(), standing, "{step}");
                let skip = rng.u64(0..35) as usize;
                let page: Vec<_> = list.into_iter().skip(skip).take(7).collect();
                assert_eq!(board.range(skip as u64 + 1, 7).await.unwrap(), page, "{step}");
            }
            _ => {
                let score = oracle.0.entry(member.clone()).or_default();
                *score += number;
                assert_eq!(board.add(&member, number).await.unwrap(), *score, "{step}");
            }
        }
    }
    assert_eq!(board.top(1000).await.unwrap(), oracle.list());
    assert_eq!(board.len().await.unwrap(), oracle.0.len() as u64);
}

async fn windows_are_counted_apart_and_forgotten(here: &Here) {
    let days = here.board("sales").window(Window::Day).keep(2);
    let (weeks, ever) = (here.board("sales").window(Window::Week), here.board("sales"));
    // 1970-01-01 was a Thursday.
    for day in 0..5 {
        for board in [&days, &weeks, &ever] {
            board.add("cup", 10 + day).await.unwrap();
        }
        here.hand.advance(DAY);
    }
    here.hand.advance(Duration::from_secs(3600));
    assert_eq!(ever.rank("cup").await.unwrap().unwrap().score, 60);
    assert_eq!(weeks.rank("cup").await.unwrap().unwrap().score, 14, "Monday's");
    assert_eq!(weeks.at(UNIX_EPOCH).rank("cup").await.unwrap().unwrap().score, 46);
    assert_eq!(days.rank("cup").await.unwrap(), None, "today's has not begun");
    assert_eq!(days.at(UNIX_EPOCH + 4 * DAY).top(1).await.unwrap()[0].score, 14);
    let gone = days.at(UNIX_EPOCH + 3 * DAY);
    assert!(gone.top(1).await.unwrap().is_empty() && gone.is_empty().await.unwrap());
    assert_eq!(gone.add("cup", 1).await.unwrap_err().code(), Code::CacheOption);
    days.at(UNIX_EPOCH + 4 * DAY).add("cup", 1).await.unwrap();
    if let Some((db, _)) = &here.database {
        days.prune().await.unwrap();
        let left: i64 = db.query("SELECT COUNT(*) FROM mainstay_board").scalar().await.unwrap();
        assert_eq!(left, 4, "a day, two weeks, and all time");
    }
}

async fn old_windows_go_where_all_is_written_in_transactions(here: &Here) {
    let Some((db, _)) = &here.database else { return };
    let board = here.board("sales").window(Window::Day).keep(2);
    for _ in 0..5 {
        let add = |tx: Db| {
            let board = board.on(&tx);
            async move { board?.add("cup", 1).await }
        };
        db.transaction(add).await.unwrap();
        here.hand.advance(DAY);
    }
    let left: i64 = db.query("SELECT COUNT(*) FROM mainstay_board").scalar().await.unwrap();
    assert_eq!(left, 2, "days");
}

async fn concurrent_additions_are_all_counted(here: &Here) {
    let board = here.board("busy");
    let adds = (0..8).map(|task| {
        let board = board.clone();
        tokio::spawn(async move {
            for n in 0..10 {
                board.add(["a", "b"][(task + n) % 2], 1).await.unwrap();
            }
        })
    });
    for add in adds.collect::<Vec<_>>() {
        add.await.unwrap();
    }
    assert_eq!(ranks(&board.top(2).await.unwrap()), [(1, "a", 40), (1, "b", 40)]);
}

async fn scores_do_not_leave_their_bounds(here: &Here) {
    let board = here.board("large");
    let (least, most) = match here.kind {
        Kind::Redis => (-(1 << 53), 1 << 53),
        _ => (i64::MIN, i64::MAX),
    };
    board.set("most", most).await.unwrap();
    board.set("least", least).await.unwrap();
    assert_eq!(ranks(&board.top(2).await.unwrap()), [(1, "most", most), (2, "least", least)]);
    for (member, delta, stays) in [("most", 1, most), ("least", -1, least)] {
        let error = board.add(member, delta).await.unwrap_err();
        assert_eq!(error.code(), Code::CacheOption, "{error:?}");
        assert_eq!(board.rank(member).await.unwrap().unwrap().score, stays);
        assert_eq!(board.add(member, -delta).await.unwrap(), stays - delta);
        assert_eq!(board.add(member, delta).await.unwrap(), stays);
    }
    if here.kind == Kind::Redis {
        assert_eq!(board.set("x", most + 1).await.unwrap_err().code(), Code::CacheOption);
        assert_eq!(board.add("x", i64::MIN).await.unwrap_err().code(), Code::CacheOption);
    }
}

async fn names_are_told_apart_byte_by_byte(here: &Here) {
    let board = here.board("names");
    let mut names = ["cup", "cup ", "Cup", "CUP", "cüp", "カップ", "c'u\\p", " cup"];
    for name in names {
        board.add(name, 1).await.unwrap();
    }
    names.sort_unstable();
    let told = board.top(20).await.unwrap();
    assert_eq!(told.iter().map(|e| e.member.as_str()).collect::<Vec<_>>(), names);
    for refused in ["", "a\0b", &"x".repeat(201)] {
        assert_eq!(board.add(refused, 1).await.unwrap_err().code(), Code::CacheOption);
    }
}

async fn ten_thousand_members(here: &Here) {
    let board = here.board("many");
    match &here.database {
        // One by one would be a test of the disk.
        Some((db, _)) => {
            db.transaction(|tx| {
                let board = board.on(&tx);
                async move {
                    let board = board?;
                    for n in 0..10_000 {
                        board.set(&format!("m{n:05}"), n / 3).await?;
                    }
                    Ok(())
                }
            })
            .await
            .unwrap();
        }
        None => {
            for n in 0..10_000 {
                board.set(&format!("m{n:05}"), n / 3).await.unwrap();
            }
        }
    }
    assert_eq!(board.len().await.unwrap(), 10_000);
    // 9999 has 3333 alone; 3 * 1000 to 3 * 1000 + 2 have 1000, and 10,000 - 3003 are above.
    let standing = board.rank("m03001").await.unwrap();
    assert_eq!(standing, Some(Standing { rank: 6998, score: 1000 }));
    let near = board.around("m03001", 2).await.unwrap();
    assert_eq!(
        ranks(&near),
        [
            (6995, "m03005", 1001),
            (6998, "m03000", 1000),
            (6998, "m03001", 1000),
            (6998, "m03002", 1000),
            (7001, "m02997", 999),
        ]
    );
    let last = board.range(9_999, 10).await.unwrap();
    assert_eq!(ranks(&last), [(9998, "m00001", 0), (9998, "m00002", 0)]);
    assert_eq!(board.top(1000).await.unwrap().len(), 1000);
}

async fn options_out_of_their_bounds_are_refused(here: &Here) {
    let code = |error: Error| error.code();
    let board = here.board("ok");
    let long = "x".repeat(101);
    for name in ["", "a b", "ä", long.as_str()] {
        assert_eq!(here.board(name).len().await.map_err(code), Err(Code::CacheOption), "{name}");
    }
    for keep in [0, 1001] {
        let refused = here.board("ok").keep(keep).add("a", 1).await;
        assert_eq!(refused.map_err(code), Err(Code::CacheOption));
    }
    assert_eq!(board.top(1001).await.map_err(code), Err(Code::CacheOption));
    assert_eq!(board.range(0, 1).await.map_err(code), Err(Code::CacheOption));
    let before = board.at(UNIX_EPOCH - DAY);
    assert_eq!(before.len().await.map_err(code), Err(Code::CacheOption));
}

/// What only a database has.
mod tables {
    use super::*;

    async fn joins(kind: Kind) {
        let here = Here::new(kind).await;
        let (db, _) = here.database.as_ref().unwrap();
        let board = here.board("orders");
        for commits in [false, true] {
            let outcome = db
                .transaction(|tx| {
                    let board = board.on(&tx);
                    async move {
                        assert_eq!(board?.add("teapot", 2).await?, 2);
                        if commits { Ok(()) } else { Err(Error::user("no")) }
                    }
                })
                .await;
            assert_eq!(outcome.is_ok(), commits);
        }
        assert_eq!(board.rank("teapot").await.unwrap().unwrap().score, 2);
        here.close().await;
    }

    mod sqlite {
        #[tokio::test]
        async fn a_score_commits_with_the_order() {
            super::joins(super::Kind::Sqlite).await;
        }
    }
    mod postgres {
        #[tokio::test]
        async fn a_score_commits_with_the_order() {
            super::joins(super::Kind::Postgres).await;
        }
    }
    mod mariadb {
        #[tokio::test]
        async fn a_score_commits_with_the_order() {
            super::joins(super::Kind::MariaDb).await;
        }
    }
}

#[tokio::test]
async fn memory_is_bounded_and_joins_nothing() {
    let store = BoardStore::memory(2);
    let (one, other) = (Board::new("a", store.clone()), Board::new("b", store));
    one.add("x", 1).await.unwrap();
    other.add("x", 1).await.unwrap();
    assert_eq!(one.add("y", 1).await.unwrap_err().code(), Code::CacheStore);
    assert_eq!(one.add("x", 1).await.unwrap(), 2);
    other.remove("x").await.unwrap();
    one.add("y", 1).await.unwrap();
    let db = Db::connect("sqlite::memory:").await.unwrap();
    assert_eq!(one.on(&db).unwrap_err().code(), Code::CacheOption);
    let tables = Board::new("a", BoardStore::sql(&db));
    assert_eq!(tables.add("x", 1).await.unwrap_err().code(), Code::CacheSchema);
}
