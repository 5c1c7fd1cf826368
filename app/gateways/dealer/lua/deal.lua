-- Take the places of one claim in one step, or refuse and take none.
--
-- KEYS  1 terms (hash)  2 claims (hash)  3 pending (zset)  4 purchases (hash)
--       5 offer (hash)  6 units (bitmap)  7 request (string)  8 group (hash)  9 seats (bitmap)
--       10 former (set)  11 lines (set)  12 tickets (hash), only in a flash sale
-- ARGV  1 now, ms  2 order id  3 member id  4 offer id  5 quantity  6 group id
--       7 deadline of a new group, ms, or '' to join  8 life of the request key, ms
--       9 '1' for somebody whose turn in the line it is  10 ticket id, with key 12
-- Returns  {'taken', order id, claim as JSON}; 'again' instead of 'taken' when this request had it before |
--          {'unloaded'} | {code of the refusal, '1' if the member ever had an order in this sale, detail}
-- Replay   the same request key gets the order id and the places it got before, also while its first
--          caller is still at work; every place has one bit or field, so nothing is taken twice. A ticket that
--          was used belongs to the request that did.

local terms, claims, pending, purchases = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local offer, units, request, group, seats, former = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local now, order_id, member_id = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local quantity, group_id, new_deadline = tonumber(ARGV[5]), ARGV[6], ARGV[7]
local call = redis.call

local t = call('HMGET', terms, 'selling', 'opens', 'closes', 'member_limit', 'group_size', 'expires',
  'purchases', 'former', 'sure', 'lines')
if not t[1] then
  return {'unloaded'}
end
local expires = tonumber(t[6])

local earlier = call('GET', request)
if earlier then
  local claim = call('HGET', claims, earlier)
  if claim then
    return {'again', earlier, claim}
  end
end

-- Only of a member who had an order here may the same request have been answered before. When some of these members
-- are missing, nobody may be refused: the sale has to be loaded. As long as the load is not sure, it may be anybody.
local function refuse(code, detail)
  local count = tonumber(t[7])
  if call('HLEN', purchases) ~= count or call('HLEN', claims) ~= count or call('SCARD', former) ~= tonumber(t[8]) then
    call('UNLINK', terms)
    return {'unloaded'}
  end
  local known = t[9] == '1' and call('SISMEMBER', former, member_id) or 1
  for number = 1, tonumber(t[4]) do
    if known == 1 then
      break
    end
    known = call('HEXISTS', purchases, member_id .. ':' .. number)
  end
  return {code, tostring(known), detail}
end

local tickets, ticket = KEYS[12], nil
if tickets then
  ticket = 'used:' .. ARGV[10]
  local user = call('HGET', tickets, ticket)
  if user and user ~= request then
    return refuse('ticket_used')
  end
end

-- What people wait for is sold to them first.
local lines = tonumber(t[10] or '0')
if lines > 0 and call('SCARD', KEYS[11]) ~= lines then
  call('UNLINK', terms)
  return {'unloaded'}
end
local function is_kept(id)
  return lines > 0 and ARGV[9] ~= '1' and call('SISMEMBER', KEYS[11], id) == 1
end

if now < tonumber(t[2]) then
  return refuse('sale_not_open', t[2])
end
if t[1] == 'ended' or now >= tonumber(t[3]) then
  return refuse('sale_ended')
end
if t[1] == 'paused' then
  return refuse('sale_paused')
end

local held = 0
if new_deadline == '' then
  local g = call('HMGET', group, 'size', 'deadline', 'open', 'held', 'paid', 'member:' .. member_id)
  if not g[1] then
    return {'unloaded'}
  end
  if g[3] ~= '1' or now >= tonumber(g[2]) then
    return refuse('group_closed')
  end
  if g[6] then
    return refuse('already_in_group')
  end
  if is_kept(group_id) then
    return refuse('group_full')
  end
  held = tonumber(g[4])
  if held + tonumber(g[5]) >= tonumber(g[1]) then
    return refuse('group_full')
  end
end

local purchase = nil
for number = 1, tonumber(t[4]) do
  if call('HEXISTS', purchases, member_id .. ':' .. number) == 0 then
    purchase = number
    break
  end
end
if not purchase then
  return refuse('member_limit', t[4])
end

local o = call('HMGET', offer, 'stock', 'taken', 'low')
if not o[1] then
  return {'unloaded'}
end
local stock, taken = tonumber(o[1]), tonumber(o[2])
if is_kept(ARGV[4]) then
  return refuse('sold_out', '0')
end
if stock - taken < quantity then
  return refuse('sold_out', tostring(stock - taken))
end

-- The lowest free bit, searched from the byte that was lowest last time.
local function take(bitmap, from_byte)
  local bit = call('BITPOS', bitmap, 0, from_byte)
  if bit < 0 then
    bit = call('STRLEN', bitmap) * 8
  end
  call('SETBIT', bitmap, bit, 1)
  return bit
end

local numbers, low = {}, tonumber(o[3])
for index = 1, quantity do
  local bit = take(units, low)
  numbers[index] = bit + 1
  low = math.floor(bit / 8)
end
if numbers[quantity] > stock then -- the count and the bits disagree: rebuild from the rows
  for _, number in ipairs(numbers) do
    call('SETBIT', units, number - 1, 0)
  end
  call('UNLINK', terms)
  return {'unloaded'}
end
call('HSET', offer, 'low', low, 'taken', taken + quantity)

if new_deadline ~= '' then
  call('HSET', group, 'size', t[5], 'deadline', new_deadline, 'open', '1', 'held', 1, 'paid', 0,
    'member:' .. member_id, order_id)
  call('PEXPIREAT', group, expires)
else
  call('HSET', group, 'held', held + 1, 'member:' .. member_id, order_id)
end
local seat = take(seats, 0) + 1
if seat == 1 then -- else it was there, with an end
  call('PEXPIREAT', seats, expires)
end

local claim = cjson.encode({
  offer_id = ARGV[4], units = numbers, group_id = group_id, seat = seat,
  member_id = member_id, purchase = purchase, paid = false,
})
call('HSET', purchases, member_id .. ':' .. purchase, order_id)
call('HINCRBY', terms, 'purchases', 1)
call('HSET', claims, order_id, claim)
if taken == 0 then -- while a unit of the offer is taken these are there, with an end
  call('PEXPIREAT', units, expires)
  call('PEXPIREAT', purchases, expires)
  call('PEXPIREAT', claims, expires)
end
call('ZADD', pending, now, order_id)
call('PEXPIREAT', pending, expires)
call('SET', request, order_id, 'PX', ARGV[8])
if ticket then
  call('HSET', tickets, ticket, request)
  call('PEXPIREAT', tickets, expires)
end
return {'taken', order_id, claim}
