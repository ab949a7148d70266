-- Counts requests against sliding windows, on Redis's clock, in one step.
--
-- A window is cut into 60 slots. A request counts in the slot it came in until 60 whole slots have passed since that slot
-- ended, so that no stretch of time as long as the window ever holds more requests than the limit. A request that is
-- refused by any window is counted in none.
--
-- Of each request, one after the other:
-- KEYS          a hash of the tenant's own limits, which go before the plan's; then one hash for each window: its slots,
--               `sum` of them, and `oldest`, the first slot that is not empty
-- ARGV          how many keys those are; then for each window: the plan's limit, the window's length in milliseconds, the
--               field of the tenant's own limits
-- returns       1 if it may pass, else 0; then of the tightest window: place from 1, limit, what remains, and the
--               milliseconds until more remains. Or in words why this one could not be counted.
local SLOTS = 60

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Drops the slots that no longer count, and returns what is left: the sum and its oldest slot.
local function forget(key, first, slot)
  local sum, oldest, gone = 0, slot, {}
  local entries = redis.call('HGETALL', key)
  for i = 1, #entries, 2 do
    local at = tonumber(entries[i])
    if at and at < first then
      gone[#gone + 1] = entries[i]
    elseif at then
      sum = sum + entries[i + 1]
      oldest = math.min(oldest, at)
    end
  end
  if #gone > 0 then redis.call('HDEL', key, unpack(gone)) end
  redis.call('HSET', key, 'sum', sum, 'oldest', oldest)
  return sum, oldest
end

-- Returns the slot with which enough requests have left for one more to pass.
local function enough_left(key, sum, limit)
  local counts, slots = {}, {}
  local entries = redis.call('HGETALL', key)
  for i = 1, #entries, 2 do
    local at = tonumber(entries[i])
    if at then
      counts[at] = tonumber(entries[i + 1])
      slots[#slots + 1] = at
    end
  end
  table.sort(slots)
  for _, at in ipairs(slots) do
    sum = sum - counts[at]
    if sum < limit then return at end
  end
  return slots[#slots]
end

-- Returns the windows of the request whose keys and arguments begin at these places, and whether all have room.
local function look(key_at, keys, argument_at)
  local fields = {}
  for i = 1, keys - 1 do fields[i] = ARGV[argument_at + 3 * i - 1] end
  local own = redis.call('HMGET', KEYS[key_at], unpack(fields))

  local windows, allowed = {}, true
  for i = 1, keys - 1 do
    local key, at = KEYS[key_at + i], argument_at + 3 * (i - 1)
    local length = tonumber(ARGV[at + 1])
    local limit = tonumber(own[i] or ARGV[at]) or tonumber(ARGV[at])
    local slot = math.floor(now * SLOTS / length)
    local state = redis.call('HMGET', key, 'sum', 'oldest')
    local sum, oldest = tonumber(state[1]) or 0, tonumber(state[2]) or slot
    if oldest < slot - SLOTS then sum, oldest = forget(key, slot - SLOTS, slot) end
    local window = {key = key, length = length, limit = limit, slot = slot, sum = sum, known = state[2], oldest = oldest}
    if sum >= limit then
      allowed = false
      -- More than the limit is in there only when the limit was lowered.
      if sum > limit then oldest = enough_left(key, sum, limit) or slot end
    end
    window.reset = (oldest + SLOTS + 1) * length / SLOTS - now
    window.remaining = math.max(limit - sum, 0)
    windows[i] = window
  end
  return windows, allowed
end

local function take(window)
  redis.call('HINCRBY', window.key, 'sum', 1)
  -- The first of a slot. A clock that was set back may make it older than the oldest.
  if redis.call('HINCRBY', window.key, window.slot, 1) == 1 then
    if not window.known or window.sum == 0 or window.slot < window.oldest then
      redis.call('HSET', window.key, 'oldest', window.slot)
    end
    redis.call('PEXPIRE', window.key, math.ceil(window.length * (SLOTS + 2) / SLOTS))
  end
  window.remaining = window.remaining - 1
end

local function count(key_at, keys, argument_at)
  local windows, allowed = look(key_at, keys, argument_at)
  local tightest
  for i, window in ipairs(windows) do
    if allowed then take(window) end
    local other = windows[tightest] or window
    if not tightest or window.remaining < other.remaining
      or (window.remaining == other.remaining and window.reset > other.reset) then
      tightest = i
    end
  end
  local window = windows[tightest]
  return {allowed and 1 or 0, tightest, window.limit, window.remaining, math.ceil(window.reset)}
end

local answers, key_at, argument_at = {}, 1, 1
while argument_at <= #ARGV do
  local keys = tonumber(ARGV[argument_at])
  local counted, answer = pcall(count, key_at, keys, argument_at + 1)
  if not counted then answer = type(answer) == 'table' and answer.err or tostring(answer) end
  answers[#answers + 1] = answer
  key_at, argument_at = key_at + keys, argument_at + 1 + 3 * (keys - 1)
end
return answers
