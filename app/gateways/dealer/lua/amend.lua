-- Bring what is known of a paid order in line with its row.
--
-- KEYS  1 claims (hash)  2 group (hash)  3 seats (bitmap)  4 former group (hash)  5 former seats (bitmap)
--       6 offer (hash)  7 units (bitmap)  8 terms (hash)  9 loading (string)
-- ARGV  1 order id  2 group id  3 seat  4 how many units it keeps
-- Returns  1 when something changed, 0 otherwise; also while the sale is being loaded: the worker says it again
-- Replay   the claim remembers where it is, that it is paid, and its units.

local claims, group, seats, former, former_seats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local offer, units, keep = KEYS[6], KEYS[7], tonumber(ARGV[4])

if redis.call('EXISTS', KEYS[8]) == 0 and redis.call('EXISTS', KEYS[9]) == 1 then
  return 0
end
local packed = redis.call('HGET', claims, ARGV[1])
if not packed then
  return 0
end
local claim = cjson.decode(packed)
local member, changed = 'member:' .. claim.member_id, 0

local function set_bit(bitmap, number, bit)
  if redis.call('EXISTS', bitmap) == 1 then -- else it was evicted, and would be made anew without an end
    redis.call('SETBIT', bitmap, number - 1, bit)
  end
end

if claim.group_id ~= ARGV[2] then
  local count = claim.paid and 'paid' or 'held'
  if redis.call('HGET', former, member) == ARGV[1] then
    redis.call('HDEL', former, member)
    redis.call('HINCRBY', former, count, -1)
    set_bit(former_seats, claim.seat, 0)
  end
  claim.group_id, claim.seat = ARGV[2], tonumber(ARGV[3])
  if redis.call('EXISTS', group) == 1 then
    local g = redis.call('HMGET', group, 'held', 'paid')
    if tonumber(g[1]) + tonumber(g[2]) == 0 then -- it was taken for empty, and for over, before this was told
      redis.call('HSET', group, 'open', '1')
      local expires = redis.call('PEXPIRETIME', claims)
      if expires > 0 then
        redis.call('PEXPIREAT', group, expires)
        redis.call('PEXPIREAT', seats, expires)
      end
    end
    redis.call('HSET', group, member, ARGV[1])
    redis.call('HINCRBY', group, count, 1)
    set_bit(seats, claim.seat, 1)
  end
  changed = 1
end

if not claim.paid then
  claim.paid = true
  if redis.call('HGET', group, member) == ARGV[1] then
    redis.call('HINCRBY', group, 'held', -1)
    redis.call('HINCRBY', group, 'paid', 1)
  end
  changed = 1
end

if #claim.units > keep and redis.call('EXISTS', offer) == 1 then
  local low = tonumber(redis.call('HGET', offer, 'low') or '0')
  redis.call('HINCRBY', offer, 'taken', keep - #claim.units)
  while #claim.units > keep do
    local number = table.remove(claim.units)
    set_bit(units, number, 0)
    low = math.min(low, math.floor((number - 1) / 8))
  end
  redis.call('HSET', offer, 'low', low)
  changed = 1
end

if changed == 1 then
  redis.call('HSET', claims, ARGV[1], cjson.encode(claim))
end
return changed
