-- KEYS: public, private, wraps, purged-through mark
-- ARGV: epoch start, deadline (Unix ms), then part number, field, value …
local start, deadline = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local mark = redis.call('GET', KEYS[4])
if mark and start <= tonumber(mark) then return 'destroyed' end
if now >= deadline then return 'destroyed' end
if now < start then return 'not begun' end
for i = 3, #ARGV, 3 do
  redis.call('HSETNX', KEYS[tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2])
end
for part = 1, 3 do
  redis.call('PEXPIREAT', KEYS[part], ARGV[2], 'LT')
end
return 'published'
