-- Give back every place of one order.
--
-- KEYS  1 claims (hash)  2 pending (zset)  3 purchases (hash)  4 offer (hash)  5 units (bitmap)
--       6 group (hash)  7 seats (bitmap)  8 former (set)  9 terms (hash)  10 loading (string)
-- ARGV  1 order id  2 life of an empty group's keys, ms
-- Returns  1 when places were given back, 0 when the order holds none, or the sale is being loaded
-- Replay   the claim is deleted with its places, so a second release finds nothing to free.

local claims, pending, purchases, offer = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local units, group, seats, former, terms = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]

local in_flight = redis.call('ZREM', pending, ARGV[1])
if redis.call('EXISTS', terms) == 0 then
  local owner = redis.call('GET', KEYS[10])
  if owner then
    -- Half of the sale is written: taking from that would leave the other half. An order is found again, among those
    -- that changed since the rows were read; with a claim that has none the loading has to begin anew.
    if in_flight == 1 and owner:sub(-1) ~= '!' then
      redis.call('SET', KEYS[10], owner .. '!', 'KEEPTTL')
    end
    return 0
  end
end
local packed = redis.call('HGET', claims, ARGV[1])
if not packed then
  return 0
end
local claim = cjson.decode(packed)
local expires = redis.call('PEXPIRETIME', claims)
redis.call('HDEL', claims, ARGV[1])

local low = tonumber(redis.call('HGET', offer, 'low') or '0')
local there = redis.call('EXISTS', units) == 1
for _, number in ipairs(claim.units) do
  if there then -- else it was evicted, and would be made anew without an end
    redis.call('SETBIT', units, number - 1, 0)
  end
  low = math.min(low, math.floor((number - 1) / 8))
end
if redis.call('EXISTS', offer) == 1 then
  redis.call('HSET', offer, 'low', low)
  redis.call('HINCRBY', offer, 'taken', -#claim.units)
end

-- The purchase is free again, but the member's requests may have been answered.
local purchase = redis.call('HDEL', purchases, claim.member_id .. ':' .. claim.purchase)
local left = redis.call('SADD', former, claim.member_id)
if redis.call('EXISTS', terms) == 1 then
  redis.call('HINCRBY', terms, 'purchases', -purchase)
  redis.call('HINCRBY', terms, 'former', left)
end
if expires > 0 then
  redis.call('PEXPIREAT', former, expires)
end

if redis.call('HDEL', group, 'member:' .. claim.member_id) == 1 then
  redis.call('SETBIT', seats, claim.seat - 1, 0)
  redis.call('HINCRBY', group, claim.paid and 'paid' or 'held', -1)
  local g = redis.call('HMGET', group, 'held', 'paid')
  if tonumber(g[1]) + tonumber(g[2]) == 0 then -- an empty group is over; its keys go soon
    redis.call('HSET', group, 'open', '0')
    redis.call('PEXPIRE', group, ARGV[2])
    redis.call('PEXPIRE', seats, ARGV[2])
  end
end
return 1
