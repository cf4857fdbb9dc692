"""The verbs in Lua, as Redis and Valkey run them: each a script of its own, atomic, by the server's clock.

KEYS are ``door`` (a hash with the fields of ``record.EndpointRecord``), ``members`` (a sorted set, by the end of
membership) and, for what concerns a key or an owner, a second hash or the set of the owner's claims. ``denied`` is
a sorted set of the keys that are refused, by the end of that: operators have it counted, and nothing else depends on
it. All of an endpoint have one hash tag, so a cluster keeps them together. Everything has a time to live, after which
the server forgets it.

The server's clock is its wall clock, which an operator may set back. Each record therefore says when it was last
written (``at``); where that lies in the future, its times are moved back by as much, so that a lease or a hold is
prolonged by no more than what had passed of it. A clock set forward ends them early, which a fence survives.

Anybody may have written to the record: ``sane`` makes a number of whatever is there. What it may say is judged in
``bounded.py``.

``resets`` counts: a denial of before the last reset is none, without a search for all keys.
"""

from __future__ import annotations

_BEGIN = """
local TIME = redis.call('TIME')
local now = TIME[1] + TIME[2] / 1000000
local KEEP = 604800
local DOOR, MEMBERS = KEYS[1], KEYS[2]
local NOBODY = ''
local FAR, MOST, LONGEST = 1e12, 1e14, 315360000

local function sane(value)
  local n = tonumber(value)
  if not n or n ~= n then return 0 end
  return math.max(-FAR, math.min(n, MOST))
end

local function record(key, times)
  local flat, r = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do r[flat[i]] = flat[i + 1] end
  local ahead = r.at and sane(r.at) - now or 0
  if ahead > 0 then
    redis.call('HSET', key, 'at', now)
    for _, name in ipairs(times) do
      if r[name] then
        r[name] = sane(r[name]) - ahead
        redis.call('HSET', key, name, r[name])
      end
    end
  end
  return r, ahead
end

local door, ahead = record(DOOR, {'probe_at', 'opened_at', 'lease_until', 'hold_until', 'hold_at', 'cleared_at'})
if ahead > 0 then
  for _, owner in ipairs(redis.call('ZRANGE', MEMBERS, 0, -1)) do redis.call('ZINCRBY', MEMBERS, -ahead, owner) end
end
local function number(name) return sane(door[name]) end
local function rest(until_) return math.max(0, until_ - now) end

local function write(changes)
  changes.at = now
  for name, value in pairs(changes) do
    door[name] = value
    redis.call('HSET', DOOR, name, value)
  end
  redis.call('EXPIRE', DOOR, math.ceil(math.min(LONGEST, math.max(KEEP, rest(number('hold_until'))))))
end

local function outlast(key, seconds)
  if redis.call('TTL', key) < seconds then redis.call('EXPIRE', key, math.ceil(seconds)) end
end

local function after(n)
  if n <= 0 or n >= MOST then n = math.floor(now * 1000) end
  return n + 1
end

local function is_open() return door.is_open == '1' end
local function is_held() return number('hold_until') > now end

local function view()
  local v = {
    generation = number('generation'),
    lease_for = rest(number('lease_until')),
    hold_for = rest(number('hold_until')),
    hold_cause = '',
    members = redis.call('ZCOUNT', MEMBERS, '(' .. string.format('%.6f', now), '+inf'),
  }
  if v.hold_for > 0 then
    v.hold_cause = door.hold_cause or ''
    v.hold_age = math.max(0, now - number('hold_at'))
  end
  local cleared_at = number('cleared_at')
  if cleared_at > 0 and cleared_at <= now then v.cleared_ago = now - cleared_at end
  if is_open() then
    v.opening = {
      probe_in = rest(number('probe_at')), opened_for = math.max(0, now - number('opened_at')),
      level = number('level'), cause = door.cause or '', status = number('status'),
    }
  end
  return v
end

local function move(opening)
  local changes = {generation = after(number('generation')), prober = NOBODY, lease_until = 0, is_open = '0'}
  if opening then
    changes.is_open = '1'
    changes.probe_at = now + opening.probe_in
    changes.opened_at = now - opening.opened_for
    changes.level, changes.cause, changes.status = opening.level, opening.cause, opening.status
  end
  write(changes)
end
"""

LOOK = (
    _BEGIN
    + """
return cjson.encode(view())
"""
)

SURVEY = (
    _BEGIN
    + """
local prober = door.prober or NOBODY
return cjson.encode({
  view = view(),
  prober = prober ~= NOBODY and number('lease_until') > now and prober or nil,
  denied = redis.call('ZCOUNT', KEYS[3], '(' .. string.format('%.6f', now), '+inf'),
})
"""
)

OPEN = (
    _BEGIN
    + """
if number('generation') == tonumber(ARGV[1]) then move(cjson.decode(ARGV[2])) end
return cjson.encode(view())
"""
)

CLAIM_PROBE = (
    _BEGIN
    + """
local owner, seconds = ARGV[1], tonumber(ARGV[2])
local prober = door.prober or NOBODY
local free = prober == NOBODY or prober == owner or number('lease_until') <= now
local fence = false
if is_open() and number('probe_at') <= now and not is_held() and free then
  fence = after(number('fence'))
  write({fence = fence, prober = owner, lease_until = now + seconds})
end
return cjson.encode({fence = fence, view = view()})
"""
)

CONCLUDE = (
    _BEGIN
    + """
local owner, fence, opening = ARGV[1], tonumber(ARGV[2]), cjson.decode(ARGV[3])
local has_lease = door.prober == owner and number('fence') == fence and number('lease_until') > now
if has_lease or fence > number('fence') then
  move(opening ~= cjson.null and opening or nil)
end
return cjson.encode(view())
"""
)

HOLD = (
    _BEGIN
    + """
local till = now + tonumber(ARGV[1])
local since = now - tonumber(ARGV[3])
if till > number('hold_until') and since >= number('cleared_at') then
  write({hold_until = till, hold_cause = ARGV[2], hold_at = since})
end
return cjson.encode(view())
"""
)

JOIN = (
    _BEGIN
    + """
local owner, seconds = ARGV[1], tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', MEMBERS, '-inf', now)
redis.call('ZADD', MEMBERS, now + seconds, owner)
write({})
outlast(MEMBERS, seconds)
return cjson.encode(view())
"""
)

LEAVE = (
    _BEGIN
    + """
local owner, prefix = ARGV[1], ARGV[2]
redis.call('ZREM', MEMBERS, owner)
if door.prober == owner then write({prober = NOBODY, lease_until = 0}) end
for _, name in ipairs(redis.call('SMEMBERS', KEYS[3])) do
  local key = prefix .. name
  if redis.call('HGET', key, 'owner') == owner then redis.call('HDEL', key, 'owner', 'claimed_until') end
end
redis.call('DEL', KEYS[3])
"""
)

CLEAR_HOLD = (
    _BEGIN
    + """
write({hold_until = 0, cleared_at = now})
"""
)

RESET = (
    _BEGIN
    + """
move(nil)
write({resets = number('resets') + 1})
if ARGV[1] ~= '1' then write({hold_until = 0, cleared_at = now}) end
redis.call('DEL', KEYS[3])
"""
)

_KEY = (
    _BEGIN
    + """
local KEY = KEYS[3]
local key = record(KEY, {'claimed_until', 'denied_until', 'token_until'})
local function time(name) return sane(key[name]) end
local function is_busy(owner) return key.owner and key.owner ~= owner and time('claimed_until') > now end

local function keep(changes)
  changes.at = now
  for name, value in pairs(changes) do
    key[name] = value
    redis.call('HSET', KEY, name, value)
  end
  local ends = math.max(time('claimed_until'), time('denied_until'), time('token_until'))
  local keep_for = math.ceil(math.min(LONGEST, rest(ends)) * 1000)
  if ends > now then redis.call('PEXPIRE', KEY, keep_for) else redis.call('DEL', KEY) end
end

local function end_token()
  redis.call('HDEL', KEY, 'token')
  key.token = nil
  return 0
end
"""
)

CLAIM_KEY = (
    _KEY
    + """
local owner, seconds, name, beyond = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local s = {mine = false, busy_for = 0, view = view()}
if is_busy(owner) then s.busy_for = rest(time('claimed_until')) end
if time('denied_until') > now and time('resets') == number('resets') then
  s.denial = {
    seconds = rest(time('denied_until')), times = time('times'), status = time('status'), detail = key.detail or '',
    code = key.code ~= NOBODY and key.code or nil,
  }
end
if key.token and time('token_until') - now > beyond then s.token = {key.token, rest(time('token_until'))} end
if not (is_open() or is_held() or s.busy_for > 0 or s.denial or s.token) then
  s.mine = true
  keep({owner = owner, claimed_until = now + seconds})
  redis.call('SADD', KEYS[4], name)
  outlast(KEYS[4], seconds)
end
return cjson.encode(s)
"""
)

RELEASE_KEY = (
    _KEY
    + """
local owner, name, carries = ARGV[1], ARGV[2], ARGV[3] == '1'
local denial, token = cjson.decode(ARGV[4]), cjson.decode(ARGV[5])
if is_busy(owner) then return end
local changes = {claimed_until = 0}
if token ~= cjson.null then
  changes.denied_until = 0
  redis.call('ZREM', KEYS[5], name)
  if carries then changes.token, changes.token_until = token[1], now + token[2] end
end
if denial ~= cjson.null then
  changes.denied_until = now + denial.seconds
  changes.times, changes.status, changes.detail = denial.times, denial.status, denial.detail
  changes.code = denial.code ~= cjson.null and denial.code or NOBODY
  changes.resets = number('resets')
  changes.token, changes.token_until = nil, end_token()
  redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now)
  redis.call('ZADD', KEYS[5], changes.denied_until, name)
  outlast(KEYS[5], denial.seconds)
end
redis.call('SREM', KEYS[4], name)
keep(changes)
"""
)

FORGET_KEY = (
    _KEY
    + """
keep({denied_until = 0, token_until = end_token()})
redis.call('ZREM', KEYS[4], ARGV[1])
"""
)

SCRIPTS = (
    LOOK, SURVEY, OPEN, CLAIM_PROBE, CONCLUDE, HOLD, JOIN, LEAVE, CLAIM_KEY, RELEASE_KEY, FORGET_KEY, CLEAR_HOLD,
    RESET,
)  # fmt: skip
