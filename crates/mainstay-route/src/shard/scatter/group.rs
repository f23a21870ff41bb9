//! A group as the caller reads it.

use std::sync::Arc;

use mainstay_core::{Code, Error, Result};

use super::cell::{Cell, FromCell};

/// A group, put together from the shards' parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    names: Arc<[String]>,
    cells: Vec<Cell>,
}

impl Group {
    pub(super) fn new(names: &Arc<[String]>, cells: Vec<Cell>) -> Self {
        Self { names: Arc::clone(names), cells }
    }

    /// The column `name`: an alias, a column's name, or else the expression as SQL. Errors: DB-014 (no such column),
    /// DB-015 (another type, or NULL).
    pub fn get<T: FromCell>(&self, name: &str) -> Result<T> {
        let at = self.names.iter().position(|own| own == name);
        let none = || {
            Error::new(Code::ColumnMissing, format!("the group has no column `{name}`"))
                .why(format!("its columns are {}", self.names.join(", ")))
        };
        self.at(at.ok_or_else(none)?)
    }

    /// The column at `index`, from 0. Errors: as [`get`](Self::get).
    pub fn at<T: FromCell>(&self, index: usize) -> Result<T> {
        let Some(cell) = self.cells.get(index) else {
            let what = format!("the group has no column at {index}: it has {}", self.cells.len());
            return Err(Error::new(Code::ColumnMissing, what));
        };
        T::from_cell(cell).ok_or_else(|| {
            let name = self.names.get(index).map_or("", String::as_str);
            Error::new(Code::Decode, format!("column `{name}` can't be read"))
                .why(format!("it can't be read as {}", std::any::type_name::<T>()))
        })
    }
}

/// What a group can be read as: tuples of up to eight, and [`Group`] itself.
pub trait FromGroup: Sized {
    /// Errors: as [`Group::get`].
    fn from_group(group: Group) -> Result<Self>;
}

impl FromGroup for Group {
    fn from_group(group: Group) -> Result<Self> {
        Ok(group)
    }
}

macro_rules! tuples {
    ($($($of:ident $at:literal),+;)+) => {
        $(impl<$($of: FromCell),+> FromGroup for ($($of,)+) {
            fn from_group(group: Group) -> Result<Self> {
                Ok(($(group.at::<$of>($at)?,)+))
            }
        })+
    };
}
tuples! {
    A 0;
    A 0, B 1;
    A 0, B 1, C 2;
    A 0, B 1, C 2, D 3;
    A 0, B 1, C 2, D 3, E 4;
    A 0, B 1, C 2, D 3, E 4, F 5;
    A 0, B 1, C 2, D 3, E 4, F 5, G 6;
    A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7;
}
