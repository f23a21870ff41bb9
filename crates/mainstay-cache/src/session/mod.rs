//! Sessions: who a browser is, by a signed cookie and a record in a store.
//!
//! Strings in and strings out: it knows no HTTP framework, sets no header and checks no password. It
//! guards against a cookie that was forged, guessed, fixed beforehand or kept past its end; against
//! cross-site requests it has `SameSite` alone.

mod builder;
mod cookie;
mod record;
pub(crate) mod schema;
mod state;
mod store;
mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use mainstay_core::Result;
use mainstay_core::clock::Clock;
use mainstay_db::Db;

pub use self::builder::SessionsBuilder;
use self::cookie::Cookie;
pub use self::cookie::SameSite;
pub use self::record::{DATA_BYTES_MAX, KEY_BYTES_MAX, USER_BYTES_MAX};
use self::record::{Login, Record, Saved, Span, check_user};
pub use self::state::Session;
pub use self::store::SessionStore;
pub use self::token::secret_bytes;
use self::token::{Id, Signer};

/// Use of a session is written down at most this often.
const TOUCH_US: i64 = 60 * 1_000_000;
/// Ended records are looked for at most this often, by who starts a session.
const SWEEP_US: i64 = 1_000_000;

/// Starts, opens and ends sessions. Cheap to clone.
///
/// The cookie is `__Host-session=ID.SIGNATURE; Path=/; Max-Age=...; HttpOnly; SameSite=Lax; Secure`. The
/// id has 256 bits of the system's randomness; the store has its SHA-256 alone, so that who reads the
/// store can't be anybody. A session ends `idle_timeout` (default 30 minutes) after its last use, noted to
/// the minute, and `lifetime` (default 14 days) after it began or its user logged in; the cookie's
/// `Max-Age` is the second, so that it need not be sent again. Times are this process's: machines of a
/// fleet that differ by seconds differ by seconds in when a session ends.
///
/// All methods are cancel safe in this sense: dropped half-way, the store did it or did not. Errors of all:
/// CACHE-001 (the store), CACHE-005 (no tables), and those of a statement.
///
/// ```no_run
/// use mainstay_cache::session::{SessionStore, Sessions};
///
/// # async fn example(secret: &[u8], header: Option<&str>) -> mainstay_core::Result<()> {
/// let sessions = Sessions::builder(SessionStore::memory(100_000)).secret(secret).build()?;
/// // At the login, whoever the visitor was before:
/// let visitor = sessions.open(header).await?;
/// let (mut session, set_cookie) = sessions.log_in(visitor, "ann").await?;
/// session.set("theme", &"dark")?;
/// sessions.save(&mut session).await?;
/// # let _ = set_cookie; Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Sessions {
    shared: Arc<Shared>,
    store: SessionStore,
}

struct Shared {
    signer: Signer,
    cookie: Cookie,
    idle: Duration,
    lifetime: Duration,
    clock: Clock,
    swept_us: AtomicI64,
}

impl Sessions {
    /// Begins to describe sessions that are kept in `store`. See [`SessionsBuilder`] for the defaults.
    pub fn builder(store: SessionStore) -> SessionsBuilder {
        SessionsBuilder::new(store)
    }

    /// The same sessions through `db`, such as an open transaction: what is done then commits or vanishes
    /// with the rest. For tables alone.
    ///
    /// Errors: CACHE-004 where the store is another.
    pub fn on(&self, db: &Db) -> Result<Self> {
        Ok(Self { shared: Arc::clone(&self.shared), store: self.store.on(db)? })
    }

    /// Starts a session, of `user` or of a visitor, with the `Set-Cookie` to send.
    ///
    /// Errors: CACHE-006 where the user's name is empty, too long or has a NUL.
    pub async fn start(&self, user: Option<&str>) -> Result<(Session, String)> {
        user.map(check_user).transpose()?;
        let now_us = self.now_us();
        self.sweep_now_and_then(now_us).await?;
        let id = Id::new()?;
        let record = Record::new(user, now_us);
        self.store.insert(&id.key(), &record, &self.span(record.created_us, now_us)).await?;
        let set_cookie = self.set_cookie(&id, &record, now_us);
        Ok((Session::new(id, record), set_cookie))
    }

    /// The session that the `Cookie` header names. `None` without one, and where it was forged, is unknown
    /// or has ended. The store is asked only for an id that was signed here.
    pub async fn open(&self, cookie_header: Option<&str>) -> Result<Option<Session>> {
        let shared = &self.shared;
        let mut values = cookie_header.into_iter().flat_map(|h| shared.cookie.values(h));
        let Some(id) = values.find_map(|v| shared.signer.verify(&shared.cookie.name, v)) else {
            return Ok(None);
        };
        let key = id.key();
        let Some(mut record) = self.store.load(&key).await? else { return Ok(None) };
        let now_us = self.now_us();
        if self.span(record.created_us, record.seen_us).expires_us <= now_us {
            self.store.delete(&key).await?;
            return Ok(None);
        }
        // A short idle timeout is slid more often than its sessions end.
        let touch_us = TOUCH_US.min(micros(shared.idle) / 4);
        if now_us - record.seen_us >= touch_us {
            record.seen_us = now_us;
            self.store.touch(&key, &self.span(record.created_us, now_us)).await?;
        }
        Ok(Some(Session::new(id, record)))
    }

    /// Stores what was set and removed since the session was opened, key by key: what another request of
    /// it stored under other keys stays, and is read back into `session`. `false` where it has ended
    /// meanwhile: nothing is stored, and it does not come back to life.
    ///
    /// Errors: CACHE-006 where it grew over 4 KiB together with what others stored; nothing is stored then.
    pub async fn save(&self, session: &mut Session) -> Result<bool> {
        if session.changes.is_empty() {
            return Ok(true);
        }
        match self.store.merge(&session.id.key(), &session.changes).await? {
            Saved::Done(data) => {
                session.record.data = data;
                session.changes.clear();
                Ok(true)
            }
            Saved::Gone => Ok(false),
            Saved::TooLarge => Err(record::too_large()),
        }
    }

    /// Gives the session a new id, and the `Set-Cookie` to send. The old id opens nothing from now on.
    /// `None` where it has ended meanwhile. What was not saved is still to be saved.
    pub async fn rotate(&self, session: &mut Session) -> Result<Option<String>> {
        self.shift(session, None).await
    }

    /// Makes it `user`'s session, under a new id, with the `Set-Cookie` to send: whoever knew the old id, or
    /// made the browser have it, gains nothing. A visitor's data are kept, another user's are not. Its
    /// lifetime begins anew. With no session, or one that has ended, a new one is started.
    ///
    /// Errors: as [`start`](Self::start).
    pub async fn log_in(&self, session: Option<Session>, user: &str) -> Result<(Session, String)> {
        check_user(user)?;
        if let Some(mut session) = session {
            if session.user().is_none_or(|before| before == user) {
                if let Some(set_cookie) = self.shift(&mut session, Some(user)).await? {
                    return Ok((session, set_cookie));
                }
            } else {
                self.store.delete(&session.id.key()).await?;
            }
        }
        self.start(Some(user)).await
    }

    /// Ends the session; returns the `Set-Cookie` that takes the cookie away. Ending twice is fine.
    pub async fn end(&self, session: Session) -> Result<String> {
        self.store.delete(&session.id.key()).await?;
        Ok(self.shared.cookie.removal())
    }

    /// Ends all sessions of `user`, on all machines: how many there were.
    ///
    /// Errors: as [`start`](Self::start).
    pub async fn revoke_all(&self, user: &str) -> Result<u64> {
        check_user(user)?;
        self.store.delete_user(user, self.now_us()).await
    }

    /// Removes the records of all sessions that ended by themselves: how many. Not needed where sessions are
    /// started all the time: each start, at most one a second and none in a transaction, removes up to 200.
    pub async fn sweep(&self) -> Result<u64> {
        let now_us = self.now_us();
        let mut total = 0;
        loop {
            let removed = self.store.sweep(now_us).await?;
            total += removed;
            if removed == 0 {
                return Ok(total);
            }
        }
    }

    async fn shift(&self, session: &mut Session, user: Option<&str>) -> Result<Option<String>> {
        let now_us = self.now_us();
        let to = Id::new()?;
        let created_us = if user.is_some() { now_us } else { session.record.created_us };
        let span = self.span(created_us, now_us);
        let login = user.map(|user| Login { user, created_us });
        if !self.store.shift(&session.id.key(), &to.key(), login, &span).await? {
            return Ok(None);
        }
        session.id = to;
        session.record.created_us = created_us;
        session.record.seen_us = now_us;
        if let Some(user) = user {
            session.record.user = Some(user.to_owned());
        }
        Ok(Some(self.set_cookie(&session.id, &session.record, now_us)))
    }

    async fn sweep_now_and_then(&self, now_us: i64) -> Result<()> {
        let before = self.shared.swept_us.load(Ordering::Relaxed);
        let due = now_us - before >= SWEEP_US && !self.store.in_transaction();
        let swap = |a, b| {
            self.shared.swept_us.compare_exchange(a, b, Ordering::Relaxed, Ordering::Relaxed)
        };
        if due && swap(before, now_us).is_ok() {
            self.store.sweep(now_us).await?;
        }
        Ok(())
    }

    fn set_cookie(&self, id: &Id, record: &Record, now_us: i64) -> String {
        let Shared { cookie, signer, lifetime, .. } = &*self.shared;
        let left_us = record.created_us.saturating_add(micros(*lifetime)) - now_us;
        cookie.set(&signer.sign(&cookie.name, id), left_us / 1_000_000)
    }

    fn span(&self, created_us: i64, seen_us: i64) -> Span {
        let ends_us = created_us.saturating_add(micros(self.shared.lifetime));
        let idle_us = seen_us.saturating_add(micros(self.shared.idle));
        Span { now_us: self.now_us(), seen_us, expires_us: ends_us.min(idle_us), ends_us }
    }

    fn now_us(&self) -> i64 {
        micros(self.shared.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

/// Without its secrets.
impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions")
            .field("cookie", &self.shared.cookie.name)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
