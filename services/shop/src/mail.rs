//! Mails, written to a folder: whoever sends them takes them from there. A mail that is written twice is
//! there once, since its name is that of what it tells.

use std::path::{Path, PathBuf};

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

    /// Writes the mail called `name` to a user; whole, or not at all.
    pub async fn send(&self, db: &Db, user: i64, name: &str, text: &str) -> Result<()> {
        let email: Option<(String,)> =
            db.query("SELECT email FROM users WHERE id = $1").bind(user).optional().await?;
        // Whoever is gone wants no mail.
        let Some((email,)) = email else { return Ok(()) };
        let mail = format!("To: {email}\nSubject: {text}\n\n{text}\n");
        let (path, part) =
            (self.folder.join(format!("{name}.eml")), self.folder.join(format!("{name}.part")));
        let written = tokio::task::spawn_blocking(move || {
            std::fs::write(&part, mail)?;
            std::fs::rename(&part, &path)
        });
        let wrong = |e: std::io::Error| Error::new(Code::File, "a mail can't be written").cause(e);
        written.await.map_err(|e| Error::user(e.to_string()))?.map_err(wrong)
    }
}
