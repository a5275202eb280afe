-- KEYS: bucket, chunk, both in one slot: between a look at the head and the removal of what it covers
-- a failover could take the head back. ARGV: head field, what it holds, place in the list, bytes to
-- look at, then writers and how many frames of each are covered
-- Removes covered frames from there on. Answers the place to go on from, and 1 at the end; nothing where
-- the field holds another head: a failover has taken this one back, or a later generation has come.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return {} end
local covered = {}
for i = 5, #ARGV, 2 do covered[ARGV[i]] = tonumber(ARGV[i + 1]) end
local at, size = tonumber(ARGV[3]), 0
while size < tonumber(ARGV[4]) do
  local frames = redis.call('LRANGE', KEYS[2], at, at + 15)
  if #frames == 0 then return {at, 1} end
  for _, frame in ipairs(frames) do
    size = size + #frame
    local upto = covered[string.sub(frame, 2, 9)]
    local sequence, unit, i = 0, 1, 10
    repeat -- a varint
      local byte = string.byte(frame, i) or 0
      sequence, unit, i = sequence + byte % 128 * unit, unit * 128, i + 1
    until byte < 128
    if upto and #frame > 26 and sequence > 0 and sequence <= upto then
      redis.call('LREM', KEYS[2], 1, frame)
    else
      at = at + 1
    end
  end
end
return {at, 0}
