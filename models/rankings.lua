-- All that changes or reads a board in more than one step, each command atomic.
--
-- KEYS[1]  <board>:order    sorted set: what is ranked -> sort score, least first.
--          The sort score is the score in units of 0.0001, negated where more is better.
--          A member is 5 bytes of reached_at (seconds since year 1, big-endian), then the user id:
--          members of equal score sort by their bytes, so who was earlier comes first.
-- KEYS[2]  <board>:members  hash: user id -> the 5 bytes in front of it in <board>:order.
--
-- put(user, sort score, 5 bytes, ...)  writes absolute scores; an empty sort score takes away.
-- standing(user)                       -> {place from 0, member, sort score}, or nothing.
-- around(user, reach)                  -> {first place, member, sort score, ...}, or nothing.

local order, members = KEYS[1], KEYS[2]
local command = ARGV[1]

if command == "put" then
    for i = 2, #ARGV, 3 do
        local user, score, reached = ARGV[i], ARGV[i + 1], ARGV[i + 2]
        local before = redis.call("hget", members, user)
        if before and (score == "" or before ~= reached) then
            redis.call("zrem", order, before .. user)
        end
        if score == "" then
            redis.call("hdel", members, user)
        else
            redis.call("zadd", order, score, reached .. user)
            if before ~= reached then
                redis.call("hset", members, user, reached)
            end
        end
    end
    return redis.call("zcard", order)
end

local user = ARGV[2]
local reached = redis.call("hget", members, user)
if not reached then
    return {}
end
local place = redis.call("zrank", order, reached .. user)

if command == "standing" then
    return { place, reached .. user, redis.call("zscore", order, reached .. user) }
elseif command == "around" then
    local first = math.max(0, place - ARGV[3])
    local found = redis.call("zrange", order, first, place + ARGV[3], "WITHSCORES")
    table.insert(found, 1, first)
    return found
end
return redis.error_reply("unknown command " .. command)
