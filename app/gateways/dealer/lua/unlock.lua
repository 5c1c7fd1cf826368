-- Delete a lock that is still ours.
--
-- KEYS  1 lock (string)
-- ARGV  1 token
-- Returns  1 when it was ours, 0 otherwise
-- Replay   a lock that is gone, or somebody else's, is left alone.

if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
