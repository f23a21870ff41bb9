//! A place in the program's source, taken by `#[track_caller]`.

use std::fmt;
use std::panic::Location;

/// File, line and column of a call. Copying it copies a pointer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(&'static Location<'static>);

impl Place {
    /// The caller's place; the functions between must be `#[track_caller]` too.
    #[track_caller]
    pub fn here() -> Self {
        Self(Location::caller())
    }

    /// The file, as the compiler was given it.
    pub fn file(self) -> &'static str {
        self.0.file()
    }

    /// The line, from 1.
    pub fn line(self) -> u32 {
        self.0.line()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file(), self.line())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
