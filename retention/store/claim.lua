-- KEYS: bucket. ARGV: deadline (Unix ms), claim field, owner, lease (ms)
-- Answers the generation claimed, 0 where somebody else has it, -1 past the deadline.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now >= tonumber(ARGV[1]) then return -1 end
local generation = 0
local claim = redis.call('HGET', KEYS[1], ARGV[2])
if claim then
  local number, owner, till = string.match(claim, '^(%d+) (%S+) (%d+)$')
  if owner ~= ARGV[3] and tonumber(till) > now then return 0 end
  generation = tonumber(number)
end
redis.call('HSET', KEYS[1], ARGV[2], string.format('%d %s %d', generation + 1, ARGV[3], now + ARGV[4]))
redis.call('PEXPIREAT', KEYS[1], ARGV[1], 'LT')
return generation + 1
