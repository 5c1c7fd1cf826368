-- End a loading that is still ours, overtaken or not.
--
-- KEYS  1 loading (string)
-- ARGV  1 token
-- Returns  1 when it was ours, 0 otherwise
-- Replay   a loading that is over, or somebody else's, is left alone.

local owner = redis.call('GET', KEYS[1])
if owner == ARGV[1] or owner == ARGV[1] .. '!' then
  return redis.call('DEL', KEYS[1])
end
return 0
