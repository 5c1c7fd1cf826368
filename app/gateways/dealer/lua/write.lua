-- Write a part of what is loaded, as long as the loading is ours and nobody forgot the sale meanwhile.
--
-- KEYS  1 loading (string); the commands name the others, all of the same sale
-- ARGV  1 token  2 life of the loading from now on, ms  3 … commands, each as the number of its parts and these
-- Returns  1 when it was written, 0 when the loading was overtaken or is somebody else's by now
-- Replay   writes the same once more; a last part, which ends the loading, is refused.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local at = 3
while at <= #ARGV do
  local count = tonumber(ARGV[at])
  redis.call(unpack(ARGV, at + 1, at + count))
  at = at + 1 + count
end
return 1
