-- KEYS: public, private, wraps, purged-through mark
-- ARGV: epoch start, deadline (Unix ms), then part number, field, value …
local start, deadline = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local mark = redis.call('GET', KEYS[4])
if mark and start <= tonumber(mark) then return 'destroyed' end
if now >= deadline then return 'destroyed' end
if now < start then return 'not begun' end
-- Nothing is replaced, but by the same key for an earlier deadline: eight bytes, big-endian.
local at = {10, 1}
for i = 3, #ARGV, 3 do
  local part, field, value = tonumber(ARGV[i]), ARGV[i + 1], ARGV[i + 2]
  local before = redis.call('HGET', KEYS[part], field)
  local from = at[part]
  if not before or from and #before >= from + 7 and #value >= from + 7
    and string.sub(value, from, from + 7) < string.sub(before, from, from + 7) then
    redis.call('HSET', KEYS[part], field, value)
  end
end
for part = 1, 3 do
  redis.call('PEXPIREAT', KEYS[part], ARGV[2], 'LT')
end
return 'published'
