-- Check, enqueue, mark: one message put on a Dramatiq queue unless some of its events were seen.
--
-- KEYS
--   1  $namespace:$queue         list of message ids             (as in Dramatiq's dispatch.lua)
--   2  $namespace:$queue.msgs    hash of message id -> message   (as in Dramatiq's dispatch.lua)
--   3  $namespace:seen:$slot     set of fingerprints marked in this slot
--   4  $namespace:seen:$slot-1   set of fingerprints marked before those; replaced by 3 when 3 is full
-- ARGV
--   1  message id    2  message    3  seconds that a slot is kept    4  fingerprints in a full set
--   5  "1": check first            6… fingerprints of the message's events, as far as they have one
--
-- Returns the fingerprints seen before; if there are any, nothing was changed.
--
-- Unlike dispatch.lua it leaves $namespace:__heartbeats__ alone: those are for who takes messages
-- off the queue, and maintenance runs KEYS once for each of them that has died.

local queue, messages, seen_now, seen_before = unpack(KEYS)
local id, message, seen_seconds, seen_max, check = unpack(ARGV, 1, 5)
local fingerprints = { unpack(ARGV, 6) }

if check == "1" and #fingerprints > 0 then
    local seen = {}
    local now = redis.call("smismember", seen_now, unpack(fingerprints))
    local before = redis.call("smismember", seen_before, unpack(fingerprints))
    for i, fingerprint in ipairs(fingerprints) do
        if now[i] == 1 or before[i] == 1 then
            seen[#seen + 1] = fingerprint
        end
    end
    if #seen > 0 then
        -- Marked by this very call, whose answer was lost on the way? Then nobody saw it before.
        return redis.call("hexists", messages, id) == 1 and {} or seen
    end
end

-- Not set anew: redis-py repeats a call whose answer was lost.
if redis.call("hsetnx", messages, id, message) == 1 then
    redis.call("rpush", queue, id)
end

if #fingerprints > 0 then
    redis.call("sadd", seen_now, unpack(fingerprints))
    if redis.call("ttl", seen_now) < 0 then
        redis.call("expire", seen_now, seen_seconds)
    end
    if redis.call("scard", seen_now) >= tonumber(seen_max) then
        redis.call("unlink", seen_before)  -- in the background, while RENAME would free it at once
        redis.call("rename", seen_now, seen_before)
    end
end
return {}
