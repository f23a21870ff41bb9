//! What is done in one step on the server, so that nothing is lost or doubled in between. Every script
//! looks first whether the message is its consumer's still: another may have taken it over. It is added
//! where it goes before it is removed where it was.
//!
//! Each is small; the longest works on a hundred messages.

use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisResult, Script, ScriptInvocation};

use super::keys::Keys;

/// The group that all consumers of a queue are in.
pub(super) const GROUP: &str = "mainstay";
/// How often a message was delivered before it was put back.
pub(super) const DELIVERIES: &str = "mainstay-deliveries";
/// Why it died.
pub(super) const REASON: &str = "mainstay-reason";

const HELD: &str = "
local function held(id)
  return #redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2]) > 0
end
local function settle(id)
  redis.call('XACK', KEYS[1], ARGV[1], id)
  redis.call('XDEL', KEYS[1], id)
end
local function fields(id, without)
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  if not entry then return nil end
  local kept = {}
  for i = 1, #entry[2], 2 do
    if entry[2][i] ~= without then
      kept[#kept + 1] = entry[2][i]
      kept[#kept + 1] = entry[2][i + 1]
    end
  end
  return kept
end
";

/// A script that may use the functions above: `KEYS[1]` the stream, `ARGV` the group, the consumer.
fn held(body: &str) -> Script {
    Script::new(&format!("{HELD}{body}"))
}

/// `KEYS`: the stream. `ARGV`: the group.
static DECLARE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP') then return made end",
    )
});

static ACK: LazyLock<Script> = LazyLock::new(|| held("if held(ARGV[3]) then settle(ARGV[3]) end"));

static KEEP: LazyLock<Script> = LazyLock::new(|| {
    held(
        "
for i = 3, #ARGV do
  if held(ARGV[i]) then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
  end
end",
    )
});

static AGAIN: LazyLock<Script> = LazyLock::new(|| {
    held(&format!(
        "
local id, delay, deliveries = ARGV[3], tonumber(ARGV[4]), ARGV[5]
if not held(id) then return end
local kept = fields(id, '{DELIVERIES}')
if kept then
  kept[#kept + 1] = '{DELIVERIES}'
  kept[#kept + 1] = deliveries
  if delay > 0 then
    local time = redis.call('TIME')
    local due = time[1] * 1000 + math.floor(time[2] / 1000) + delay
    redis.call('ZADD', KEYS[2], due, cmsgpack.pack({{id, kept}}))
  else
    redis.call('XADD', KEYS[1], '*', unpack(kept))
  end
end
settle(id)"
    ))
});

static DEAD: LazyLock<Script> = LazyLock::new(|| {
    held(&format!(
        "
local id = ARGV[3]
if not held(id) then return end
local kept = fields(id, '{DELIVERIES}')
if kept then
  kept[#kept + 1] = '{REASON}'
  kept[#kept + 1] = ARGV[4]
  redis.call('XADD', KEYS[2], '*', unpack(kept))
end
settle(id)"
    ))
});

/// `KEYS`: the stream, the delayed. `ARGV`: how many.
static DUE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, packed in ipairs(due) do
  redis.call('XADD', KEYS[1], '*', unpack(cmsgpack.unpack(packed)[2]))
  redis.call('ZREM', KEYS[2], packed)
end
return #due",
    )
});

/// `KEYS`: the stream. `ARGV`: the group, the consumer, how idle, where to begin, how many. Returns
/// where to go on, and each message with how often it was delivered. As `XAUTOCLAIM`, but the consumer
/// leaves its own to the others for as long again: it was silent about them.
static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "
local idle, room = tonumber(ARGV[3]), tonumber(ARGV[5])
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', idle, ARGV[4], '+', 100)
local entries, next = {}, '-'
if #pending == 100 then next = '(' .. pending[100][1] end
for _, state in ipairs(pending) do
  if #entries == room then
    next = state[1]
    break
  end
  if state[2] ~= ARGV[2] or state[3] > 2 * idle then
    local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], idle, state[1])[1]
    if entry then entries[#entries + 1] = {entry[1], entry[2], state[4] + 1} end
  end
end
return {next, entries}",
    )
});

/// `KEYS`: the stream. `ARGV`: the group, the consumer, how idle to make them, those that it knows of.
/// What the server sent and the consumer never got is made idle, so that it is claimed next.
static ORPHANS: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "
local known = {}
for i = 4, #ARGV do known[ARGV[i]] = true end
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', #ARGV + 1000, ARGV[2])
for _, entry in ipairs(pending) do
  if not known[entry[1]] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, entry[1], 'IDLE', ARGV[3], 'JUSTID')
  end
end",
    )
});

/// `KEYS`: the stream. `ARGV`: the group, the consumer, how idle. Others are removed that hold nothing
/// and were not heard of for long.
static CLEAN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = {}
  for i = 1, #flat, 2 do consumer[flat[i]] = flat[i + 1] end
  if consumer.name ~= ARGV[2] and consumer.pending == 0 and consumer.idle > tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
  end
end",
    )
});

/// `KEYS`: the stream. `ARGV`: the group, the consumer, which is removed unless it holds something.
static LEAVE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end",
    )
});

/// `KEYS`: the stream, the delayed. `ARGV`: the group.
static DEPTH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "
local pending = redis.call('XPENDING', KEYS[1], ARGV[1])[1]
return math.max(0, redis.call('XLEN', KEYS[1]) - pending) + redis.call('ZCARD', KEYS[2])",
    )
});

/// `KEYS`: the stream, the dead letters. `ARGV`: the group, how many, after which they are too new.
static REQUEUE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!(
        "
redis.call('XPENDING', KEYS[1], ARGV[1])
local letters = redis.call('XRANGE', KEYS[2], '-', ARGV[3], 'COUNT', ARGV[2])
for _, letter in ipairs(letters) do
  local kept = {{}}
  for i = 1, #letter[2], 2 do
    if letter[2][i] ~= '{REASON}' then
      kept[#kept + 1] = letter[2][i]
      kept[#kept + 1] = letter[2][i + 1]
    end
  end
  redis.call('XADD', KEYS[1], '*', unpack(kept))
  redis.call('XDEL', KEYS[2], letter[1])
end
return #letters"
    ))
});

/// A consumer of a queue, as the server knows it.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) keys: Keys,
    pub(super) name: String,
}

/// Something to ask the server, as often as it takes.
pub(super) enum Question {
    Script(ScriptInvocation<'static>),
    Command(Cmd),
}

impl Question {
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        mut on: MultiplexedConnection,
    ) -> RedisResult<T> {
        match self {
            // Sent whole where the server does not know it yet.
            Self::Script(script) => script.invoke_async(&mut on).await,
            Self::Command(command) => command.query_async(&mut on).await,
        }
    }
}

/// A message that was taken over: its id, its fields, and how often it was delivered.
pub(super) type Claimed = (String, Vec<Vec<u8>>, u32);
/// Messages as they are in a stream: the id and the fields of each.
pub(super) type Entries = Vec<(String, Vec<Vec<u8>>)>;
/// As `XREADGROUP` answers: the key of each stream with its entries.
pub(super) type Streams = Option<Vec<(String, Entries)>>;

impl Holder {
    fn about(&self, script: &'static Script) -> ScriptInvocation<'static> {
        let mut about = script.key(&self.keys.stream);
        about.arg(GROUP).arg(&self.name);
        about
    }

    pub(super) fn ack(&self, id: &str) -> Question {
        let mut script = self.about(&ACK);
        script.arg(id);
        Question::Script(script)
    }

    pub(super) fn keep(&self, ids: &[&str]) -> Question {
        let mut script = self.about(&KEEP);
        script.arg(ids);
        Question::Script(script)
    }

    pub(super) fn again(&self, id: &str, delay_ms: u64, deliveries: u32) -> Question {
        let mut script = self.about(&AGAIN);
        script.key(&self.keys.delayed).arg(id).arg(delay_ms).arg(deliveries);
        Question::Script(script)
    }

    pub(super) fn dead(&self, id: &str, reason: &str) -> Question {
        let mut script = self.about(&DEAD);
        script.key(&self.keys.dead).arg(id).arg(reason);
        Question::Script(script)
    }

    /// Takes over up to `count` messages that nothing was heard of for `idle_ms`: where to go on, and
    /// [`Claimed`] ones.
    pub(super) fn claim(&self, idle_ms: u64, from: &str, count: usize) -> Question {
        let mut script = self.about(&CLAIM);
        script.arg(idle_ms).arg(from).arg(count);
        Question::Script(script)
    }

    pub(super) fn orphans(&self, idle_ms: u64, known: &[String]) -> Question {
        let mut script = self.about(&ORPHANS);
        script.arg(idle_ms).arg(known);
        Question::Script(script)
    }

    pub(super) fn clean(&self, idle_ms: u64) -> Question {
        let mut script = self.about(&CLEAN);
        script.arg(idle_ms);
        Question::Script(script)
    }

    pub(super) fn leave(&self) -> Question {
        Question::Script(self.about(&LEAVE))
    }

    /// New messages, as [`Streams`]: up to `count`, waiting for one for up to `block_ms`.
    pub(super) fn read(&self, count: usize, block_ms: u64) -> Question {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(&self.name).arg("COUNT").arg(count);
        read.arg("BLOCK").arg(block_ms).arg("STREAMS").arg(&self.keys.stream).arg(">");
        Question::Command(read)
    }
}

/// Makes sure of the queue.
pub(super) fn declare(keys: &Keys) -> Question {
    let mut script = DECLARE.key(&keys.stream);
    script.arg(GROUP);
    Question::Script(script)
}

/// Moves what is due back into the queue: how many.
pub(super) fn due(keys: &Keys, count: usize) -> Question {
    let mut script = DUE.key(&keys.stream);
    script.key(&keys.delayed).arg(count);
    Question::Script(script)
}

/// How many wait.
pub(super) fn depth(keys: &Keys) -> Question {
    let mut script = DEPTH.key(&keys.stream);
    script.key(&keys.delayed).arg(GROUP);
    Question::Script(script)
}

/// Puts back up to `count` dead letters, none newer than `last`: how many.
pub(super) fn requeue(keys: &Keys, count: u32, last: &str) -> Question {
    let mut script = REQUEUE.key(&keys.stream);
    script.key(&keys.dead).arg(GROUP).arg(count).arg(last);
    Question::Script(script)
}

/// Up to `count` dead letters after `from`, oldest first, as [`Entries`].
pub(super) fn letters(keys: &Keys, from: &str, count: u32) -> Question {
    let mut range = redis::cmd("XRANGE");
    range.arg(&keys.dead).arg(from).arg("+").arg("COUNT").arg(count);
    Question::Command(range)
}

/// The newest dead letter, as [`Entries`].
pub(super) fn newest(keys: &Keys) -> Question {
    let mut range = redis::cmd("XREVRANGE");
    range.arg(&keys.dead).arg("+").arg("-").arg("COUNT").arg(1);
    Question::Command(range)
}

/// Removes the queue and all that belongs to it.
pub(super) fn remove(keys: &Keys) -> Question {
    let mut unlink = redis::cmd("UNLINK");
    unlink.arg(&keys.stream).arg(&keys.delayed).arg(&keys.dead);
    Question::Command(unlink)
}
