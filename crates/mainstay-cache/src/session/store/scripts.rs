//! What Redis is asked. A session is a hash with `user`, `created`, `seen`, and `d:KEY` for its data; a
//! user's sessions are a sorted set, by when they end at the latest. Each script is one step for all others.

use std::sync::LazyLock;

use redis::Script;

/// Notes that a user has a session. `now_us` and `ends_us` are exact as numbers here until the year 2255.
const NOTE: &str = "
local function note(set, key, now_us, ends_us, ttl_ms)
  redis.call('ZREMRANGEBYSCORE', set, '-inf', now_us)
  redis.call('ZADD', set, ends_us, key)
  if redis.call('PTTL', set) < tonumber(ttl_ms) then
    redis.call('PEXPIRE', set, ttl_ms)
  end
end
";

fn script(body: &str) -> Script {
    Script::new(&format!("{NOTE}{body}"))
}

/// `KEYS`: the session, its user's. `ARGV`: key, now, end, its user's and its own time to live, whether it
/// has a user, fields.
pub(super) static INSERT: LazyLock<Script> = LazyLock::new(|| {
    script(
        "
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 7))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
if ARGV[6] == '1' then note(KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) end",
    )
});

/// `KEYS`: the session. `ARGV`: when it was used, its time to live.
pub(super) static TOUCH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "
local seen = redis.call('HGET', KEYS[1], 'seen')
if seen and tonumber(seen) < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'seen', ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end",
    )
});

/// `KEYS`: the session. `ARGV`: how many bytes the data may have; then by threes `set` or `remove`, the
/// field, the value.
pub(super) static MERGE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "
local stored = redis.call('HGETALL', KEYS[1])
if #stored == 0 then return {'gone'} end
local data, size = {}, 0
for i = 1, #stored, 2 do
  if string.sub(stored[i], 1, 2) == 'd:' then data[stored[i]] = stored[i + 1] end
end
for i = 2, #ARGV, 3 do
  if ARGV[i] == 'set' then data[ARGV[i + 1]] = ARGV[i + 2] else data[ARGV[i + 1]] = nil end
end
for field, value in pairs(data) do size = size + #field - 2 + #value end
if size > tonumber(ARGV[1]) then return {'large'} end
for i = 2, #ARGV, 3 do
  if ARGV[i] == 'set' then
    redis.call('HSET', KEYS[1], ARGV[i + 1], ARGV[i + 2])
  else
    redis.call('HDEL', KEYS[1], ARGV[i + 1])
  end
end
local out = {'done'}
for field, value in pairs(data) do
  out[#out + 1] = field
  out[#out + 1] = value
end
return out",
    )
});

/// `KEYS`: the session, where it moves to. `ARGV`: what users' keys begin with, its key before and after,
/// now, end, its user's and its own time to live, when it was used; at a login its user and since when.
pub(super) static SHIFT: LazyLock<Script> = LazyLock::new(|| {
    script(
        "
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local user = redis.call('HGET', KEYS[1], 'user')
if user then redis.call('ZREM', ARGV[1] .. user, ARGV[2]) end
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[2], 'seen', ARGV[8])
if ARGV[9] then
  user = ARGV[9]
  redis.call('HSET', KEYS[2], 'user', user, 'created', ARGV[10])
end
redis.call('PEXPIRE', KEYS[2], ARGV[7])
if user then note(ARGV[1] .. user, ARGV[3], ARGV[4], ARGV[5], ARGV[6]) end
return 1",
    )
});

/// `KEYS`: the session. `ARGV`: what users' keys begin with, its key.
pub(super) static DELETE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "
local user = redis.call('HGET', KEYS[1], 'user')
redis.call('DEL', KEYS[1])
if user then redis.call('ZREM', ARGV[1] .. user, ARGV[2]) end",
    )
});

/// `KEYS`: the user's. `ARGV`: what sessions' keys begin with.
pub(super) static DELETE_USER: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "
local count = 0
for _, key in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  count = count + redis.call('DEL', ARGV[1] .. key)
end
redis.call('DEL', KEYS[1])
return count",
    )
});
