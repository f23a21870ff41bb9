//! Loading rows by keys: for a list that is at hand, or through a [`Loader`](crate::Loader).

mod eager;
mod key;
mod loaders;
mod statement;

pub use eager::{load_many, load_one};
pub use key::{Key, ToKey};
pub use statement::Rows;
