-- Count one order's seat as paid.
--
-- KEYS  1 claims (hash)  2 group (hash)  3 terms (hash)  4 loading (string)
-- ARGV  1 order id
-- Returns  1 when the counts changed, 0 otherwise; also while the sale is being loaded: the worker says it again
-- Replay   the claim remembers that it is paid.

if redis.call('EXISTS', KEYS[3]) == 0 and redis.call('EXISTS', KEYS[4]) == 1 then
  return 0
end
local packed = redis.call('HGET', KEYS[1], ARGV[1])
if not packed then
  return 0
end
local claim = cjson.decode(packed)
if claim.paid then
  return 0
end
claim.paid = true
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(claim))
if redis.call('HEXISTS', KEYS[2], 'member:' .. claim.member_id) == 1 then
  redis.call('HINCRBY', KEYS[2], 'held', -1)
  redis.call('HINCRBY', KEYS[2], 'paid', 1)
end
return 1
