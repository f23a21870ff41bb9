//! What version 1 of the API sends and gets: users without an email.

use mainstay::http::{Answer, Change, Version};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::V2;
use crate::page::Listed;
use crate::users::{NewUser, User};

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserV1 {
    id: i64,
    name: String,
}

impl From<User> for UserV1 {
    fn from(user: User) -> Self {
        Self { id: user.id, name: user.name }
    }
}

/// What a user is made from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUserV1 {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
}

/// Users have an email, where they are made.
#[derive(Debug)]
pub struct MadeWithEmail;

impl Change for MadeWithEmail {
    const SINCE: Version = V2;
    type OldRequest = NewUserV1;
    type NewRequest = NewUser;
    type OldResponse = UserV1;
    type NewResponse = User;

    fn lift(old: NewUserV1) -> Answer<NewUser> {
        Ok(NewUser { name: old.name, email: None })
    }

    fn lower(new: User) -> Answer<UserV1> {
        Ok(new.into())
    }
}

/// And where one is read.
#[derive(Debug)]
pub struct ReadWithEmail;

impl Change for ReadWithEmail {
    const SINCE: Version = V2;
    type OldRequest = ();
    type NewRequest = ();
    type OldResponse = UserV1;
    type NewResponse = User;

    fn lift((): ()) -> Answer<()> {
        Ok(())
    }

    fn lower(new: User) -> Answer<UserV1> {
        Ok(new.into())
    }
}

/// And in lists.
#[derive(Debug)]
pub struct ListedWithEmail;

impl Change for ListedWithEmail {
    const SINCE: Version = V2;
    type OldRequest = ();
    type NewRequest = ();
    type OldResponse = Listed<UserV1>;
    type NewResponse = Listed<User>;

    fn lift((): ()) -> Answer<()> {
        Ok(())
    }

    fn lower(new: Listed<User>) -> Answer<Listed<UserV1>> {
        Ok(Listed { items: new.items.into_iter().map(UserV1::from).collect(), next: new.next })
    }
}
