//! What the orders service asks of two others: who orders and pays, and what things cost. Where they are in
//! this process, by a query; elsewhere, over HTTP. It is asked before the transaction that takes the order:
//! one that waited for somebody else would hold a connection meanwhile.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::StatusCode;
use mainstay::http::service::{Breaker, Endpoint, Failure, Reply, Service};
use mainstay::http::{Answer, Problem};
use mainstay::route::Databases;
use mainstay::{Code, Db, Error, Result};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::Services;
use crate::fresh::Reads;
use crate::part::Part;
use crate::products;

/// What is before each path of another service: the version that this one is written for.
const BASE: &str = "/api/v2";

const USER: Endpoint<Known> = Endpoint::get("/users/{id}");
const ACCOUNT: Endpoint<Owned> = Endpoint::get("/accounts/{id}");
/// A question, for all that it is a POST: it may be asked twice.
const PRICES: Endpoint<Prices, Skus> = Endpoint::post("/prices").idempotent(true);

/// For one question with all its attempts: whoever orders waits for it.
const TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(900);
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Short: a service that was started again is used again.
const OPEN_FOR: Duration = Duration::from_secs(1);

/// A user, of whom no more than that is of interest.
#[derive(Debug, Deserialize)]
struct Known {}

#[derive(Debug, Deserialize)]
struct Owned {
    owner_id: i64,
}

/// Asked of `POST /prices`: at most [`products::ASKED_MAX`].
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Skus {
    /// What is asked for.
    #[schema(max_items = 100)]
    pub skus: Vec<String>,
}

/// Its answer: cents, of those products that there are.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Prices {
    /// By SKU.
    pub prices: HashMap<String, i64>,
}

/// The users service.
#[derive(Clone, Debug)]
pub enum Users {
    /// In this process.
    Here(Reads),
    /// In another.
    There(Service),
}

/// The inventory service.
#[derive(Clone, Debug)]
pub enum Catalogue {
    /// In this process.
    Here(Db),
    /// In another.
    There(Service),
}

impl Users {
    /// Errors: CFG-003 where it is elsewhere, needed, and `services.users` does not say where.
    pub fn new(databases: &Databases, services: &Services) -> Result<Self> {
        Ok(match service(Part::Users, services)? {
            Some(service) => Users::There(service),
            None => Users::Here(Reads::new(databases)?),
        })
    }

    /// Checks that there is this user, and that the account, where one is named, is theirs: one question,
    /// unless something is wrong. Problems: 404, 422; 503 and 504 where nobody answers.
    pub async fn check(&self, user: i64, account: Option<i64>) -> Answer<()> {
        let owner = match account {
            Some(account) => self.owner(account).await?,
            None => None,
        };
        // Whoever has an account is there.
        if owner == Some(user) {
            return Ok(());
        }
        if !self.exists(user).await? {
            return Err(Problem::not_found("user", user));
        }
        match (account, owner) {
            (None, _) => Ok(()),
            (Some(account), None) => Err(Problem::not_found("account", account)),
            (Some(account), Some(_)) => {
                Err(Problem::invalid(format!("account {account} is not user {user}'s")))
            }
        }
    }

    async fn exists(&self, user: i64) -> Answer<bool> {
        Ok(match self {
            Users::Here(reads) => {
                let read = |db: Db| async move {
                    let found = db.query("SELECT id FROM users WHERE id = $1").bind(user);
                    found.optional::<(i64,)>().await
                };
                reads.find(read).await?.is_some()
            }
            Users::There(service) => {
                let asked = service.call(&USER).arg("id", user).send().await;
                found(service, asked)?.is_some()
            }
        })
    }

    async fn owner(&self, account: i64) -> Answer<Option<i64>> {
        Ok(match self {
            Users::Here(reads) => {
                let read = |db: Db| async move {
                    let found = db.query("SELECT owner_id FROM accounts WHERE id = $1");
                    found.bind(account).optional::<(i64,)>().await
                };
                reads.find(read).await?.map(|(owner,)| owner)
            }
            Users::There(service) => {
                let asked = service.call(&ACCOUNT).arg("id", account).send().await;
                found(service, asked)?.map(|account| account.owner_id)
            }
        })
    }
}

impl Catalogue {
    /// Errors: CFG-003 where it is elsewhere, needed, and `services.inventory` does not say where.
    pub fn new(db: &Db, services: &Services) -> Result<Self> {
        Ok(match service(Part::Inventory, services)? {
            Some(service) => Catalogue::There(service),
            None => Catalogue::Here(db.clone()),
        })
    }

    /// The prices of those of `skus` that there are, in one question. Problems: 503 and 504 where nobody
    /// answers.
    pub async fn prices(&self, skus: Vec<String>) -> Answer<HashMap<String, i64>> {
        match self {
            Catalogue::Here(db) => Ok(products::prices_of(db, skus).await?),
            Catalogue::There(service) => {
                let asked = service.call_with(&PRICES, &Skus { skus }).send().await;
                asked.map(|answer| answer.prices).map_err(|error| failed(service, error))
            }
        }
    }
}

/// `part`, users or inventory, where it is to be asked over HTTP. Only the orders service asks, so only a
/// process that is that one alone needs to know where the others are. Errors: CFG-003.
pub(crate) fn service(part: Part, services: &Services) -> Result<Option<Service>> {
    if services.run != Part::Orders {
        return Ok(None);
    }
    let url = if part == Part::Users { &services.users } else { &services.inventory };
    let key = format!("services.{part}");
    let Some(url) = url else {
        let variable = format!("MAINSTAY_SERVICES__{}", part.as_str().to_uppercase());
        let what = format!("`{key}` is not set, and the orders service asks {part}");
        let fix = format!("say where it is: `{key}` in mainstay.toml, or {variable}");
        return Err(Error::new(Code::ConfigValue, what).fix(fix));
    };
    let target = format!("{}{BASE}", url.trim_end_matches('/'));
    let service = Service::builder(part.as_str(), [target])
        .timeout(TIMEOUT)
        .attempt_timeout(ATTEMPT_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .breaker(Breaker::new().open_for(OPEN_FOR))
        .build();
    let wrong = |e| Error::new(Code::ConfigValue, format!("`{key}` is no service's URL")).cause(e);
    service.map(Some).map_err(wrong)
}

/// What was asked for, or that there is none.
fn found<R>(service: &Service, asked: Result<R>) -> Answer<Option<R>> {
    match asked {
        Ok(found) => Ok(Some(found)),
        Err(error) if refused(&error).is_some_and(|r| r.status() == StatusCode::NOT_FOUND) => {
            Ok(None)
        }
        Err(error) => Err(failed(service, error)),
    }
}

/// The answer that refused what was asked.
fn refused(error: &Error) -> Option<&Reply> {
    (error.code() == Code::ServiceRefused).then(|| error.detail::<Failure>()?.reply.as_ref())?
}

/// As its own words where it is the caller's to correct; else that it does not answer, and that nothing
/// came of it: the order is written after all questions.
fn failed(service: &Service, error: Error) -> Problem {
    #[derive(Deserialize)]
    struct Told {
        detail: String,
    }
    if let Some(reply) = refused(&error)
        && reply.status() == StatusCode::UNPROCESSABLE_ENTITY
        && let Ok(told) = reply.json::<Told>()
    {
        return Problem::invalid(told.detail);
    }
    let (status, title) = match error.code() {
        Code::ServiceDeadline => (StatusCode::GATEWAY_TIMEOUT, "Deadline passed"),
        Code::ServiceBreaker
        | Code::ServiceBulkhead
        | Code::ServiceBudget
        | Code::ServiceFailed
        | Code::ServiceAnswer => (StatusCode::SERVICE_UNAVAILABLE, "Overloaded or down"),
        _ => return error.into(),
    };
    tracing::error!("{}", error.report());
    let detail = format!("{} does not answer; nothing was done, try again", service.name());
    Problem::new(status, title, detail).with_code(error.code())
}
