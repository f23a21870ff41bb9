//! Lists, a page at a time, by key: the cost of a page does not grow with its distance.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use mainstay::http::{Answer, Problem};

const LIMIT_DEFAULT: i64 = 20;
const LIMIT_MAX: i64 = 100;

/// Which page: `?limit=20&after=KEY`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Items at most, 1 to 100; default 20.
    #[param(minimum = 1, maximum = 100)]
    pub limit: Option<i64>,
    /// The key that the page before ended with.
    pub after: Option<i64>,
}

/// One page of a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Listed<T> {
    /// The items, by key.
    pub items: Vec<T>,
    /// The `after` of the next page; null at the end.
    pub next: Option<i64>,
}

impl Page {
    /// The key to begin after, and how many rows to read: one more than asked for, which tells
    /// whether there is a next page.
    pub fn bounds(&self) -> Answer<(i64, i64)> {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::invalid(format!(
                "limit is {limit}, and must be 1 to {LIMIT_MAX}"
            )));
        }
        Ok((self.after.unwrap_or(0), limit + 1))
    }
}

impl<T> Listed<T> {
    /// From the rows read for [`bounds`](Page::bounds).
    pub fn new(mut rows: Vec<T>, read: i64, key: impl Fn(&T) -> i64) -> Self {
        let more = rows.len() as i64 == read;
        if more {
            rows.pop();
        }
        let next = rows.last().filter(|_| more).map(key);
        Self { items: rows, next }
    }
}
