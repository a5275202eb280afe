-- KEYS: directory. ARGV: deadline (Unix ms), field, value
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return redis.call('PEXPIREAT', KEYS[1], ARGV[1], 'LT')
