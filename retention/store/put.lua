-- KEYS: bucket. ARGV: deadline (Unix ms), claim field, owner, lease (ms), generation, then fields and values
-- Answers 0 where the claim is another's by now, -1 past the deadline. The bucket has its
-- expiry since it was claimed: without a claim there is nothing to write to.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now >= tonumber(ARGV[1]) then return -1 end
local mine = ARGV[5] .. ' ' .. ARGV[3] .. ' '
local claim = redis.call('HGET', KEYS[1], ARGV[2])
if not claim or string.sub(claim, 1, #mine) ~= mine then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], mine .. string.format('%d', now + ARGV[4]), unpack(ARGV, 6))
return 1
