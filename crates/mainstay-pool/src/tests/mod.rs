//! Unit tests of the files that the models include, kept out of them.

mod shed;
mod slots;
mod waiters;
