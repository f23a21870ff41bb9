//! Sessions in Redis, which forgets them by itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::Result;

use super::scripts;
use crate::redis::{Again, Link};
use crate::session::record::{self, Changes, DATA_BYTES_MAX, Data, Login, Record, Saved, Span};

/// How long a question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Redis {
    link: Arc<Link>,
    /// What the keys of sessions begin with.
    sessions: Arc<str>,
    /// What the keys of their users begin with.
    users: Arc<str>,
}

impl Span {
    /// How long the record is kept from now on. At least a moment: no expiry would be for ever.
    fn ttl_ms(&self) -> i64 {
        (self.expires_us.saturating_sub(self.now_us) / 1000).max(1)
    }

    fn user_ttl_ms(&self) -> i64 {
        (self.ends_us.saturating_sub(self.now_us) / 1000).max(1)
    }
}

impl Redis {
    pub(super) async fn connect(url: &str, prefix: &str) -> Result<Self> {
        let link = Link::connect(url, ANSWER_WITHIN).await?;
        let (sessions, users) = (format!("{prefix}:session:"), format!("{prefix}:sessions-of:"));
        Ok(Self { link, sessions: sessions.into(), users: users.into() })
    }

    pub(super) fn place(&self) -> &str {
        &self.link.place
    }

    fn session(&self, key: &str) -> String {
        format!("{}{key}", self.sessions)
    }

    pub(super) async fn insert(&self, key: &str, record: &Record, span: &Span) -> Result<()> {
        let user = record.user.as_deref();
        let mut script = scripts::INSERT.key(self.session(key));
        script.key(format!("{}{}", self.users, user.unwrap_or_default()));
        script.arg(key).arg(span.now_us).arg(span.ends_us).arg(span.user_ttl_ms());
        script.arg(span.ttl_ms()).arg(i64::from(user.is_some()));
        script.arg("created").arg(record.created_us).arg("seen").arg(record.seen_us);
        if let Some(user) = user {
            script.arg("user").arg(user);
        }
        for (key, value) in &record.data {
            script.arg(format!("d:{key}")).arg(value.to_string());
        }
        self.link.script(&script, Again::Once).await
    }

    pub(super) async fn load(&self, key: &str) -> Result<Option<Record>> {
        let mut all = redis::cmd("HGETALL");
        all.arg(self.session(key));
        let mut fields: HashMap<String, String> = self.link.command(&all, Again::Once).await?;
        if fields.is_empty() {
            return Ok(None);
        }
        let time = |name| fields.get(name).and_then(|text: &String| text.parse().ok());
        let (Some(created_us), Some(seen_us)) = (time("created"), time("seen")) else {
            return Err(record::unreadable(None));
        };
        let user = fields.remove("user");
        Ok(Some(Record { user, created_us, seen_us, data: data_of(fields)? }))
    }

    pub(super) async fn touch(&self, key: &str, span: &Span) -> Result<()> {
        let mut script = scripts::TOUCH.key(self.session(key));
        script.arg(span.seen_us).arg(span.ttl_ms());
        self.link.script(&script, Again::Once).await
    }

    pub(super) async fn merge(&self, key: &str, changes: &Changes) -> Result<Saved> {
        let mut script = scripts::MERGE.key(self.session(key));
        script.arg(DATA_BYTES_MAX);
        for (key, value) in changes {
            let (what, value) = match value {
                Some(value) => ("set", value.to_string()),
                None => ("remove", String::new()),
            };
            script.arg(what).arg(format!("d:{key}")).arg(value);
        }
        let answer: Vec<String> = self.link.script(&script, Again::Once).await?;
        match answer.split_first().map(|(word, rest)| (word.as_str(), rest)) {
            Some(("done", rest)) => {
                let pairs = rest.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
                Ok(Saved::Done(data_of(pairs)?))
            }
            Some(("large", _)) => Ok(Saved::TooLarge),
            _ => Ok(Saved::Gone),
        }
    }

    pub(super) async fn shift(
        &self,
        from: &str,
        to: &str,
        login: Option<Login<'_>>,
        span: &Span,
    ) -> Result<bool> {
        let mut script = scripts::SHIFT.key(self.session(from));
        script.key(self.session(to)).arg(&*self.users).arg(from).arg(to);
        script.arg(span.now_us).arg(span.ends_us).arg(span.user_ttl_ms()).arg(span.ttl_ms());
        script.arg(span.seen_us);
        if let Some(login) = login {
            script.arg(login.user).arg(login.created_us);
        }
        // Done twice, it would say that there was none.
        self.link.script(&script, Again::Never).await
    }

    pub(super) async fn delete(&self, key: &str) -> Result<()> {
        let mut script = scripts::DELETE.key(self.session(key));
        script.arg(&*self.users).arg(key);
        self.link.script(&script, Again::Once).await
    }

    pub(super) async fn delete_user(&self, user: &str, _: i64) -> Result<u64> {
        let mut script = scripts::DELETE_USER.key(format!("{}{user}", self.users));
        script.arg(&*self.sessions);
        self.link.script(&script, Again::Once).await
    }
}

/// The fields that are data.
fn data_of(fields: impl IntoIterator<Item = (String, String)>) -> Result<Data> {
    let data = fields.into_iter().filter_map(|(field, value)| {
        let key = field.strip_prefix("d:")?.to_owned();
        Some(serde_json::from_str(&value).map(|value| (key, value)))
    });
    data.collect::<Result<_, _>>().map_err(|_| record::unreadable(None))
}
