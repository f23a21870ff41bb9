//! Running an examination: check by check, within its time, and no further once the database is in trouble.

use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine};

use super::check::Check;
use super::connect;
use super::ctx::{Answer, Ctx, Facts, SLOW, finding};
use super::options::Options;
use super::report::{Checked, Outcome, Report, Statement};
use super::words;
use super::{mysql, postgres, sqlite};
use crate::finding::{Finding, Severity};

/// From this share of the server's connections on it is left alone, but for what says why.
const CROWDED: f64 = 0.9;
/// How long the end of the connection is waited for.
const CLOSING: Duration = Duration::from_secs(1);

/// An examination that is being described; nothing happens until [`run`](Self::run).
#[derive(Clone, Debug)]
#[must_use = "nothing happens until run() is awaited"]
pub struct Examination {
    url: String,
    options: Options,
    clock: Clock,
}

impl Examination {
    /// Of the database at `url`, with a connection of its own.
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), options: Options::default(), clock: Clock::system() }
    }

    /// Its bounds and thresholds.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// The clock; default the machine's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Examines. It ends within [`Options::budget`], the time to connect (5 s) aside, and within half a second of it
    /// where the server has fallen silent.
    ///
    /// Cancel safe: dropped, the server is told to end what runs, and the connection is closed.
    ///
    /// Errors: those of connecting (CFG-004, DB-020 to DB-027). What a check can't tell is no error: its outcome is
    /// [`Outcome::Unknown`], with the reason.
    pub async fn run(self) -> Result<Report> {
        let began = self.clock.now();
        let db = connect::connect(&self.url, &self.options, &self.clock).await?;
        let place = place(&db);
        let report = self.examine(&db).await;
        // A server that has fallen silent is not waited for.
        let _ = db.close(CLOSING).await;
        report.map(|report| Report { place, took: self.clock.now() - began, ..report })
    }

    async fn examine(&self, db: &Db) -> Result<Report> {
        let mut ctx = Ctx {
            session: db.session().await?,
            options: self.options.clone(),
            facts: Facts { mariadb: db.is_mariadb(), ..Facts::default() },
            clock: self.clock.clone(),
            until: self.clock.now() + self.options.budget(),
            at: self.clock.wall(),
            statements: Vec::new(),
        };
        connect::guard(&mut ctx.session).await?;
        ctx.begins().await?;
        ctx.facts = facts(&mut ctx).await?;
        ctx.ends().await?;
        let (mut checks, mut stopped) = (Vec::new(), None);
        for check in wanted(&ctx) {
            let answer = match &stopped {
                Some(stopped) => Answer::Unknown(format!("not reached: {}", short(stopped))),
                None => one(&mut ctx, check, &mut stopped).await,
            };
            checks.push(checked(check, answer));
        }
        Ok(Report {
            version: 1,
            place: String::new(),
            engine: ctx.engine(),
            server_version: ctx.facts.version.clone(),
            took: Duration::ZERO,
            stopped,
            checks,
            statements: ctx.statements,
        })
    }
}

/// The statements of the database at `url` that took the most time, the dearest first; at most 100.
///
/// Errors: those of connecting; DOC-050 where the server does not count them, with the reason.
pub async fn top_statements(url: &str, options: Options) -> Result<Vec<Statement>> {
    let options = Options { only: vec![Check::Statements], skip: Vec::new(), ..options };
    let report = Examination::new(url).options(options).run().await?;
    match report.check(Check::Statements) {
        Some(checked) if checked.outcome == Outcome::Unknown => {
            Err(Error::new(Code::DoctorStopped, checked.detail.clone()))
        }
        _ => Ok(report.statements),
    }
}

fn place(db: &Db) -> String {
    let place = db.place();
    if db.is_mariadb() { place.replacen("MySQL", "MariaDB", 1) } else { place }
}

/// What was asked for: the engine's own checks, and others that were named, to say that they are not its.
fn wanted(ctx: &Ctx) -> Vec<Check> {
    let own = Check::of(ctx.engine());
    let named = ctx.options.only.iter().filter(|check| !own.contains(check));
    own.iter().chain(named).copied().filter(|check| ctx.options.wants(*check)).collect()
}

async fn facts(ctx: &mut Ctx) -> Result<Facts> {
    match ctx.engine() {
        Engine::Postgres => postgres::facts(ctx).await,
        Engine::MySql => mysql::facts(ctx).await,
        Engine::Sqlite => sqlite::facts(ctx).await,
    }
}

/// One check; `stopped` is set where it was the last.
async fn one(ctx: &mut Ctx, check: Check, stopped: &mut Option<Finding>) -> Answer {
    let engine = ctx.engine();
    if !Check::of(engine).contains(&check) {
        return Answer::Unknown(format!("not on {engine}"));
    }
    if check.reads_data() && ctx.options.prod {
        return Answer::Unknown("it reads the whole database: not with --prod".to_owned());
    }
    if let Some(why) = trouble(ctx, check).await {
        let answer = Answer::Unknown(format!("not reached: {}", short(&why)));
        *stopped = Some(why);
        return answer;
    }
    let found = match engine {
        Engine::Postgres => postgres::examine(check, ctx).await,
        Engine::MySql => mysql::examine(check, ctx).await,
        Engine::Sqlite => sqlite::examine(check, ctx).await,
    };
    let error = match found {
        Ok(answer) => match ctx.ends().await {
            Ok(()) => return answer,
            Err(error) => {
                *stopped = Some(lost(ctx, &error));
                return answer;
            }
        },
        Err(error) => error,
    };
    // SQLite has no server that could be in trouble: the statement was too long, and the next gets a new connection.
    let goes_on = match error.code() {
        Code::Deadline | Code::ConnectionLost => {
            engine == Engine::Sqlite && ctx.session.renew().await.is_ok()
        }
        Code::Unreachable | Code::Protocol | Code::Resources => false,
        _ => ctx.ends().await.is_ok(),
    };
    if !goes_on {
        *stopped = Some(lost(ctx, &error));
    }
    Answer::Unknown(unknown(&error))
}

/// Whether the next check would be one too many.
async fn trouble(ctx: &mut Ctx, check: Check) -> Option<Finding> {
    let began = ctx.clock.now();
    if began >= ctx.until {
        let budget = words::duration(ctx.options.budget());
        let what = format!("the {budget} that the examination may take are over");
        return Some(stop(ctx, Severity::Warning, what, String::new()));
    }
    let Facts { connections, connections_max, .. } = ctx.facts;
    if !check.is_urgent() && words::share(connections, connections_max) >= CROWDED {
        let what = format!("{connections} of {connections_max} connections are in use");
        return Some(stop(ctx, Severity::Error, what, "the server is left alone".to_owned()));
    }
    match ctx.begins().await {
        Err(error) => Some(lost(ctx, &error)),
        Ok(()) => {
            let took = ctx.clock.now() - began;
            (took > SLOW).then(|| {
                let what = format!("the database took {} for nothing", words::duration(took));
                stop(ctx, Severity::Error, what, "it is under load already".to_owned())
            })
        }
    }
}

fn lost(ctx: &Ctx, error: &Error) -> Finding {
    let what = format!("the database does not answer any more: {}", error.what());
    stop(ctx, Severity::Error, what, format!("{}: {}", error.code(), error.code().meaning()))
}

fn stop(ctx: &Ctx, severity: Severity, what: String, why: String) -> Finding {
    let evidence = if why.is_empty() { Vec::new() } else { vec![why] };
    let fix = Code::DoctorStopped.fix().to_owned();
    finding(ctx.at, (Code::DoctorStopped, severity), what, evidence, fix)
}

fn short(stopped: &Finding) -> String {
    stopped.what.clone()
}

/// Why a check could not tell.
fn unknown(error: &Error) -> String {
    let what = error.what();
    match error.code() {
        Code::Denied | Code::Auth => format!("no right: {what}"),
        Code::StatementCancelled | Code::Deadline => format!("it took too long: {what}"),
        Code::LockTimeout => format!("a lock was in the way: {what}"),
        code => format!("{code}: {what}"),
    }
}

fn checked(check: Check, answer: Answer) -> Checked {
    let (outcome, detail, findings) = match answer {
        Answer::Good(detail) => (Outcome::Good, detail, Vec::new()),
        Answer::Found(detail, findings) => (Outcome::Found, detail, findings),
        Answer::Unknown(why) => (Outcome::Unknown, why, Vec::new()),
    };
    Checked { check, outcome, detail, findings }
}
