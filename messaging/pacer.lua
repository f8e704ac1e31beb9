-- The pacer's state and rules. All times are whole microseconds of this server's clock; a client's clock is never asked.
--
-- A rate is r segments per minute. A message of n segments takes the slot at T and the next slot opens n * 60 s / r later:
-- exactly, because a position is (at, frac) = at + frac/r microseconds, and a slot is that rounded up. So in any window of
-- w microseconds the slots hold at most r*w segments and one message more, and no microsecond is lost over hours.
--
-- KEYS[1] state    hash: the newest reservation (id, at, frac, rate, units), epoch, count, run, closed, emptied
-- KEYS[2] free     sorted set: slots given back that still lie ahead
-- KEYS[3] recent   sorted set: what has a slot since the last second, for people to look at
-- KEYS[4] spent    sorted set: reservations given back, so that each is given back once
-- KEYS[5...]       counters of segments, one per day cap
-- They share one hash tag, so a tenant lives on one slot of a cluster.

local MINUTE = 60000000
local SECOND = 1000000
local REFUND_WINDOW = 120 * SECOND
local STATE_GRACE_MS = 300000
local EMPTIED_GRACE_MS = 30 * 86400000

local function whole(number)
  return string.format('%.0f', number)
end

local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * SECOND + tonumber(time[2])
end

local function rounded_up(slot)
  return slot.frac > 0 and slot.at + 1 or slot.at
end

-- Where the slot after `units` segments opens, at the given rate.
local function after(slot, units, rate)
  local at, frac = slot.at, slot.frac
  if slot.rate ~= rate then
    at, frac = rounded_up(slot), 0
  end
  local parts = frac + units * MINUTE
  local steps = math.floor(parts / rate)
  return { at = at + steps, frac = parts - steps * rate, rate = rate }
end

local function load_state(now)
  local field = redis.call('HMGET', KEYS[1], 'epoch', 'count', 'run', 'closed', 'id', 'at', 'frac', 'rate', 'units', 'emptied')
  if not field[1] then
    return { fresh = true, epoch = whole(now), count = 0, run = '', closed = 0, emptied = 0, newest = { id = '-', at = 0, frac = 0, rate = 1, units = 0 } }
  end
  return {
    epoch = field[1], count = tonumber(field[2]), run = field[3], closed = tonumber(field[4]), emptied = tonumber(field[10]) or 0,
    newest = { id = field[5], at = tonumber(field[6]), frac = tonumber(field[7]), rate = tonumber(field[8]), units = tonumber(field[9]) },
  }
end

-- Kept for as long as the newest reservation is being paid off, and a while longer; on a server that was emptied for a month, so
-- that a state which is not there is one that was lost.
local function save_state(state, now)
  local newest = state.newest
  redis.call('HSET', KEYS[1], 'epoch', state.epoch, 'count', whole(state.count), 'run', state.run, 'closed', whole(state.closed),
    'id', newest.id, 'at', whole(newest.at), 'frac', whole(newest.frac), 'rate', whole(newest.rate), 'units', whole(newest.units),
    'emptied', state.emptied)
  local paid = math.max(rounded_up(after(newest, newest.units, newest.rate)), state.closed, now)
  redis.call('PEXPIRE', KEYS[1], whole(math.ceil((paid - now) / 1000) + (state.emptied > 0 and EMPTIED_GRACE_MS or STATE_GRACE_MS)))
end

-- How often this server was emptied since it started, as its own statistics tell.
local function times_emptied()
  local stats, calls = redis.call('INFO', 'commandstats'), 0
  for _, name in ipairs({ 'flushall', 'flushdb' }) do
    calls = calls + tonumber(string.match(stats, 'cmdstat_' .. name .. ':calls=(%d+)') or '0')
  end
  return calls
end

-- A server that was restarted or emptied may have forgotten slots that lie ahead: nothing is granted until they have passed.
-- A state that it does not know is one that expired, unless the server is younger than the slots could be, or was emptied, or the caller
-- knows of a debt: `owed` microseconds until what was granted is paid off. Then nothing is granted until that is over, too.
local function opens_at(state, now, quarantine, owed)
  if quarantine == 0 then
    return now
  end
  local info = redis.call('INFO', 'server')
  local run = string.match(info, 'run_id:(%x+)')
  if state.run ~= run then
    local uptime = tonumber(string.match(info, 'uptime_in_seconds:(%d+)')) * SECOND
    state.emptied = state.fresh and times_emptied() or 0
    local expired = state.fresh and state.emptied == 0 and owed == 0
    state.closed = math.max((expired and now - uptime + SECOND or now) + quarantine, now + owed)
    state.run = run
    if not expired then
      save_state(state, now)
    end
  end
  return math.max(state.closed, now)
end

-- The next slot behind everything granted; an idle registration starts now, its idle time is not saved up.
local function tail_slot(state, rate, now)
  local slot = after(state.newest, state.newest.units, rate)
  if rounded_up(slot) <= now then
    return { at = now, frac = 0, rate = rate }
  end
  return slot
end

local function slot_text(slot)
  return table.concat({ slot.id, whole(slot.at), whole(slot.frac), whole(slot.rate), whole(slot.units) }, ':')
end

local function slot_of(text)
  local id, at, frac, rate, units = string.match(text, '^(.-):(%d+):(%d+):(%d+):(%d+)$')
  return { id = id, at = tonumber(at), frac = tonumber(frac), rate = tonumber(rate), units = tonumber(units), text = text }
end

local function load_free(now)
  local slots = {}
  for index, text in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], whole(now), '+inf')) do
    slots[index] = slot_of(text)
  end
  return slots
end

local function add_free(slot, now)
  local left = rounded_up(slot) - now
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. whole(now))
  redis.call('ZADD', KEYS[2], whole(rounded_up(slot)), slot_text(slot))
  redis.call('PEXPIRE', KEYS[2], whole(math.max(math.ceil(left / 1000), redis.call('PTTL', KEYS[2])) + 1))
end

-- The earliest slot given back that is long enough, of today's rate; what is left of it stays free.
local function free_slot(free, units, rate, horizon_end)
  for index, slot in ipairs(free) do
    if slot.rate == rate and units <= slot.units and rounded_up(slot) <= horizon_end then
      return slot, index
    end
  end
end

local function take_free(free, index, units, rate, now)
  local slot = table.remove(free, index)
  redis.call('ZREM', KEYS[2], slot.text)
  if units < slot.units then
    local rest = after(slot, units, rate)
    rest.id, rest.units = slot.id, slot.units - units
    rest.text = slot_text(rest)
    table.insert(free, index, rest)
    add_free(rest, now)
  end
end

local function load_days(count, first)
  local days = {}
  for index = 1, count do
    local base = first + (index - 1) * 3
    local day = { key = KEYS[4 + index], cap = tonumber(ARGV[base]), opens = tonumber(ARGV[base + 1]), resets = tonumber(ARGV[base + 2]), taken = 0 }
    day.used = tonumber(redis.call('GET', day.key) or '0')
    days[index] = day
  end
  return days
end

-- Why a message may not have the slot, and when to ask again; nothing if it may.
local function day_refusal(days, units, at, now)
  for index, day in ipairs(days) do
    if now < day.opens then
      return 'day_changed', day.opens
    end
    if at >= day.resets then
      return 'day_changed', math.max(day.resets, now)
    end
    if day.used + day.taken + units > day.cap then
      return 'day_cap:' .. index, day.resets
    end
  end
end

local function charge_days(days)
  for _, day in ipairs(days) do
    if day.taken > 0 then
      redis.call('INCRBY', day.key, whole(day.taken))
      redis.call('PEXPIREAT', day.key, whole(math.ceil(day.resets / 1000) + 3600000))
    end
  end
end

-- ARGV: rate, horizon, quarantine, owed, number of day caps, (cap, opens, resets) of each, then the segments of each message.
-- Answers now, when to ask again (-1: all were granted), why, when all slots are paid off, then (reservation, slot) of each message that was
-- granted, in order.
local function reserve(now)
  local rate, horizon, quarantine, day_count = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[6])
  local state = load_state(now)
  local opens = opens_at(state, now, quarantine, tonumber(ARGV[5]))
  if opens > now then
    return { now, opens, 'restarted', now }
  end
  local days, free = load_days(day_count, 7), load_free(now)
  local answer = { now, -1, '', now }
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', whole(now - SECOND))
  for argument = 7 + day_count * 3, #ARGV do
    local units = tonumber(ARGV[argument])
    local slot, index = free_slot(free, units, rate, now + horizon)
    slot = slot or tail_slot(state, rate, now)
    local at = rounded_up(slot)
    local refused, again = day_refusal(days, units, at, now)
    if at > now + horizon then
      answer[2] = at - horizon
      break
    elseif refused then
      answer[2], answer[3] = again, refused
      break
    end
    state.count = state.count + 1
    local granted = { id = state.epoch .. '.' .. whole(state.count), at = slot.at, frac = slot.frac, rate = slot.rate, units = units }
    if index then
      take_free(free, index, units, rate, now)
    else
      state.newest = granted
    end
    for _, day in ipairs(days) do
      day.taken = day.taken + units
    end
    redis.call('ZADD', KEYS[3], whole(at), granted.id .. ':' .. whole(units))
    answer[#answer + 1] = slot_text(granted)
    answer[#answer + 1] = at
  end
  answer[4] = rounded_up(tail_slot(state, rate, now))
  if #answer > 4 then
    charge_days(days)
    save_state(state, now)
    redis.call('PEXPIRE', KEYS[3], whole(math.ceil(horizon / 1000) + 2000))
  end
  return answer
end

-- ARGV: the reservation. Answers 1, or 0 if it was given back before or too long ago.
-- The newest reservation then owes nothing: the next one may have its slot. An older one leaves a slot that lies ahead to others;
-- a slot that has passed is lost, or two messages could leave at once.
local function refund(now)
  local slot = slot_of(ARGV[2])
  if redis.call('ZSCORE', KEYS[4], slot.id) or rounded_up(slot) <= now - REFUND_WINDOW then
    return 0
  end
  redis.call('ZADD', KEYS[4], whole(math.max(now, rounded_up(slot))), slot.id)
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', whole(now - REFUND_WINDOW))
  redis.call('PEXPIRE', KEYS[4], whole(math.ceil((math.max(now, rounded_up(slot)) - now + REFUND_WINDOW) / 1000)))
  for index = 5, #KEYS do
    if tonumber(redis.call('GET', KEYS[index]) or '0') >= slot.units then
      redis.call('DECRBY', KEYS[index], whole(slot.units))
    end
  end
  redis.call('ZREM', KEYS[3], slot.id .. ':' .. whole(slot.units))
  local state = load_state(now)
  if state.newest.id == slot.id then
    state.newest.units = 0
    save_state(state, now)
  elseif rounded_up(slot) > now and string.match(slot.id, '^(%d+)%.') == state.epoch then
    add_free(slot, now)
  end
  return 1
end

-- ARGV: rate, quarantine, owed. Answers now, the next slot, segments with a slot in the last second, the day counters.
local function peek(now)
  local state = load_state(now)
  local answer = { now, math.max(rounded_up(tail_slot(state, tonumber(ARGV[2]), now)), opens_at(state, now, tonumber(ARGV[3]), tonumber(ARGV[4]))), 0 }
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. whole(now - SECOND), whole(now))) do
    answer[3] = answer[3] + tonumber(string.match(member, ':(%d+)$'))
  end
  for index = 5, #KEYS do
    answer[#answer + 1] = tonumber(redis.call('GET', KEYS[index]) or '0')
  end
  return answer
end

local operations = { reserve = reserve, refund = refund, peek = peek }
return operations[ARGV[1]](clock())
