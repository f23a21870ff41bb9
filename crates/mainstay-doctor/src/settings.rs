//! `[doctor]` of a service's configuration: a doctor by settings alone.

use std::path::PathBuf;
use std::time::SystemTime;

use mainstay_core::Result;
use mainstay_core::clock::Clock;
use mainstay_db::Db;
use serde::{Deserialize, Serialize};

use crate::advice;
use crate::live::{Doctor, RecordOptions};

/// What `[doctor]` says. By default there is no doctor.
///
/// ```
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
/// # let folder = tempfile::tempdir().unwrap();
/// # let db = mainstay_db::Db::connect("sqlite::memory:").await?;
/// use mainstay_doctor::Settings;
///
/// let settings = Settings { record: Some(folder.path().to_owned()), ..Settings::default() };
/// let doctor = settings.watch(&db)?.expect("recording needs one");
/// db.query("SELECT 1").execute().await?;
/// assert_eq!(doctor.stop_recording().await.unwrap().lines, 1);
/// # Ok::<(), mainstay_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Whether there is a doctor that watches. Also true where one of the others is set.
    pub watch: bool,
    /// The file that all statements are recorded to, which must not be there; or a folder, in which each start
    /// makes a file of its own.
    pub record: Option<PathBuf>,
    /// The most bytes of such a file; default 256 MiB.
    pub record_bytes_max: Option<u64>,
    /// Whether indexes are advised on and plans judged: see [`Builder::advise`](crate::Builder::advise). No index is
    /// built anywhere for that, so without HypoPG PostgreSQL has none to tell of, nor has MariaDB.
    pub advise: bool,
}

impl Settings {
    /// A doctor that watches `db` as these say; `None` if there is to be none. It watches until its last clone is
    /// dropped.
    ///
    /// Errors: DOC-019 where the recording can't be made.
    pub fn watch(&self, db: &Db) -> Result<Option<Doctor>> {
        if !(self.watch || self.advise || self.record.is_some()) {
            return Ok(None);
        }
        let mut builder = Doctor::builder();
        if self.advise {
            builder = builder.advise(advice::Options {
                scratch: advice::Scratch::Off,
                ..advice::Options::default()
            });
        }
        let doctor = builder.build();
        doctor.watch(db);
        if let Some(path) = &self.record {
            let path =
                if path.is_dir() { path.join(file_name(&Clock::system())) } else { path.clone() };
            let options = RecordOptions::default();
            let options = match self.record_bytes_max {
                Some(bytes) => options.bytes_max(bytes),
                None => options,
            };
            doctor.record_to(path, &options)?;
        }
        Ok(Some(doctor))
    }
}

/// Two processes that start within a millisecond have different numbers.
fn file_name(clock: &Clock) -> String {
    let since = clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("doctor-{}-{}.jsonl", since.as_millis(), std::process::id())
}
