//! Users.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mainstay::jobs::Jobs;
use mainstay::{Code, Db, Error, FromRow, Violation};
use serde::{Deserialize, Serialize};

use crate::events::WelcomeMail;
use crate::extract::{Body, Id, Params};
use crate::page::{Listed, Page};
use crate::problem::{Answer, Problem};
use crate::schema;

const NAME_MAX_CHARS: usize = 200;
const EMAIL_MAX_CHARS: usize = 320;

/// A user.
#[derive(Debug, Serialize, FromRow)]
pub struct User {
    id: i64,
    name: String,
    email: String,
}

/// What a user is made from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    name: String,
    email: String,
}

/// `POST /users`: 201; 409 where the address is taken; 422.
pub async fn create(
    State(db): State<Db>,
    Body(new): Body<NewUser>,
) -> Answer<(StatusCode, Json<User>)> {
    let NewUser { name, email } = new;
    if name.trim().is_empty() || name.chars().count() > NAME_MAX_CHARS {
        return Err(Problem::invalid(format!("name must have 1 to {NAME_MAX_CHARS} characters")));
    }
    // Whether an address exists, only a letter to it tells.
    let plausible =
        email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
    if !plausible || email.chars().count() > EMAIL_MAX_CHARS {
        return Err(Problem::invalid("email is no address"));
    }
    let (given_name, given_email) = (&name, &email);
    let id = db
        .transaction(|tx| async move {
            let id = schema::insert(
                &tx,
                "INSERT INTO users (name, email) VALUES ($1, $2)",
                "INSERT INTO users (name, email) VALUES ($1, $2) RETURNING id",
                [given_name.clone().into(), given_email.clone().into()],
            )
            .await?;
            // Written if the user is there, and only then.
            tx.enqueue(&WelcomeMail { user: id }).await?;
            Ok(id)
        })
        .await
        .map_err(|error| match error.code() {
            Code::Unique if is_about_email(&error) => {
                Problem::conflict("Already exists", "another user has this email")
            }
            _ => error.into(),
        })?;
    Ok((StatusCode::CREATED, Json(User { id, name, email })))
}

fn is_about_email(error: &Error) -> bool {
    error.detail::<Violation>().is_some_and(|v| {
        v.constraint.as_deref() == Some("users_email_key") || v.columns.iter().any(|c| c == "email")
    })
}

/// `GET /users/{id}`.
pub async fn get(State(db): State<Db>, Id(id): Id<i64>) -> Answer<Json<User>> {
    let user =
        db.query("SELECT id, name, email FROM users WHERE id = $1").bind(id).optional().await?;
    user.map(Json).ok_or_else(|| Problem::not_found("user", id))
}

/// `GET /users?limit=&after=`.
pub async fn list(State(db): State<Db>, Params(page): Params<Page>) -> Answer<Json<Listed<User>>> {
    let (after, limit) = page.bounds()?;
    let users: Vec<User> = db
        .query("SELECT id, name, email FROM users WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(after)
        .bind(limit)
        .all()
        .await?;
    Ok(Json(Listed::new(users, limit, |u| u.id)))
}
