-- Say which offers and groups have people in line: others are not dealt what comes free of them.
--
-- KEYS  1 terms (hash)  2 lines (set)  3 loading (string)
-- ARGV  1 'add' or 'replace'  2 … ids of offers and groups
-- Returns  1 when it was written, 0 while the sale is not loaded: then the load says it
-- Replay   a set of ids stays the set it is.

if redis.call('EXISTS', KEYS[1]) == 0 then
  -- Who is loading may have read the rows before somebody stood in line.
  local owner = redis.call('GET', KEYS[3])
  if owner and owner:sub(-1) ~= '!' then
    redis.call('SET', KEYS[3], owner .. '!', 'KEEPTTL')
  end
  return 0
end
if ARGV[1] == 'replace' then
  redis.call('UNLINK', KEYS[2])
end
for index = 2, #ARGV do
  redis.call('SADD', KEYS[2], ARGV[index])
end
redis.call('HSET', KEYS[1], 'lines', redis.call('SCARD', KEYS[2]))
if #ARGV > 1 then
  redis.call('PEXPIREAT', KEYS[2], redis.call('HGET', KEYS[1], 'expires'))
end
return 1
