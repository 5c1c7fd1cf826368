-- Deal no more seats of a group.
--
-- KEYS  1 group (hash)  2 seats (bitmap)
-- ARGV  1 how long claims on it are still refused from memory, ms
-- Returns  1 when the group was there, 0 otherwise
-- Replay   sets what is set.

if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'open', '0')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return 1
