-- Decides up to eight limits, all or nothing: each is looked at first, and counted only if none denies.
-- KEYS: one a limit. ARGV: the permit's id, then eight a limit: the rule, the cost, 1 in shadow mode, and
-- five numbers of the rule. Answers 1 if the call is counted, then four a limit: 1 if it fits, and three
-- numbers of the rule. All times are microseconds: integers that a double holds exactly.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
-- Where this clock was set back, times up to one window (or one burst) ahead of it are believed, and what
-- is further ahead is forgotten or cut.

-- Lua's own conversion keeps fourteen digits.
local function text(n)
  return string.format('%.0f', n)
end

local function read(key)
  local numbers, kept = {}, redis.call('GET', key)
  if kept then
    for n in string.gmatch(kept, '%d+') do numbers[#numbers + 1] = tonumber(n) end
  end
  return numbers
end

local function write(ask, us, numbers)
  for i = 1, #numbers do numbers[i] = text(numbers[i]) end
  local ms = text(math.ceil(us / 1000) + 1)
  redis.call('SET', ask.key, table.concat(numbers, ' '), 'PX', ms)
end

-- The beginning of this window, and what is left of it.
local function turn(kept, window)
  local start = now - now % window
  if kept and kept > start and kept - start <= window then start = kept end
  return start, start + window - now
end

local look, count = {}, {}

-- Fixed window. Limit, window; kept: its beginning, its units.
function look.f(ask)
  local kept = read(ask.key)
  ask.start, ask.left = turn(kept[1], ask[2])
  ask.units = kept[1] == ask.start and kept[2] or 0
  return ask.units + ask.cost <= ask[1], ask.units, ask.left, 0
end

function count.f(ask)
  write(ask, ask.left, { ask.start, ask.units + ask.cost })
end

-- Sliding counter. Limit, window, and both the unit of time and the window in it, so small that a product
-- with two counts is below 2^53; kept: the window's beginning, the units before it, and in it.
function look.c(ask)
  local kept = read(ask.key)
  ask.start, ask.left = turn(kept[1], ask[2])
  ask.before, ask.units = 0, 0
  if kept[1] == ask.start then
    ask.before, ask.units = kept[2], kept[3]
  elseif kept[1] and kept[1] + ask[2] == ask.start then
    ask.before = kept[3]
  end
  local left = math.min(math.ceil(ask.left / ask[3]), ask[4])
  local sum = ask.units + ask.cost
  local fits = sum <= ask[1] and ask.before * left + sum * ask[4] <= ask[1] * ask[4]
  return fits, ask.before, ask.units, ask.left
end

function count.c(ask)
  write(ask, ask.left + ask[2], { ask.start, ask.before, ask.units + ask.cost })
end

-- GCRA and token bucket. The time in which a burst comes back, and the call's units, each in microseconds
-- and further parts of one; how many parts a microsecond has. Kept: when all is back, in the same form.
function look.g(ask)
  local whole, whole_parts, parts = now + ask[1], ask[2], ask[5]
  local kept = read(ask.key)
  local t, p = kept[1] or 0, kept[2] or 0
  if p >= parts then t, p = t + 1, 0 end
  if t < now then t, p = now, 0 end
  if t > whole or (t == whole and p > whole_parts) then t, p = whole, whole_parts end
  ask.t, ask.p = t + ask[3], p + ask[4]
  if ask.p >= parts then ask.t, ask.p = ask.t + 1, ask.p - parts end
  local fits = ask.t < whole or (ask.t == whole and ask.p <= whole_parts)
  return fits, t - now, p, 0
end

function count.g(ask)
  write(ask, ask.t - now, { ask.t, ask.p })
end

look.t, count.t = look.g, count.g

-- Sliding log. Limit, window; kept: the time of each unit, the oldest first.
function look.l(ask)
  local key, window = ask.key, ask[2]
  local function at(i) return tonumber(redis.call('LINDEX', key, i)) end
  ask.units = redis.call('LLEN', key)
  if ask.units > 0 and at(-1) > now + window then
    redis.call('DEL', key)
    ask.units = 0
  end
  if ask.units > 0 and at(0) <= now - window then
    -- All before `high` have left the window.
    local low, high = 0, ask.units
    while low < high do
      local middle = math.floor((low + high) / 2)
      if at(middle) <= now - window then low = middle + 1 else high = middle end
    end
    redis.call('LTRIM', key, high, -1)
    ask.units = ask.units - high
  end
  ask.latest = ask.units > 0 and at(-1) or now
  local over = ask.units + ask.cost - ask[1]
  local free = 0
  if over > 0 and over <= ask.units then free = at(over - 1) + window - now end
  local reset = ask.units > 0 and ask.latest + window - now or 0
  return over <= 0, ask.units, free, reset
end

function count.l(ask)
  local stamp, left = text(math.max(now, ask.latest)), ask.cost
  while left > 0 do
    local some = {}
    for i = 1, math.min(left, 1000) do some[i] = stamp end
    redis.call('RPUSH', ask.key, unpack(some))
    left = left - #some
  end
  redis.call('PEXPIRE', ask.key, text(math.ceil((tonumber(stamp) - now + ask[2]) / 1000) + 1))
end

-- Concurrency. The most, how long a permit lives unless it is renewed. Kept: a sorted set of permits, each
-- its units and its id, by when they expire; and `n`, whose score is minus the units of all.
function look.n(ask)
  local gone = redis.call('ZRANGEBYSCORE', ask.key, '(0', text(now))
  if #gone > 0 then
    local units = 0
    for _, permit in ipairs(gone) do units = units + tonumber(string.match(permit, '^%d+')) end
    redis.call('ZREMRANGEBYSCORE', ask.key, '(0', text(now))
    redis.call('ZINCRBY', ask.key, text(units), 'n')
  end
  ask.units = -tonumber(redis.call('ZSCORE', ask.key, 'n') or 0)
  return ask.units + ask.cost <= ask[1], ask.units, 0, 0
end

function count.n(ask)
  redis.call('ZADD', ask.key, text(now + ask[2]), text(ask.cost) .. ':' .. ARGV[1])
  redis.call('ZINCRBY', ask.key, text(-ask.cost), 'n')
  redis.call('PEXPIRE', ask.key, text(ask[2] / 1000 + 1000))
end

local asks, answer, all = {}, { 1 }, true
for i = 1, #KEYS do
  local at = 8 * i - 6
  local ask = { key = KEYS[i], rule = ARGV[at], cost = tonumber(ARGV[at + 1]) }
  for n = 1, 5 do ask[n] = tonumber(ARGV[at + 2 + n]) end
  local fits, x, y, z = look[ask.rule](ask)
  -- A call that costs nothing is always let through.
  ask.fits = fits or ask.cost == 0
  if not ask.fits and ARGV[at + 2] == '0' then all = false end
  asks[i] = ask
  answer[4 * i - 2] = ask.fits and 1 or 0
  answer[4 * i - 1], answer[4 * i], answer[4 * i + 1] = x, y, z
end
answer[1] = all and 1 or 0
if all then
  for _, ask in ipairs(asks) do
    if ask.fits and ask.cost > 0 then count[ask.rule](ask) end
  end
end
return answer
