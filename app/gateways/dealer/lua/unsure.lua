-- Let a sale that is loaded be unsure: it may not know everybody who bought.
--
-- KEYS  1 terms (hash)
-- ARGV  none
-- Returns  1 when it is loaded, 0 otherwise
-- Replay   sets what is set.

if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'sure', '0')
return 1
