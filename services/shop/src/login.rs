//! Logging in, without passwords: who can read the mails of an address is its user. `POST /login` sends a
//! code, `POST /login/code` takes it, in the session alone that asked for it. That gets another id with each
//! try, and when it becomes a user's.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse};
use mainstay::cache::session::{Session, secret_bytes};
use mainstay::jobs::Jobs;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use crate::events::LoginMail;
use crate::extract::Body;
use crate::state::Shop;
use mainstay::http::{Answer, Problem};

/// Tries of one code; then another must be sent.
const TRIES_MAX: u32 = 5;

/// Who wants to log in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Address {
    email: String,
}

/// What was in the mail.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    code: String,
}

/// Who is logged in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    user_id: Option<i64>,
}

/// `POST /login`: 202 whether there is such a user or not.
#[utoipa::path(post, path = "/login", tag = "login", request_body = Address, responses((status = 202)))]
pub async fn ask(State(shop): State<Shop>, Body(who): Body<Address>) -> Answer<impl IntoResponse> {
    let email = who.email.trim();
    let user: Option<(i64,)> =
        shop.db.query("SELECT id FROM users WHERE email = $1").bind(email).optional().await?;
    let (mut session, cookie) = shop.sessions.start(None).await?;
    if let Some((user,)) = user {
        let code = format!("{:08}", u64::from_le_bytes(secret_bytes()?) % 100_000_000);
        session.set("login", &(user, &code, 0_u32))?;
        shop.sessions.save(&mut session).await?;
        shop.db.enqueue(&LoginMail { user, code }).await?;
    }
    Ok((StatusCode::ACCEPTED, AppendHeaders([(header::SET_COOKIE, cookie)]), Json(json!({}))))
}

/// `POST /login/code`: 200 and the user's session; 401.
#[utoipa::path(post, path = "/login/code", tag = "login", request_body = Sent, responses(
    (status = 200, body = Me), (status = 401)))]
pub async fn enter(
    State(shop): State<Shop>,
    headers: HeaderMap,
    Body(sent): Body<Sent>,
) -> Answer<impl IntoResponse> {
    let refused = || unauthorized("the code is not the one that was sent, or is no longer good");
    let mut session = open(&shop, &headers).await?.ok_or_else(refused)?;
    let (user, code, tries): (i64, String, u32) = session.get("login")?.ok_or_else(refused)?;
    // Of many that guess at once with one cookie, one gets past here: it is counted as often as it is tried.
    let cookie = shop.sessions.rotate(&mut session).await?.ok_or_else(refused)?;
    if code != sent.code || tries >= TRIES_MAX {
        session.set("login", &(user, code, tries + 1))?;
        shop.sessions.save(&mut session).await?;
        let cookie = HeaderValue::try_from(cookie).map_err(|_| refused())?;
        return Err(refused().with_header(header::SET_COOKIE, cookie));
    }
    // A code is good once.
    session.remove("login");
    shop.sessions.save(&mut session).await?;
    let (session, cookie) = shop.sessions.log_in(Some(session), &user.to_string()).await?;
    Ok((AppendHeaders([(header::SET_COOKIE, cookie)]), Json(who(&session))))
}

/// `GET /me`: whose session it is; 401.
#[utoipa::path(get, path = "/me", tag = "login", responses((status = 200, body = Me), (status = 401)))]
pub async fn me(State(shop): State<Shop>, headers: HeaderMap) -> Answer<Json<Me>> {
    let session = open(&shop, &headers).await?.filter(|session| session.user().is_some());
    session.map(|s| Json(who(&s))).ok_or_else(|| unauthorized("nobody is logged in"))
}

/// `DELETE /login`: 204. With `?everywhere=true` all sessions of the user end.
#[utoipa::path(delete, path = "/login", tag = "login", params(Which), responses(
    (status = 204), (status = 401)))]
pub async fn leave(
    State(shop): State<Shop>,
    headers: HeaderMap,
    crate::extract::Params(which): crate::extract::Params<Which>,
) -> Answer<impl IntoResponse> {
    let Some(session) = open(&shop, &headers).await? else {
        return Err(unauthorized("nobody is logged in"));
    };
    if which.everywhere
        && let Some(user) = session.user()
    {
        shop.sessions.revoke_all(user).await?;
    }
    let cookie = shop.sessions.end(session).await?;
    Ok((StatusCode::NO_CONTENT, AppendHeaders([(header::SET_COOKIE, cookie)])))
}

/// Which sessions end.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub struct Which {
    everywhere: bool,
}

async fn open(shop: &Shop, headers: &HeaderMap) -> Answer<Option<Session>> {
    let cookie = headers.get(header::COOKIE).and_then(|value| value.to_str().ok());
    Ok(shop.sessions.open(cookie).await?)
}

fn who(session: &Session) -> Me {
    Me { user_id: session.user().and_then(|user| user.parse().ok()) }
}

fn unauthorized(detail: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "Not logged in", detail)
}
