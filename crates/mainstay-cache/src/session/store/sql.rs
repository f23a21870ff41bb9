//! Sessions in the table `mainstay_session`. On the handle of a transaction, all of it joins it.

use mainstay_core::Result;
use mainstay_db::{Db, Engine};

use crate::schema::named;
use crate::session::record::{self, Changes, Login, Record, Saved, Span};

/// The text of a statement on each engine.
#[derive(Clone, Copy)]
struct Text {
    sqlite: &'static str,
    postgres: &'static str,
    mysql: &'static str,
}

impl Text {
    fn on(self, db: &Db) -> &'static str {
        match db.engine() {
            Engine::Sqlite => self.sqlite,
            Engine::Postgres => self.postgres,
            Engine::MySql => self.mysql,
        }
    }
}

const INSERT: &str = "INSERT INTO mainstay_session (id, user_id, created_us, seen_us, expires_us, data) \
                      VALUES ($1, $2, $3, $4, $5, $6)";

const LOAD: Text = Text {
    sqlite: "SELECT user_id, created_us, seen_us, data FROM mainstay_session WHERE id = $1",
    postgres: "SELECT user_id, created_us, seen_us, data FROM mainstay_session WHERE id = $1",
    mysql: "SELECT CONVERT(user_id USING utf8mb4), created_us, seen_us, data \
            FROM mainstay_session WHERE id = $1",
};

/// Two requests may come here at once; the later use stays.
const TOUCH: &str = "UPDATE mainstay_session SET seen_us = $2, expires_us = $3 \
                     WHERE id = $1 AND seen_us < $2";

/// SQLite has one writer at a time, who is in the transaction already.
const DATA: Text = Text {
    sqlite: "SELECT data FROM mainstay_session WHERE id = $1",
    postgres: "SELECT data FROM mainstay_session WHERE id = $1 FOR UPDATE",
    mysql: "SELECT data FROM mainstay_session WHERE id = $1 FOR UPDATE",
};

const ROTATE: &str =
    "UPDATE mainstay_session SET id = $2, seen_us = $3, expires_us = $4 WHERE id = $1";

const LOG_IN: &str = "UPDATE mainstay_session \
                      SET id = $2, seen_us = $3, expires_us = $4, user_id = $5, created_us = $6 \
                      WHERE id = $1";

const SWEEP: Text = Text {
    sqlite: "DELETE FROM mainstay_session WHERE id IN \
             (SELECT id FROM mainstay_session WHERE expires_us <= $1 ORDER BY expires_us LIMIT 200)",
    // Others who sweep at the same time take others.
    postgres: "DELETE FROM mainstay_session WHERE id = ANY(ARRAY(SELECT id FROM mainstay_session \
               WHERE expires_us <= $1 ORDER BY expires_us LIMIT 200 FOR UPDATE SKIP LOCKED))",
    mysql: "DELETE FROM mainstay_session WHERE expires_us <= $1 ORDER BY expires_us LIMIT 200",
};

#[derive(Clone)]
pub(super) struct Sql {
    db: Db,
}

impl Sql {
    pub(super) fn new(db: &Db) -> Self {
        // A replica may not know yet that somebody has logged out.
        Self { db: db.fresh() }
    }

    pub(super) fn place(&self) -> String {
        self.db.place()
    }

    pub(super) fn in_transaction(&self) -> bool {
        self.db.in_transaction()
    }

    pub(super) async fn insert(&self, key: &str, record: &Record, span: &Span) -> Result<()> {
        let data = serde_json::to_string(&record.data).map_err(|_| record::unreadable(None))?;
        let query = self.db.query(INSERT).bind(key).bind(record.user.clone());
        let query = query.bind(record.created_us).bind(record.seen_us).bind(span.expires_us);
        query.bind(data).execute().await.map_err(named)?;
        Ok(())
    }

    pub(super) async fn load(&self, key: &str) -> Result<Option<Record>> {
        type Row = (Option<String>, i64, i64, String);
        let row: Option<Row> =
            self.db.query(LOAD.on(&self.db)).bind(key).optional().await.map_err(named)?;
        let Some((user, created_us, seen_us, data)) = row else { return Ok(None) };
        let data = serde_json::from_str(&data).map_err(|_| record::unreadable(None))?;
        Ok(Some(Record { user, created_us, seen_us, data }))
    }

    pub(super) async fn touch(&self, key: &str, span: &Span) -> Result<()> {
        let query = self.db.query(TOUCH).bind(key).bind(span.seen_us).bind(span.expires_us);
        query.execute().await.map_err(named)?;
        Ok(())
    }

    pub(super) async fn merge(&self, key: &str, changes: &Changes) -> Result<Saved> {
        self.db
            .transaction(|tx| async move {
                let found = tx.query(DATA.on(&tx)).bind(key).optional::<(String,)>().await;
                let Some((stored,)) = found.map_err(named)? else { return Ok(Saved::Gone) };
                let mut data =
                    serde_json::from_str(&stored).map_err(|_| record::unreadable(None))?;
                if !record::merge(&mut data, changes) {
                    return Ok(Saved::TooLarge);
                }
                let text = serde_json::to_string(&data).map_err(|_| record::unreadable(None))?;
                let update = tx.query("UPDATE mainstay_session SET data = $2 WHERE id = $1");
                update.bind(key).bind(text).execute().await?;
                Ok(Saved::Done(data))
            })
            .await
    }

    pub(super) async fn shift(
        &self,
        from: &str,
        to: &str,
        login: Option<Login<'_>>,
        span: &Span,
    ) -> Result<bool> {
        let query = self.db.query(if login.is_some() { LOG_IN } else { ROTATE });
        let mut query = query.bind(from).bind(to).bind(span.seen_us).bind(span.expires_us);
        if let Some(login) = login {
            query = query.bind(login.user).bind(login.created_us);
        }
        Ok(query.execute().await.map_err(named)?.rows_affected() > 0)
    }

    pub(super) async fn delete(&self, key: &str) -> Result<()> {
        let query = self.db.query("DELETE FROM mainstay_session WHERE id = $1").bind(key);
        query.execute().await.map_err(named)?;
        Ok(())
    }

    pub(super) async fn delete_user(&self, user: &str, now_us: i64) -> Result<u64> {
        // First those that don't count.
        let ended = "DELETE FROM mainstay_session WHERE user_id = $1 AND expires_us <= $2";
        self.db.query(ended).bind(user).bind(now_us).execute().await.map_err(named)?;
        let all = self.db.query("DELETE FROM mainstay_session WHERE user_id = $1").bind(user);
        Ok(all.execute().await.map_err(named)?.rows_affected())
    }

    pub(super) async fn sweep(&self, now_us: i64) -> Result<u64> {
        let query = self.db.query(SWEEP.on(&self.db)).bind(now_us);
        Ok(query.execute().await.map_err(named)?.rows_affected())
    }
}
