-- KEYS: public, wraps, purged-through mark
-- ARGV: epoch start, deadline (Unix ms), then part number, field, value …
local start, deadline = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local mark = redis.call('GET', KEYS[3])
if mark and start <= tonumber(mark) then return 'destroyed' end
if now >= deadline then return 'destroyed' end
if now < start then return 'not begun' end
for i = 3, #ARGV, 3 do
  local key = string.match(ARGV[i + 1], '^%x+')
  if redis.call('HEXISTS', KEYS[1], key) == 0 then return 'no key' end
  redis.call('HSETNX', KEYS[2], ARGV[i + 1], ARGV[i + 2])
end
redis.call('PEXPIREAT', KEYS[2], ARGV[2], 'LT')
return 'published'
