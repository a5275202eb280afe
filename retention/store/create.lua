-- KEYS: chunk. ARGV: deadline (Unix ms), frame
redis.call('RPUSH', KEYS[1], ARGV[2])
return redis.call('PEXPIREAT', KEYS[1], ARGV[1], 'LT')
