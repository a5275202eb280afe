-- KEYS: bucket. ARGV: deadline (Unix ms), claim field, owner, generation, head field, head, then the blocks' fields
-- Answers 0 where the claim is another's by now, -1 past the deadline, -2 where a block is missing.
-- The bucket has its expiry since it was claimed.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now >= tonumber(ARGV[1]) then return -1 end
local mine = ARGV[4] .. ' ' .. ARGV[3] .. ' '
local claim = redis.call('HGET', KEYS[1], ARGV[2])
if not claim or string.sub(claim, 1, #mine) ~= mine then return 0 end
for i = 7, #ARGV do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 then return -2 end
end
redis.call('HSET', KEYS[1], ARGV[5], ARGV[4] .. ' ' .. ARGV[6], ARGV[2], mine .. '0')
return 1
