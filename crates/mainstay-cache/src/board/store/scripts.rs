//! What Redis is asked about leaderboards. Each script is one step for all others.
//!
//! A sorted set has the scores negated: its order is by score and then by name, both ascending, and a list
//! wants the scores the other way round and the names not. Lua's numbers are exact up to 2^53.

use std::sync::LazyLock;

use redis::Script;

/// `KEYS`: the window. `ARGV`: the member, the delta, the bound of scores, the time to live or ``. Nothing
/// where the score would leave its bounds: `limit - delta` is exact, where the sum may not be.
pub(super) static ADD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "
local delta, limit = tonumber(ARGV[2]), tonumber(ARGV[3])
local score = -tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '0')
if delta > 0 and score > limit - delta or delta < 0 and score < -limit - delta then return false end
redis.call('ZINCRBY', KEYS[1], string.format('%.0f', -delta), ARGV[1])
if ARGV[4] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return string.format('%.0f', score + delta)",
    )
});

/// `KEYS`: the window. `ARGV`: the member, the score negated, the time to live or ``.
pub(super) static SET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
if ARGV[3] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end",
    )
});

/// `KEYS`: the window. `ARGV`: the member. How many are above, and the score negated; or nothing.
pub(super) static STANDING: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score then return {} end
return {tostring(redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. score)), score}",
    )
});

/// Lines from the number `first` on, counted from 0: `first`, how many are above them, then members and
/// scores negated; or nothing.
const LINES: &str = "
local function lines(first, count)
  local out = redis.call('ZRANGE', KEYS[1], first, first + count - 1, 'WITHSCORES')
  if #out == 0 then return {} end
  local above = redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. out[2])
  table.insert(out, 1, tostring(above))
  table.insert(out, 1, tostring(first))
  return out
end
";

/// `KEYS`: the window. `ARGV`: how many to pass over, how many to give.
pub(super) static RANGE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!("{LINES}return lines(tonumber(ARGV[1]), tonumber(ARGV[2]))"))
});

/// `KEYS`: the window. `ARGV`: the member, how many before and after it.
pub(super) static AROUND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!(
        "{LINES}
local place = redis.call('ZRANK', KEYS[1], ARGV[1])
if not place then return {{}} end
local first = math.max(0, place - ARGV[2])
return lines(first, place - first + 1 + ARGV[2])"
    ))
});
