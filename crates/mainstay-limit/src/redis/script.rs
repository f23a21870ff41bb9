//! The scripts that run on the server, each in one step and by the server's own clock, and what they are
//! given. What they answer is read by `answer`.

use std::sync::LazyLock;
use std::time::Duration;

use redis::aio::ConnectionManager;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, Script, ServerErrorKind};

use crate::{Ask, Rule};

/// How long a permit lives that nobody renews.
pub(super) const PERMIT: Duration = Duration::from_secs(60);
/// Parts of a sliding counter's window, at most: times two counts of 22 bits they stay below 2^53.
const PARTS_MAX: u64 = 1 << 29;

static DECIDE: LazyLock<Code> = LazyLock::new(|| Code::of(include_str!("decide.lua")));
static RELEASE: LazyLock<Code> = LazyLock::new(|| Code::of(include_str!("release.lua")));
static RENEW: LazyLock<Code> = LazyLock::new(|| Code::of(include_str!("renew.lua")));

struct Code {
    text: &'static str,
    script: Script,
}

impl Code {
    fn of(text: &'static str) -> Self {
        Self { text, script: Script::new(text) }
    }

    /// By its hash, or whole where the server does not know it.
    async fn run<T: FromRedisValue>(
        &self,
        wire: &mut ConnectionManager,
        keys: &[String],
        arguments: impl Fn(&mut Cmd),
    ) -> RedisResult<T> {
        let command = |name: &str, code: &str| {
            let mut command = redis::cmd(name);
            command.arg(code).arg(keys.len());
            for key in keys {
                command.arg(key);
            }
            arguments(&mut command);
            command
        };
        match command("EVALSHA", self.script.get_hash()).query_async(wire).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                command("EVAL", self.text).query_async(wire).await
            }
            answer => answer,
        }
    }
}

/// Decides, and counts where all allow it.
pub(super) async fn decide(
    mut wire: ConnectionManager,
    asks: &[Ask<'_>],
    keys: &[String],
    id: &str,
) -> RedisResult<Vec<i64>> {
    let arguments = |command: &mut Cmd| {
        command.arg(id);
        for ask in asks {
            let letter = [letter(ask.policy.rule()) as u8];
            command.arg(&letter[..]).arg(ask.cost).arg(u8::from(ask.policy.is_shadow()));
            for number in numbers(ask.policy.rule(), ask.cost) {
                command.arg(number);
            }
        }
    };
    DECIDE.run(&mut wire, keys, arguments).await
}

/// Gives a permit back, of so many units of each key.
pub(super) async fn release(
    mut wire: ConnectionManager,
    keys: &[String],
    units: &[u32],
    id: &str,
) -> RedisResult<()> {
    let arguments = |command: &mut Cmd| {
        command.arg(id);
        for units in units {
            command.arg(*units);
        }
    };
    RELEASE.run(&mut wire, keys, arguments).await
}

/// Keeps a permit for another minute.
pub(super) async fn renew(
    mut wire: ConnectionManager,
    keys: &[String],
    units: &[u32],
    id: &str,
) -> RedisResult<()> {
    let arguments = |command: &mut Cmd| {
        command.arg(id);
        for units in units {
            command.arg(*units);
        }
        command.arg(us(PERMIT));
    };
    RENEW.run(&mut wire, keys, arguments).await
}

/// The rule in the script, and in keys: what is kept has another form for each.
pub(super) fn letter(rule: Rule) -> char {
    match rule {
        Rule::FixedWindow { .. } => 'f',
        Rule::SlidingLog { .. } => 'l',
        Rule::SlidingCounter { .. } => 'c',
        Rule::TokenBucket { .. } => 't',
        Rule::Gcra { .. } => 'g',
        Rule::Concurrency { .. } => 'n',
    }
}

/// The rule's numbers, in the script's order.
pub(super) fn numbers(rule: Rule, cost: u32) -> [u64; 5] {
    match rule {
        Rule::FixedWindow { limit, window } | Rule::SlidingLog { limit, window } => {
            [limit.into(), us(window), 0, 0, 0]
        }
        Rule::SlidingCounter { limit, window } => {
            let (unit, parts) = parts(window);
            [limit.into(), us(window), unit, parts, 0]
        }
        Rule::TokenBucket { capacity: burst, refill: limit, per }
        | Rule::Gcra { limit, per, burst } => {
            // Whole microseconds, and parts of one: `limit` of them. What is beyond the burst never fits.
            let time = |units: u32| {
                let parts = u128::from(units) * u128::from(us(per));
                let limit = u128::from(limit);
                ((parts / limit) as u64, (parts % limit) as u64)
            };
            let (whole, call) = (time(burst), time(cost.min(burst.saturating_add(1))));
            [whole.0, whole.1, call.0, call.1, limit.into()]
        }
        Rule::Concurrency { max } => [max.into(), us(PERMIT), 0, 0, 0],
    }
}

/// A sliding counter's unit of time, in microseconds, and how many its window has.
pub(super) fn parts(window: Duration) -> (u64, u64) {
    let unit = us(window).div_ceil(PARTS_MAX);
    (unit, us(window) / unit)
}

/// Of a duration, in microseconds, rounded up: a limit is never laxer than asked.
pub(super) fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX)
}
