//! Sessions on every store: what a forged, fixed, rotated, revoked or outdated cookie opens, and two requests
//! of one session at once.

use std::time::Duration;

use mainstay_cache::session::{Session, SessionStore, Sessions, SessionsBuilder};
use mainstay_core::clock::{Clock, Hand};
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
    a_session_is_opened_by_its_cookie_alone,
    what_was_not_signed_here_opens_nothing,
    a_login_ends_the_id_that_was_known_before,
    a_rotation_keeps_the_data_and_not_the_id,
    a_user_s_data_do_not_reach_the_next_user,
    secrets_are_rotated,
    all_of_a_user_s_sessions_are_revoked,
    what_has_ended_does_not_come_back,
    an_unused_session_ends_and_a_used_one_slides,
    no_session_outlives_its_lifetime,
    two_requests_keep_each_other_s_changes,
    data_are_bounded_after_merging_too,
    names_are_told_apart_byte_by_byte,
);

enum Kind {
    Memory,
    Sqlite,
    Postgres,
    MariaDb,
    Redis,
}

/// A store with nothing in it, and a clock that stands still.
struct Here {
    store: SessionStore,
    clock: Clock,
    hand: Hand,
    database: Option<(Db, Fresh)>,
}

const SECRET: [u8; 32] = [7; 32];
const MINUTE: Duration = Duration::from_secs(60);

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
            let store = if matches!(kind, Kind::Memory) {
                SessionStore::memory(1000)
            } else {
                let url = SERVER.get_or_init(Broker::redis).await.url();
                let prefix = format!("t{:x}", mainstay_core::rng::Rng::system().u64(0..u64::MAX));
                SessionStore::redis(&url, &prefix).await.unwrap()
            };
            return Self { store, clock, hand, database: None };
        };
        let fresh = Fresh::new(engine).await;
        let db = Db::connect(fresh.url()).await.unwrap();
        mainstay_cache::install(&db).await.unwrap();
        Self { store: SessionStore::sql(&db), clock, hand, database: Some((db, fresh)) }
    }

    fn builder(&self) -> SessionsBuilder {
        Sessions::builder(self.store.clone()).clock(self.clock.clone())
    }

    fn sessions(&self) -> Sessions {
        self.builder().secret(&SECRET).build().unwrap()
    }

    async fn close(self) {
        if let Some((db, fresh)) = self.database {
            let _ = db.close(Duration::from_secs(5)).await;
            fresh.remove().await;
        }
    }
}

/// What a browser sends back.
fn sent(set_cookie: &str) -> String {
    format!("other=1; {}", set_cookie.split(';').next().unwrap())
}

async fn opened(sessions: &Sessions, set_cookie: &str) -> Option<Session> {
    sessions.open(Some(&sent(set_cookie))).await.unwrap()
}

async fn a_session_is_opened_by_its_cookie_alone(here: &Here) {
    let sessions = here.sessions();
    let (mut session, cookie) = sessions.start(Some("ann")).await.unwrap();
    assert!(cookie.starts_with("__Host-session="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; Max-Age=1209600; HttpOnly; SameSite=Lax; Secure"));
    session.set("cart", &[1, 2]).unwrap();
    session.set("gone", &true).unwrap();
    assert!(session.remove("gone"));
    assert!(sessions.save(&mut session).await.unwrap());

    let again = opened(&sessions, &cookie).await.unwrap();
    assert_eq!(again.user(), Some("ann"));
    assert_eq!(again.get::<Vec<u32>>("cart").unwrap(), Some(vec![1, 2]));
    assert_eq!(again.get::<bool>("gone").unwrap(), None);
    assert!(sessions.open(None).await.unwrap().is_none());
    assert!(sessions.open(Some("other=1")).await.unwrap().is_none());

    let removal = sessions.end(again).await.unwrap();
    assert!(removal.starts_with("__Host-session=; Path=/; Max-Age=0;"), "{removal}");
    assert!(opened(&sessions, &cookie).await.is_none());
}

async fn what_was_not_signed_here_opens_nothing(here: &Here) {
    let sessions = here.sessions();
    let (session, cookie) = sessions.start(Some("ann")).await.unwrap();
    let value = sent(&cookie).split_once("__Host-session=").unwrap().1.to_owned();
    let mut changed = value.clone().into_bytes();
    changed[3] = if changed[3] == b'0' { b'1' } else { b'0' };
    let changed = String::from_utf8(changed).unwrap();
    let mac = "0".repeat(64);
    for forged in
        [changed, session.id().to_owned(), format!("{}.{mac}", session.id()), String::new()]
    {
        let header = format!("__Host-session={forged}");
        assert!(sessions.open(Some(&header)).await.unwrap().is_none(), "{forged}");
        // One that another path set does not hide the true one.
        let both = format!("{header}; __Host-session={value}");
        assert!(sessions.open(Some(&both)).await.unwrap().is_some());
    }
    // Another kind of session with the same secret.
    let other = here.builder().secret(&SECRET).cookie_name("admin").build().unwrap();
    assert!(other.open(Some(&format!("__Host-admin={value}"))).await.unwrap().is_none());
}

async fn a_login_ends_the_id_that_was_known_before(here: &Here) {
    let sessions = here.sessions();
    let (mut visitor, planted) = sessions.start(None).await.unwrap();
    visitor.set("cart", &3).unwrap();
    sessions.save(&mut visitor).await.unwrap();
    let known = visitor.id().to_owned();

    let (session, cookie) = sessions.log_in(Some(visitor), "ann").await.unwrap();
    assert_ne!(session.id(), known);
    assert!(opened(&sessions, &planted).await.is_none(), "the attacker's cookie is nobody's");
    let session = opened(&sessions, &cookie).await.unwrap();
    assert_eq!((session.user(), session.get("cart").unwrap()), (Some("ann"), Some(3)));
    assert_eq!(sessions.revoke_all("ann").await.unwrap(), 1);
}

async fn a_rotation_keeps_the_data_and_not_the_id(here: &Here) {
    let sessions = here.sessions();
    let (mut session, before) = sessions.start(Some("ann")).await.unwrap();
    session.set("a", &1).unwrap();
    sessions.save(&mut session).await.unwrap();
    session.set("b", &2).unwrap();
    let after = sessions.rotate(&mut session).await.unwrap().unwrap();
    assert!(sessions.save(&mut session).await.unwrap());
    assert!(opened(&sessions, &before).await.is_none());
    let session = opened(&sessions, &after).await.unwrap();
    assert_eq!((session.get("a").unwrap(), session.get("b").unwrap()), (Some(1), Some(2)));
    assert_eq!(sessions.revoke_all("ann").await.unwrap(), 1);
}

async fn a_user_s_data_do_not_reach_the_next_user(here: &Here) {
    let sessions = here.sessions();
    let (mut session, before) = sessions.start(Some("ann")).await.unwrap();
    session.set("card", "4111").unwrap();
    sessions.save(&mut session).await.unwrap();
    let (session, _) = sessions.log_in(Some(session), "bob").await.unwrap();
    assert_eq!(session.get::<String>("card").unwrap(), None);
    assert!(opened(&sessions, &before).await.is_none());
}

async fn secrets_are_rotated(here: &Here) {
    let new = [8; 32];
    let (_, old_cookie) = here.sessions().start(None).await.unwrap();
    let both = here.builder().secret(&new).secret(&SECRET).build().unwrap();
    assert!(opened(&both, &old_cookie).await.is_some());
    let (_, new_cookie) = both.start(None).await.unwrap();
    let after = here.builder().secret(&new).build().unwrap();
    assert!(opened(&after, &new_cookie).await.is_some());
    assert!(opened(&after, &old_cookie).await.is_none());
    assert!(opened(&here.sessions(), &new_cookie).await.is_none());
}

async fn all_of_a_user_s_sessions_are_revoked(here: &Here) {
    let sessions = here.sessions();
    let mut cookies = Vec::new();
    for _ in 0..5 {
        cookies.push(sessions.start(Some("ann")).await.unwrap().1);
    }
    let (_, bob) = sessions.start(Some("bob")).await.unwrap();
    assert_eq!(sessions.revoke_all("ann").await.unwrap(), 5);
    for cookie in cookies {
        assert!(opened(&sessions, &cookie).await.is_none());
    }
    assert!(opened(&sessions, &bob).await.is_some());
    assert_eq!(sessions.revoke_all("ann").await.unwrap(), 0);
}

async fn what_has_ended_does_not_come_back(here: &Here) {
    let sessions = here.sessions();
    let (mut session, cookie) = sessions.start(Some("ann")).await.unwrap();
    sessions.revoke_all("ann").await.unwrap();
    session.set("a", &1).unwrap();
    assert!(!sessions.save(&mut session).await.unwrap());
    assert!(sessions.rotate(&mut session).await.unwrap().is_none());
    assert!(opened(&sessions, &cookie).await.is_none());
    assert_eq!(sessions.revoke_all("ann").await.unwrap(), 0);
    // A new login is one.
    let (session, _) = sessions.log_in(Some(session), "ann").await.unwrap();
    assert_eq!(session.get::<u8>("a").unwrap(), None);
}

async fn an_unused_session_ends_and_a_used_one_slides(here: &Here) {
    let sessions = here.builder().secret(&SECRET).idle_timeout(10 * MINUTE).build().unwrap();
    let (_, used) = sessions.start(Some("ann")).await.unwrap();
    let (_, unused) = sessions.start(Some("ann")).await.unwrap();
    for _ in 0..4 {
        here.hand.advance(4 * MINUTE);
        assert!(opened(&sessions, &used).await.is_some());
    }
    assert!(opened(&sessions, &unused).await.is_none());
    here.hand.advance(10 * MINUTE);
    assert!(opened(&sessions, &used).await.is_none());
    sessions.sweep().await.unwrap();
    assert_eq!(sessions.revoke_all("ann").await.unwrap(), 0);
}

async fn no_session_outlives_its_lifetime(here: &Here) {
    let builder = here.builder().secret(&SECRET).idle_timeout(10 * MINUTE).lifetime(20 * MINUTE);
    let sessions = builder.build().unwrap();
    let (mut session, mut cookie) = sessions.start(Some("ann")).await.unwrap();
    for minute in (5..20).step_by(5) {
        here.hand.advance(5 * MINUTE);
        assert!(opened(&sessions, &cookie).await.is_some(), "{minute}");
        // Nor by new ids.
        cookie = sessions.rotate(&mut session).await.unwrap().unwrap();
        assert!(cookie.contains(&format!("Max-Age={};", 60 * (20 - minute))), "{cookie}");
    }
    here.hand.advance(5 * MINUTE);
    assert!(opened(&sessions, &cookie).await.is_none());
}

async fn two_requests_keep_each_other_s_changes(here: &Here) {
    let sessions = here.sessions();
    let (mut session, cookie) = sessions.start(None).await.unwrap();
    session.set("removed", &1).unwrap();
    session.set("both", &0).unwrap();
    sessions.save(&mut session).await.unwrap();
    let mut one = opened(&sessions, &cookie).await.unwrap();
    let mut other = opened(&sessions, &cookie).await.unwrap();
    one.set("one", &1).unwrap();
    one.set("both", &1).unwrap();
    one.remove("removed");
    other.set("other", &2).unwrap();
    other.set("both", &2).unwrap();
    sessions.save(&mut one).await.unwrap();
    sessions.save(&mut other).await.unwrap();
    assert_eq!(other.get("one").unwrap(), Some(1), "what others stored is read back");
    let after = opened(&sessions, &cookie).await.unwrap();
    let get = |key| after.get::<i32>(key).unwrap();
    assert_eq!(
        (get("one"), get("other"), get("both"), get("removed")),
        (Some(1), Some(2), Some(2), None)
    );

    // And all at once.
    let saves = (0..16).map(|n| {
        let (sessions, cookie) = (sessions.clone(), cookie.clone());
        tokio::spawn(async move {
            let mut session = opened(&sessions, &cookie).await.unwrap();
            session.set(&format!("k{n}"), &n).unwrap();
            assert!(sessions.save(&mut session).await.unwrap());
        })
    });
    for save in saves.collect::<Vec<_>>() {
        save.await.unwrap();
    }
    let after = opened(&sessions, &cookie).await.unwrap();
    for n in 0..16 {
        assert_eq!(after.get(&format!("k{n}")).unwrap(), Some(n));
    }
}

async fn data_are_bounded_after_merging_too(here: &Here) {
    let sessions = here.sessions();
    let (mut one, cookie) = sessions.start(None).await.unwrap();
    let mut other = opened(&sessions, &cookie).await.unwrap();
    one.set("a", &"x".repeat(2500)).unwrap();
    other.set("b", &"x".repeat(2500)).unwrap();
    assert!(sessions.save(&mut one).await.unwrap());
    assert_eq!(sessions.save(&mut other).await.unwrap_err().code(), Code::SessionData);
    let after = opened(&sessions, &cookie).await.unwrap();
    assert!(after.get::<String>("a").unwrap().is_some());
    assert!(after.get::<String>("b").unwrap().is_none());
}

async fn names_are_told_apart_byte_by_byte(here: &Here) {
    let sessions = here.sessions();
    for user in ["ann", "ann ", "Ann", "änn", "日本", "a'b\\"] {
        let (_, cookie) = sessions.start(Some(user)).await.unwrap();
        assert_eq!(opened(&sessions, &cookie).await.unwrap().user(), Some(user));
    }
    assert_eq!(sessions.revoke_all("ann").await.unwrap(), 1);
    assert_eq!(sessions.revoke_all("日本").await.unwrap(), 1);
    for refused in ["", "a\0", &"x".repeat(201)] {
        let error = sessions.start(Some(refused)).await.err().unwrap();
        assert_eq!(error.code(), Code::SessionData);
    }
}

/// What only a database has.
mod tables {
    use super::*;

    async fn joins(kind: Kind) {
        let here = Here::new(kind).await;
        let (db, _) = here.database.as_ref().unwrap();
        let sessions = here.sessions();
        let outcome = db
            .transaction(|tx| {
                let sessions = sessions.on(&tx);
                async move {
                    sessions?.start(Some("ann")).await?;
                    Err::<(), _>(Error::user("changed my mind"))
                }
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(sessions.revoke_all("ann").await.unwrap(), 0);
        let (session, _) = sessions.start(Some("ann")).await.unwrap();
        let stored: String = db.query("SELECT id FROM mainstay_session").scalar().await.unwrap();
        assert_ne!(stored, session.id(), "who reads the table can't be ann");
        here.close().await;
    }

    mod sqlite {
        #[tokio::test]
        async fn they_join_a_transaction() {
            super::joins(super::Kind::Sqlite).await;
        }
    }
    mod postgres {
        #[tokio::test]
        async fn they_join_a_transaction() {
            super::joins(super::Kind::Postgres).await;
        }
    }
    mod mariadb {
        #[tokio::test]
        async fn they_join_a_transaction() {
            super::joins(super::Kind::MariaDb).await;
        }
    }
}

#[tokio::test]
async fn memory_is_bounded() {
    let sessions = Sessions::builder(SessionStore::memory(2)).secret(&SECRET).build().unwrap();
    let (_, first) = sessions.start(None).await.unwrap();
    let (_, second) = sessions.start(None).await.unwrap();
    let (_, third) = sessions.start(None).await.unwrap();
    let mut open = 0;
    for cookie in [&first, &second, &third] {
        open += usize::from(opened(&sessions, cookie).await.is_some());
    }
    assert_eq!(open, 2);
    assert!(opened(&sessions, &third).await.is_some());
}

#[test]
fn options_out_of_their_bounds_are_named() {
    let new = || Sessions::builder(SessionStore::memory(1));
    let secret = || new().secret(&SECRET);
    for (builder, part) in [
        (new(), "secret"),
        (new().secret(&[1; 31]), "32 bytes"),
        (secret().idle_timeout(Duration::ZERO), "idle_timeout"),
        (secret().lifetime(Duration::MAX), "lifetime"),
        (secret().cookie_name("a b"), "cookie_name"),
        (secret().cookie_name("__Host-a"), "cookie_name"),
        (secret().secure(false).same_site(mainstay_cache::session::SameSite::None), "same_site"),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.code(), Code::CacheOption);
        assert!(error.to_string().contains(part), "{error}");
    }
    let printed = format!("{:?}", secret().build().unwrap());
    assert!(!printed.contains("7, 7"), "{printed}");
}
