//! The doctor: names the classic failures of a backend with their file and line.
//!
//! [`Doctor`] watches a running service; [`trace`] and [`replay`] do the same with what was recorded; [`strict`] makes a
//! test of it. [`exam`] looks over any database, [`advice`] finds the indexes that it lacks, [`plan`] reads and judges
//! its plans.
//!
//! It changes nothing: neither the program that it looks at nor the database.

pub mod advice;
pub mod detect;
pub mod exam;
mod finding;
mod guard;
mod live;
pub mod plan;
mod settings;
pub mod strict;
pub mod trace;

pub use detect::{Limits, replay, replay_with};
pub use finding::{Cost, Finding, Severity};
pub use live::{Builder, Doctor, RecordOptions, Recorded, Suppression};
pub use settings::Settings;
