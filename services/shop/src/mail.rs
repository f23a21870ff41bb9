//! Mails, written to a folder: whoever sends them takes them from there. A mail that is written twice is
//! there once, since its name is that of what it tells.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use mainstay::rng::Rng;
use mainstay::{Code, Db, Error, Result};

/// Where mails go.
#[derive(Clone, Debug)]
pub struct Mails {
    folder: PathBuf,
}

impl Mails {
    /// Into `folder`, which is made. Errors: DB-026.
    pub fn new(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| {
            Error::new(Code::File, format!("the folder {} can't be made", folder.display()))
                .cause(e)
        })?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Writes the mail called `name` to a user, as `name.eml`: whole, or not at all. A process that is
    /// killed meanwhile may leave a hidden `.part`.
    ///
    /// Errors: DB-026, and those of a statement.
    pub async fn send(&self, db: &Db, user: i64, name: &str, subject: &str) -> Result<()> {
        let email: Option<(Option<String>,)> =
            db.query("SELECT email FROM users WHERE id = $1").bind(user).optional().await?;
        // Whoever is gone wants no mail, and who has no address gets none.
        let Some((Some(email),)) = email else { return Ok(()) };
        let (email, subject) = (one_line(&email), one_line(subject));
        let mail = format!("To: {email}\nSubject: {subject}\n\n{subject}\n");
        // Whoever writes the same mail at the same time has another one.
        let draw = Rng::system().u64(0..u64::MAX);
        let part = self.folder.join(format!(".{name}.{draw:016x}.part"));
        let (folder, path) = (self.folder.clone(), self.folder.join(format!("{name}.eml")));
        let written = tokio::task::spawn_blocking(move || {
            let written = write(&part, &path, &folder, &mail);
            if written.is_err() {
                let _ = std::fs::remove_file(&part);
            }
            written
        });
        let wrong = |e: std::io::Error| Error::new(Code::File, "a mail can't be written").cause(e);
        written.await.map_err(|e| Error::user(e.to_string()))?.map_err(wrong)
    }
}

/// On disk before its job is done: that is not undone by a power failure either.
fn write(part: &Path, path: &Path, folder: &Path, mail: &str) -> std::io::Result<()> {
    let mut file = File::create(part)?;
    file.write_all(mail.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(part, path)?;
    File::open(folder)?.sync_all()
}

/// A line break would begin another header.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
