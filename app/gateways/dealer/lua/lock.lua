-- Begin to load a sale, and have nothing of it dealt meanwhile.
--
-- KEYS  1 terms (hash)  2 loading (string)
-- ARGV  1 token  2 life of the loading, ms
-- Returns  1 when the loading is ours, 0 when it is somebody else's
-- Replay   a loading that is ours already stays ours.

local owner = redis.call('GET', KEYS[2])
if owner and owner ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
redis.call('UNLINK', KEYS[1])
return 1
