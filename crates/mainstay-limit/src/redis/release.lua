-- Gives the units of a permit back. KEYS: of its concurrency limits. ARGV: its id, then its units of each.
for i, key in ipairs(KEYS) do
  local units = ARGV[i + 1]
  if redis.call('ZREM', key, units .. ':' .. ARGV[1]) == 1 then
    redis.call('ZINCRBY', key, units, 'n')
  end
end
