-- KEYS: bucket. ARGV: head field, what it holds, then the fields of old blocks
-- Answers 0 where it holds another head: a failover has taken this one back, or a later
-- generation has come.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], unpack(ARGV, 3))
return 1
