//! The file as a whole: how it is kept, what of it is free, whether it is whole.

use mainstay_core::{Code, Result};

use super::super::check::Check;
use super::super::ctx::{Answer, Ctx, text, whole};
use super::super::words;
use super::pragma;
use crate::finding::Severity;

/// Mainstay's own connections cut a WAL back to a quarter of this.
const WAL_LONG: u64 = 256 << 20;
/// A larger file is read as a whole only if asked by name.
const READ_MAX: i64 = 256 << 20;
const SMALL_PAGE: i64 = 4096;
/// Lines that the checks of the whole answer with.
const LINES_MAX: usize = 20;

pub(super) async fn settings(ctx: &mut Ctx) -> Result<Answer> {
    let rows = ctx.rows("PRAGMA journal_mode").await?;
    let mode = rows.first().map_or(Ok(String::new()), |row| text(row, 0))?;
    let mut found = Vec::new();
    let poor = |severity, what: String, why: &str, fix: &str| {
        ctx.finding((Code::DoctorSettingPoor, severity), what, vec![why.to_owned()], fix.to_owned())
    };
    if !matches!(mode.as_str(), "wal" | "memory") {
        let why = "a reader makes the writer wait, and the writer all readers";
        found.push(poor(
            Severity::Hint,
            format!("journal_mode is {mode}"),
            why,
            "PRAGMA journal_mode = WAL;",
        ));
    }
    let page = pragma(ctx, "page_size").await?;
    if page < SMALL_PAGE {
        let what = format!("page_size is {page}");
        let fix =
            "PRAGMA page_size = 4096; VACUUM;  -- not in WAL mode; needs room for a second copy";
        let why = "below what disks write at once";
        found.push(ctx.finding(
            (Code::DoctorSettingPoor, Severity::Hint),
            what,
            vec![why.to_owned()],
            fix.to_owned(),
        ));
    }
    let rows = ctx.rows("SELECT file FROM pragma_database_list WHERE name = 'main'").await?;
    let file = rows.first().map_or(Ok(String::new()), |row| text(row, 0))?;
    let wal = std::fs::metadata(format!("{file}-wal")).map_or(0, |wal| wal.len());
    if !file.is_empty() && wal > WAL_LONG {
        let what = format!("the WAL is {} long", words::bytes(wal));
        let why = "a reader that is open for long keeps it from being moved into the database; each read looks through it";
        let fix = "end the long reader, then: PRAGMA wal_checkpoint(TRUNCATE);";
        let evidence = vec![why.to_owned()];
        found.push(ctx.finding(
            (Code::DoctorSettingPoor, Severity::Warning),
            what,
            evidence,
            fix.to_owned(),
        ));
    }
    let good = format!("journal_mode {mode}, pages of {page}, a WAL of {}", words::bytes(wal));
    Ok(ctx.judged(found, good))
}

pub(super) async fn free(ctx: &mut Ctx) -> Result<Answer> {
    let (pages, free) = (pragma(ctx, "page_count").await?, pragma(ctx, "freelist_count").await?);
    let page = pragma(ctx, "page_size").await?;
    let share = words::share(free, pages);
    let bytes = (free * page).max(0) as u64;
    let seen = format!(
        "{} of {} are free",
        words::percent(share),
        words::bytes((pages * page).max(0) as u64)
    );
    if share < 0.5 || bytes < ctx.options.bytes_min {
        return Ok(Answer::Good(seen));
    }
    let evidence =
        vec!["new rows will use it; nothing else gives it back to the system".to_owned()];
    let fix = "VACUUM;  -- needs room for a second copy, and nobody writes meanwhile".to_owned();
    let found = ctx.finding((Code::DoctorTableBloated, Severity::Hint), seen, evidence, fix);
    Ok(ctx.judged(vec![found], ""))
}

/// Why the whole is not read now, if it is not.
async fn too_large(ctx: &mut Ctx, check: Check) -> Result<Option<Answer>> {
    let size = pragma(ctx, "page_count").await? * pragma(ctx, "page_size").await?;
    let asked = ctx.options.only.contains(&check);
    Ok((size > READ_MAX && !asked).then(|| {
        let size = words::bytes(size.max(0) as u64);
        Answer::Unknown(format!("it reads all {size}: --only {check} does"))
    }))
}

pub(super) async fn integrity(ctx: &mut Ctx) -> Result<Answer> {
    if let Some(too_large) = too_large(ctx, Check::Integrity).await? {
        return Ok(too_large);
    }
    let rows = ctx.rows(&format!("PRAGMA quick_check({LINES_MAX})")).await?;
    let lines = rows.iter().map(|row| text(row, 0)).collect::<Result<Vec<_>>>()?;
    if lines == ["ok"] {
        return Ok(Answer::Good("it is whole".to_owned()));
    }
    let what = format!("the file is damaged: {}", words::count(lines.len(), "fault", "faults"));
    let fix = "sqlite3 FILE .recover > recovered.sql, of a copy; or restore a backup".to_owned();
    // Some are of two lines.
    let evidence = lines.iter().flat_map(|line| line.lines()).map(str::to_owned).collect();
    let found = ctx.finding((Code::DoctorDataDamaged, Severity::Error), what, evidence, fix);
    Ok(ctx.judged(vec![found], ""))
}

pub(super) async fn references(ctx: &mut Ctx) -> Result<Answer> {
    if let Some(too_large) = too_large(ctx, Check::References).await? {
        return Ok(too_large);
    }
    let sql = format!(
        "SELECT \"table\", parent, count(*) FROM pragma_foreign_key_check GROUP BY 1, 2 ORDER BY 3 DESC LIMIT {}",
        ctx.options.findings_max + 1
    );
    let rows = ctx.rows(&sql).await?;
    let found = rows.iter().map(|row| {
        let (table, parent) = (text(row, 0)?, text(row, 1)?);
        let what = format!(
            "{} of {table} refer to rows of {parent} that do not exist",
            words::count(whole(row, 2)? as usize, "row", "rows")
        );
        let evidence = vec![
            "a program writes without PRAGMA foreign_keys = ON; each connection must say it"
                .to_owned(),
        ];
        let fix = format!(
            "PRAGMA foreign_key_check({});  -- lists them",
            mainstay_db::Engine::Sqlite.quote(&table)
        );
        Ok(ctx.finding((Code::DoctorReferenceBroken, Severity::Error), what, evidence, fix))
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    Ok(ctx.judged(found, "each row refers to one that exists"))
}
