//! What is done in one step on the server. Generations are compared as they are written, as numbers in
//! decimal.

use std::sync::LazyLock;

use redis::{Script, ScriptInvocation};

use super::ms;
use crate::store::Seen;
use crate::store::keyed::{Ids, Terms};

/// `KEYS`: the entry, the lock, the key's generation, the tags'. `ARGV`: what a missing generation becomes,
/// the lock's token and life, the lives of a key's generation and of a tag's.
static BEGIN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "
local mine = 0
if redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3]) then mine = 1 end
local all = {}
for i = 3, #KEYS do
  local life = tonumber(i == 3 and ARGV[4] or ARGV[5])
  local at = redis.call('GET', KEYS[i])
  if not at then
    at = ARGV[1]
    redis.call('SET', KEYS[i], at, 'PX', life)
  elseif redis.call('PTTL', KEYS[i]) < life then
    redis.call('PEXPIRE', KEYS[i], life)
  end
  all[#all + 1] = at
end
return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]), mine, all}",
    )
});

/// `KEYS`: the entry, the lock, the key's generation. `ARGV`: the generation that was seen, the lock's
/// token, the bytes, their life.
static WRITE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "
local taken = 0
if redis.call('GET', KEYS[2]) == ARGV[2] then redis.call('DEL', KEYS[2]) end
if redis.call('GET', KEYS[3]) == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
  taken = 1
end
return taken",
    )
});

/// `KEYS`: the lock. `ARGV`: its token.
static UNLOCK: LazyLock<Script> = LazyLock::new(|| {
    Script::new("if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end")
});

pub(super) fn begin(ids: &Ids, terms: &Terms) -> ScriptInvocation<'static> {
    let mut script = BEGIN.key(&ids.entry);
    script.key(&ids.lock).key(&ids.generation);
    for tag in &ids.tags {
        script.key(tag);
    }
    script.arg(terms.fresh).arg(terms.token).arg(ms(terms.lock));
    script.arg(ms(terms.key_life)).arg(ms(terms.tag_life));
    script
}

pub(super) fn write(ids: &Ids, seen: &Seen, bytes: &[u8], ms: u64) -> ScriptInvocation<'static> {
    let mut script = WRITE.key(&ids.entry);
    script.key(&ids.lock).key(&ids.generation);
    script.arg(seen.far.first().copied().unwrap_or(0)).arg(seen.token).arg(bytes).arg(ms);
    script
}

pub(super) fn unlock(lock: &str, token: u64) -> ScriptInvocation<'static> {
    let mut script = UNLOCK.key(lock);
    script.arg(token);
    script
}
