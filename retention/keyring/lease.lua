-- KEYS: lease. ARGV: who asks, for how long (ms); 0 gives it back
local by = redis.call('GET', KEYS[1])
local span = tonumber(ARGV[2])
if span == 0 then
  if by == ARGV[1] then
    redis.call('DEL', KEYS[1])
    by = false
  end
elseif not by or by == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', span)
  by = ARGV[1]
end
if not by then return {'', 0} end
return {by, redis.call('PTTL', KEYS[1])}
