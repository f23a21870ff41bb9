//! Leaderboards in Redis' sorted sets, which expire by themselves.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::{Code, Error, Result};

use super::{Slot, beyond, scripts};
use crate::board::entry::{Lines, Standing};
use crate::redis::{Again, Link};

/// Integers beyond have no exact floating-point number.
const SCORE_MAX: i64 = 1 << 53;
const BOUNDS: &str = "-2^53 to 2^53 on Redis";
/// No list is that long, and no number of a line beyond is exact.
const BEFORE_MAX: u64 = 1 << 40;

/// How long a question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Redis {
    link: Arc<Link>,
    prefix: Arc<str>,
}

impl Redis {
    pub(super) async fn connect(url: &str, prefix: &str) -> Result<Self> {
        Ok(Self { link: Link::connect(url, ANSWER_WITHIN).await?, prefix: prefix.into() })
    }

    pub(super) fn place(&self) -> &str {
        &self.link.place
    }

    fn key(&self, slot: &Slot<'_>) -> String {
        format!("{}:board:{}:{}", self.prefix, slot.board, slot.label)
    }

    pub(super) async fn add(&self, slot: &Slot<'_>, member: &str, delta: i64) -> Result<i64> {
        within(delta)?;
        let mut script = scripts::ADD.key(self.key(slot));
        script.arg(member).arg(delta).arg(SCORE_MAX).arg(ttl_ms(slot));
        // Done twice, it would be added twice.
        let score: Option<String> = self.link.script(&script, Again::Never).await?;
        number(&score.ok_or_else(|| beyond(BOUNDS))?)
    }

    pub(super) async fn set(&self, slot: &Slot<'_>, member: &str, score: i64) -> Result<()> {
        within(score)?;
        let mut script = scripts::SET.key(self.key(slot));
        script.arg(member).arg(-score).arg(ttl_ms(slot));
        self.link.script(&script, Again::Once).await
    }

    pub(super) async fn remove(&self, slot: &Slot<'_>, member: &str) -> Result<bool> {
        let mut remove = redis::cmd("ZREM");
        remove.arg(self.key(slot)).arg(member);
        self.link.command(&remove, Again::Once).await
    }

    pub(super) async fn standing(&self, slot: &Slot<'_>, member: &str) -> Result<Option<Standing>> {
        let mut script = scripts::STANDING.key(self.key(slot));
        script.arg(member);
        let found: Vec<String> = self.link.script(&script, Again::Once).await?;
        let [above, score] = &found[..] else { return Ok(None) };
        Ok(Some(Standing { rank: number(above)? as u64 + 1, score: -number(score)? }))
    }

    pub(super) async fn range(&self, slot: &Slot<'_>, before: u64, count: u32) -> Result<Lines> {
        let mut script = scripts::RANGE.key(self.key(slot));
        script.arg(before.min(BEFORE_MAX)).arg(count);
        lines(&self.link.script::<Vec<String>>(&script, Again::Once).await?)
    }

    pub(super) async fn around(&self, slot: &Slot<'_>, member: &str, count: u32) -> Result<Lines> {
        let mut script = scripts::AROUND.key(self.key(slot));
        script.arg(member).arg(count);
        lines(&self.link.script::<Vec<String>>(&script, Again::Once).await?)
    }

    pub(super) async fn len(&self, slot: &Slot<'_>) -> Result<u64> {
        let mut len = redis::cmd("ZCARD");
        len.arg(self.key(slot));
        self.link.command(&len, Again::Once).await
    }
}

/// What the scripts say of lines.
fn lines(told: &[String]) -> Result<Lines> {
    let [before, above, pairs @ ..] = told else { return Ok(Lines::default()) };
    let row = |pair: &[String]| Ok((pair[0].clone(), -number(&pair[1])?));
    let rows = pairs.chunks_exact(2).map(row).collect::<Result<_>>()?;
    Ok(Lines { before: number(before)? as u64, above: number(above)? as u64, rows })
}

fn within(score: i64) -> Result<()> {
    if (-SCORE_MAX..=SCORE_MAX).contains(&score) { Ok(()) } else { Err(beyond(BOUNDS)) }
}

/// Versions differ in how they write a large number.
fn number(text: &str) -> Result<i64> {
    let whole = |n: &f64| n.fract() == 0.0 && n.abs() <= SCORE_MAX as f64;
    let number = text.parse().ok().or_else(|| Some(text.parse::<f64>().ok().filter(whole)? as i64));
    number.ok_or_else(|| {
        Error::new(Code::CacheStore, "a score in Redis is not an integer up to 2^53")
            .fix("remove the key: something else writes to it")
    })
}

fn ttl_ms(slot: &Slot<'_>) -> String {
    slot.ttl.map(|ttl| ttl.as_millis().to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_however_it_is_written() {
        for (text, n) in [("-0", 0), ("17", 17), ("9007199254740992", SCORE_MAX)] {
            assert_eq!(number(text).unwrap(), n);
        }
        assert_eq!(number("-9.007199254740992e+15").unwrap(), -SCORE_MAX);
        for text in ["0.5", "1e300", "inf", "x"] {
            assert_eq!(number(text).unwrap_err().code(), Code::CacheStore, "{text}");
        }
    }
}
