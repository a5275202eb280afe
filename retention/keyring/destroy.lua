-- KEYS: public, private, wraps, purged-through mark
-- ARGV: epoch start, how long to keep the mark at least (ms)
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
local mark = redis.call('GET', KEYS[4])
if not mark or tonumber(mark) < tonumber(ARGV[1]) then
  mark = ARGV[1]
end
-- Who restores a mark does not know for how long it was to be kept.
local left = redis.call('PTTL', KEYS[4])
redis.call('SET', KEYS[4], mark, 'PX', string.format('%d', math.max(left, tonumber(ARGV[2]))))
return 'destroyed'
