-- KEYS: public, private, wraps, purged-through mark
-- ARGV: epoch start, how long to keep the mark (ms)
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
local mark = redis.call('GET', KEYS[4])
if not mark or tonumber(mark) < tonumber(ARGV[1]) then
  mark = ARGV[1]
end
redis.call('SET', KEYS[4], mark, 'PX', ARGV[2])
return 'destroyed'
