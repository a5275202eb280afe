-- KEYS: bucket, chunk, both in one slot. ARGV: head field, what it holds, then frames
-- Answers 0 where it holds another head: a failover has taken this one back, or a later
-- generation has come. By value, so that whatever others have appended or removed
-- meanwhile, nothing else goes. A frame is near the front of its list.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
for i = 3, #ARGV do
  redis.call('LREM', KEYS[2], 1, ARGV[i])
end
return 1
