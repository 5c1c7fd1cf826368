-- Deal seats of a group until a later deadline.
--
-- KEYS  1 group (hash)
-- ARGV  1 deadline, ms
-- Returns  1 when the group was there, 0 otherwise
-- Replay   sets what is set.

if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'deadline', ARGV[1])
return 1
