-- Have a sale loaded from the rows before anything of it is dealt, also when it is being loaded at this moment.
--
-- KEYS  1 terms (hash)  2 loading (string)
-- ARGV  none
-- Returns  1
-- Replay   forgets what is forgotten.

redis.call('UNLINK', KEYS[1])
-- Who is loading may have read the rows before they changed: from what they read nothing must be dealt.
local owner = redis.call('GET', KEYS[2])
if owner and owner:sub(-1) ~= '!' then
  redis.call('SET', KEYS[2], owner .. '!', 'KEEPTTL')
end
return 1
