-- Stop watching claims that have their orders, and find those of them that are not known any more.
--
-- KEYS  1 pending (zset)  2 claims (hash)
-- ARGV  1 … order ids
-- Returns  the order ids that have no claim: Redis lost them, or gave them back, before they were committed
-- Replay   what is not watched any more is only looked up.

local lost = {}
for _, order_id in ipairs(ARGV) do
  if redis.call('ZREM', KEYS[1], order_id) == 0 and redis.call('HEXISTS', KEYS[2], order_id) == 0 then
    lost[#lost + 1] = order_id
  end
end
return lost
