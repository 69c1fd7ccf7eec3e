-- All that changes or reads a board in more than one step, each command atomic.
--
-- KEYS[1]  <board>:order    sorted set: what is ranked -> sort score, least first.
--          The sort score is the score in units of 0.0001, negated where more is better.
--          A member is 5 bytes of reached_at (seconds since year 1, big-endian), then the user id:
--          members of equal score sort by their bytes, so who was earlier comes first.
-- KEYS[2]  <board>:members  hash: user id -> the 5 bytes in front of it in <board>:order.
--
-- put(packed)                          writes absolute scores; MessagePack of one flat list:
--                                      user, sort score, reached_at in seconds, ... no user twice;
--                                      where the sort score is empty the user is taken off.
-- standing(user)                       -> {place from 0, member, sort score}, or nothing.
-- around(user, reach)                  -> {first place, member, sort score, ...}, or nothing.

local order, members = KEYS[1], KEYS[2]
local command = ARGV[1]

local REACHED = ">I5"
local USERS_PER_CALL = 1000 -- Lua's stack holds the arguments of a call: 8000 at most

local function put(packed, first, last)
    local users, scored, placed = {}, {}, {}
    for i = first, last, 3 do
        table.insert(users, packed[i])
    end
    local before = redis.call("hmget", members, unpack(users))
    local gone, unknown = {}, {}
    for at, user in ipairs(users) do
        local score = packed[first + 3 * at - 2]
        local reached = struct.pack(REACHED, packed[first + 3 * at - 1])
        if before[at] and (score == "" or before[at] ~= reached) then
            table.insert(gone, before[at] .. user)
        end
        if score == "" then
            if before[at] then
                table.insert(unknown, user)
            end
        else
            table.insert(scored, score)
            table.insert(scored, reached .. user)
            if before[at] ~= reached then
                table.insert(placed, user)
                table.insert(placed, reached)
            end
        end
    end
    local function call(name, key, arguments)
        if #arguments > 0 then
            redis.call(name, key, unpack(arguments))
        end
    end
    call("zrem", order, gone)
    call("zadd", order, scored)
    call("hdel", members, unknown)
    call("hset", members, placed)
end

if command == "put" then
    local packed = cmsgpack.unpack(ARGV[2])
    for first = 1, #packed, 3 * USERS_PER_CALL do
        put(packed, first, math.min(first + 3 * USERS_PER_CALL - 1, #packed))
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
