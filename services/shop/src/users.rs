//! Users.

use axum::extract::State;
use axum::http::StatusCode;
use mainstay::jobs::Jobs;
use mainstay::{Code, Db, Error, FromRow, Violation};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::events::WelcomeMail;
use crate::extract::{Id, Params};
use crate::page::{Listed, Page};
use crate::schema;
use crate::state::Shop;
use crate::v1::{ListedWithEmail, MadeWithEmail, ReadWithEmail};
use mainstay::http::{Answer, Lifted, Lowered, Problem};

const NAME_MAX_CHARS: usize = 200;
const EMAIL_MAX_CHARS: usize = 320;

/// What changed where a user is made.
pub type Create = (MadeWithEmail,);
/// Where one is read.
pub type Read = (ReadWithEmail,);
/// And in lists.
pub type List = (ListedWithEmail,);

/// A user.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct User {
    pub(crate) id: i64,
    pub(crate) name: String,
    /// Null for who was made by version 1 of the API.
    pub(crate) email: Option<String>,
}

/// What a user is made from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    #[schema(min_length = 1, max_length = 200)]
    pub(crate) name: String,
    /// Must be there and be no null: only version 1 leaves it out.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = String, max_length = 320, pattern = "^[^@]+@[^@]")]
    pub(crate) email: Option<String>,
}

fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    String::deserialize(from).map(Some)
}

/// `POST /users`: 201; 409 where the address is taken; 422.
#[utoipa::path(post, path = "/users", tag = "users", request_body = NewUser, responses(
    (status = 201, body = User), (status = 409, description = "The email is taken"), (status = 422)))]
pub async fn create(
    State(db): State<Db>,
    Lifted(new, reply): Lifted<Create>,
) -> Answer<(StatusCode, Lowered<Create>)> {
    let NewUser { name, email } = new;
    if name.trim().is_empty() || name.chars().count() > NAME_MAX_CHARS {
        return Err(Problem::invalid(format!("name must have 1 to {NAME_MAX_CHARS} characters")));
    }
    if !email.as_deref().is_none_or(is_plausible) {
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
    Ok((StatusCode::CREATED, reply.lower(User { id, name, email })?))
}

/// Whether an address exists, only a letter to it tells.
fn is_plausible(email: &str) -> bool {
    let parts = email.split_once('@');
    parts.is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
        && !email.chars().any(char::is_control)
        && email.chars().count() <= EMAIL_MAX_CHARS
}

fn is_about_email(error: &Error) -> bool {
    error.detail::<Violation>().is_some_and(|v| {
        v.constraint.as_deref() == Some("users_email_key") || v.columns.iter().any(|c| c == "email")
    })
}

/// `GET /users/{id}`.
#[utoipa::path(get, path = "/users/{id}", tag = "users", params(("id" = i64, Path)), responses(
    (status = 200, body = User), (status = 404)))]
pub async fn get(
    State(shop): State<Shop>,
    Id(id): Id<i64>,
    Lifted((), reply): Lifted<Read>,
) -> Answer<Lowered<Read>> {
    let read = |db: Db| async move {
        db.query("SELECT id, name, email FROM users WHERE id = $1").bind(id).optional().await
    };
    let user: Option<User> = shop.reads.find(read).await?;
    reply.lower(user.ok_or_else(|| Problem::not_found("user", id))?)
}

/// `GET /users?limit=&after=`.
#[utoipa::path(get, path = "/users", tag = "users", params(Page), responses(
    (status = 200, body = Listed<User>), (status = 422)))]
pub async fn list(
    State(db): State<Db>,
    Params(page): Params<Page>,
    Lifted((), reply): Lifted<List>,
) -> Answer<Lowered<List>> {
    let (after, limit) = page.bounds()?;
    let users: Vec<User> = db
        .query("SELECT id, name, email FROM users WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(after)
        .bind(limit)
        .all()
        .await?;
    reply.lower(Listed::new(users, limit, |u| u.id))
}
