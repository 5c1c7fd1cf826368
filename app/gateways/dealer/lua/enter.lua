-- Put a member in line for a flash sale, or see how the line stands. Who has had their turn gets a ticket.
--
-- KEYS  1 terms (hash)  2 line (hash)  3 tickets (hash)  4 members from this device (set)
--       5 members from this address (set)  6 proof (string)  7 lines (set)  8 … offers (hashes)
-- ARGV  1 now, ms  2 member id, or '' to see only how the line stands  3 '1' to get in line, '0' to look
--       4 how many are let in each second, or '' for all  5 members from one device, or ''
--       6 members from one address, or ''  7 '' when no proof is needed, 'missing', or the life of the proof's key, ms
--       8 id of a new ticket  9 its end, Unix time in seconds  10 … ids of the offers
-- Returns  {'line', phase of the sale, the member's number or 0, how many were let in, how many came, units left,
--          units taken, ticket id or '', its end} | {'unloaded'} | {code of the refusal, detail}
-- Replay   a member has one number for ever, and one ticket until it is used or its time is up; a proof is used by
--          who gets in line with it. The line only moves on, whatever the clock says.

local terms, line, tickets = KEYS[1], KEYS[2], KEYS[3]
local now, member_id, rate = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[4])
local call = redis.call

local t = call('HMGET', terms, 'selling', 'opens', 'closes', 'expires')
if not t[1] then
  return {'unloaded'}
end
local opens, expires = tonumber(t[2]), t[4]
local phase = 'selling'
if t[1] == 'ended' or now >= tonumber(t[3]) then
  phase = 'closed'
elseif now < opens then
  phase = 'early'
elseif t[1] == 'paused' then
  phase = 'paused'
end

-- What is kept for those who wait for it is not there for anybody else.
local left, all_taken = 0, 0
for index = 8, #KEYS do
  local o = call('HMGET', KEYS[index], 'stock', 'taken')
  if not o[1] then
    return {'unloaded'}
  end
  if call('SISMEMBER', KEYS[7], ARGV[index + 2]) == 0 then
    left = left + math.max(0, tonumber(o[1]) - tonumber(o[2]))
  end
  all_taken = all_taken + tonumber(o[2])
end

local l = call('HMGET', line, '#came', '#admitted', '#at', member_id)
local came, admitted = tonumber(l[1] or '0'), tonumber(l[2] or '0')
local at, number = math.max(tonumber(l[3] or '0'), opens), tonumber(l[4] or '0')

-- Members are counted once, where they get in line: coming again counts nothing and lets nobody in.
local function count(key, limit)
  return limit ~= '' and call('SCARD', key) >= tonumber(limit)
end
if number == 0 and ARGV[3] == '1' and phase ~= 'closed' then
  if ARGV[7] == 'missing' then
    return {'proof_missing'}
  end
  if count(KEYS[4], ARGV[5]) then
    return {'device_limit', ARGV[5]}
  end
  if count(KEYS[5], ARGV[6]) then
    return {'address_limit', ARGV[6]}
  end
  if ARGV[7] ~= '' and not call('SET', KEYS[6], '1', 'NX', 'PX', ARGV[7]) then
    return {'proof_used'}
  end
  for index = 4, 5 do
    if ARGV[index + 1] ~= '' then
      call('SADD', KEYS[index], member_id)
      call('PEXPIREAT', KEYS[index], expires)
    end
  end
  if ARGV[5] ~= '' or ARGV[6] ~= '' then -- so that who is erased is found where they were counted
    call('HSET', line, 'from:' .. member_id, KEYS[4] .. ' ' .. KEYS[5])
  end
  came = came + 1
  number = came
  call('HSET', line, '#came', came, member_id, number)
end

-- While nobody waits the moment stays where it is: who comes next does not wait for the time since.
if came > admitted and phase ~= 'early' and phase ~= 'closed' then
  now = math.max(now, at)
  local moved = admitted
  if phase == 'selling' then
    moved = rate and math.min(came, admitted + rate * (now - at) / 1000) or came
  end
  call('HSET', line, '#admitted', string.format('%.6f', moved), '#at', string.format('%d', now))
  admitted = moved
end
if came > 0 then
  call('PEXPIREAT', line, expires)
end
admitted = math.floor(admitted + 0.000001)

local ticket, ends = '', 0
if number > 0 and number <= admitted and phase == 'selling' and left > 0 then
  local given = call('HGET', tickets, member_id)
  if given then
    local gap = given:find(' ')
    ticket, ends = given:sub(1, gap - 1), tonumber(given:sub(gap + 1))
  end
  if ends * 1000 <= tonumber(ARGV[1]) or call('HEXISTS', tickets, 'used:' .. ticket) == 1 then
    ticket, ends = ARGV[8], tonumber(ARGV[9])
    call('HSET', tickets, member_id, ticket .. ' ' .. ends)
    call('PEXPIREAT', tickets, expires)
  end
end
return {'line', phase, number, admitted, came, left, all_taken, ticket, ends}
