//! Sessions as they are described: secrets, times and the cookie. It asks no store.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};

use super::cookie::{Cookie, SameSite};
use super::store::SessionStore;
use super::token::Signer;
use super::{Sessions, Shared};

const SECRET_BYTES_MIN: usize = 32;
const SECRETS_MAX: usize = 8;
/// Of the idle timeout, and of the lifetime.
const TIME_MIN: Duration = Duration::from_secs(60);
/// Browsers keep no cookie longer.
const TIME_MAX: Duration = Duration::from_secs(400 * 24 * 3600);

/// Sessions that are being described. Made by [`Sessions::builder`].
#[must_use = "nothing is made until build()"]
pub struct SessionsBuilder {
    store: SessionStore,
    secrets: Vec<Vec<u8>>,
    idle: Duration,
    lifetime: Duration,
    name: String,
    secure: bool,
    same_site: SameSite,
    clock: Clock,
}

impl SessionsBuilder {
    pub(super) fn new(store: SessionStore) -> Self {
        Self {
            store,
            secrets: Vec::new(),
            idle: Duration::from_secs(30 * 60),
            lifetime: Duration::from_secs(14 * 24 * 3600),
            name: "session".to_owned(),
            secure: true,
            same_site: SameSite::Lax,
            clock: Clock::system(),
        }
    }

    /// What cookies are signed with: at least 32 random bytes. To change it, give the new one first and the
    /// old one after it, for as long as sessions live: the first signs, all (up to 8) are believed.
    pub fn secret(mut self, secret: &[u8]) -> Self {
        self.secrets.push(secret.to_vec());
        self
    }

    /// How long a session lives without being used: a minute to 400 days; default 30 minutes.
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// How long a session lives however much it is used: a minute to 400 days; default 14 days.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// The cookie's name, without a prefix: 1 to 64 of `A-Za-z0-9_-`; default `session`.
    pub fn cookie_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Whether the cookie is sent over TLS alone, and no other host may set it (`__Host-`); default true.
    /// Without it, on plain HTTP for development, whoever listens has the session.
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Whether requests from other sites bring the cookie; default [`SameSite::Lax`].
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// What tells the time; default the machine's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Errors: CACHE-004, naming the option that is missing or out of its bounds.
    pub fn build(self) -> Result<Sessions> {
        self.check()?;
        let cookie = Cookie::new(&self.name, self.secure, self.same_site);
        Ok(Sessions {
            shared: Arc::new(Shared {
                signer: Signer::new(&self.secrets),
                cookie,
                idle: self.idle,
                lifetime: self.lifetime,
                clock: self.clock,
                swept_us: AtomicI64::new(0),
            }),
            store: self.store,
        })
    }

    fn check(&self) -> Result<()> {
        if self.secrets.is_empty() || self.secrets.len() > SECRETS_MAX {
            return Err(wrong(format!("sessions need 1 to {SECRETS_MAX} secrets"))
                .fix("give secret(..) 32 random bytes from the configuration"));
        }
        if self.secrets.iter().any(|s| s.len() < SECRET_BYTES_MIN) {
            return Err(wrong(format!("a secret has less than {SECRET_BYTES_MIN} bytes"))
                .fix("make one with `openssl rand -hex 32`"));
        }
        for (option, time) in [("idle_timeout", self.idle), ("lifetime", self.lifetime)] {
            if !(TIME_MIN..=TIME_MAX).contains(&time) {
                return Err(wrong(format!("{option} is {time:?}: it is 60 s to 400 days")));
            }
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        let reserved = ["__host-", "__secure-"]
            .iter()
            .any(|prefix| self.name.to_ascii_lowercase().starts_with(prefix));
        if self.name.is_empty() || self.name.len() > 64 || reserved || !self.name.chars().all(fits)
        {
            return Err(wrong("cookie_name can't be the name of a cookie here").why(
                "a name has 1 to 64 of the characters A-Z a-z 0-9 _ -, and no prefix: secure adds it",
            ));
        }
        if self.same_site == SameSite::None && !self.secure {
            return Err(wrong("same_site is None without secure: browsers refuse such a cookie"));
        }
        Ok(())
    }
}

/// Without its secrets.
impl std::fmt::Debug for SessionsBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionsBuilder")
            .field("store", &self.store)
            .field("secrets", &self.secrets.len())
            .field("cookie_name", &self.name)
            .finish_non_exhaustive()
    }
}

fn wrong(what: impl Into<String>) -> Error {
    Error::new(Code::CacheOption, what.into())
}
