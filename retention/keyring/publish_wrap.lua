-- KEYS: wraps
-- ARGV: epoch start, deadline (Unix ms), the keys of the public part and the purged-through
-- mark, which are only read, then part number, field, value …
local start, deadline = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local mark = redis.call('GET', ARGV[4])
if mark and start <= tonumber(mark) then return 'destroyed' end
if now >= deadline then return 'destroyed' end
if now < start then return 'not begun' end
for i = 5, #ARGV, 3 do
  local key = string.match(ARGV[i + 1], '^%x+')
  if redis.call('HEXISTS', ARGV[3], key) == 0 then return 'no key' end
  redis.call('HSETNX', KEYS[1], ARGV[i + 1], ARGV[i + 2])
end
redis.call('PEXPIREAT', KEYS[1], ARGV[2], 'LT')
return 'published'
