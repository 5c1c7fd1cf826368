-- Which members hold a purchase in a sale, or gave one back: their requests may have been answered before.
--
-- KEYS  1 terms (hash)  2 purchases (hash)  3 former (set)
-- ARGV  1 … member ids
-- Returns  for each of them 1 or 0; 1 for all while the sale is not loaded, the load is not sure, or some of
--          them are missing
-- Replay   reads only.

local known = {}
local counted = redis.call('HMGET', KEYS[1], 'purchases', 'former', 'sure')
if counted[3] ~= '1' or redis.call('HLEN', KEYS[2]) ~= tonumber(counted[1]) or redis.call('SCARD', KEYS[3]) ~= tonumber(counted[2]) then
  for index = 1, #ARGV do
    known[index] = 1
  end
  return known
end
-- Who holds a later purchase and not the first has given that one back, and is among the former.
local first = {}
for index, member_id in ipairs(ARGV) do
  first[index] = member_id .. ':1'
end
local held = redis.call('HMGET', KEYS[2], unpack(first))
known = redis.call('SMISMEMBER', KEYS[3], unpack(ARGV))
for index = 1, #ARGV do
  if held[index] then
    known[index] = 1
  end
end
return known
