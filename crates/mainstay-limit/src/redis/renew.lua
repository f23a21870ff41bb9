-- Keeps a permit for longer. One that is not there, since Redis was restarted or it was not renewed in
-- time, is counted again: its holder goes on. KEYS: of its concurrency limits. ARGV: its id, its units of
-- each (0: not counted there), and how long it lives, in microseconds.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local life = tonumber(ARGV[#ARGV])
for i, key in ipairs(KEYS) do
  local units = ARGV[i + 1]
  if units ~= '0' then
    local permit = units .. ':' .. ARGV[1]
    if redis.call('ZADD', key, string.format('%.0f', now + life), permit) == 1 then
      redis.call('ZINCRBY', key, '-' .. units, 'n')
    end
    redis.call('PEXPIRE', key, string.format('%.0f', life / 1000 + 1000))
  end
end
