-- All that changes or reads a board in more than one step, each command atomic.
--
-- KEYS[1]  <board>:order    sorted set: what is ranked -> sort score, least first.
--          The sort score is the score in units of 0.0001, negated where more is better.
--          A member is 5 bytes of reached_at (seconds since year 1, big-endian), then the user id:
--          members of equal score sort by their bytes, so who was earlier comes first.
-- KEYS[2]  <board>:members  hash: user id -> the 5 bytes in front of it in <board>:order.
--          Its field "\0build", which is no user's id, is there as long as the board is, empty or
--          not, and tells in which build it was made: without it the board was lost.
-- KEYS[3], KEYS[4]          of swap: the same two of the board as it was made anew.
--
-- put(packed, build, expected, seconds)  writes absolute scores; MessagePack of one flat list:
--                                      user, sort score, reached_at in seconds, ... no user twice;
--                                      where the sort score is empty the user is taken off. Where
--                                      the board is "expected" and not there it writes nothing and
--                                      returns 0. The keys expire after some seconds, 0 for never.
-- swap(build)                          puts the board that was made anew in place of the other;
--                                      returns 0 where it is not there, nor was put there before.
-- compare(packed, samples)              compares scores, packed as for put and none of them empty,
--                                      with the board -> {users who stand there, users who do not,
--                                      users who stand there with another score,
--                                      user, reached_at as in members or "", sort score, ...}:
--                                      some who differ, up to so many samples.
-- standing(user)                       -> {place from 0, member, sort score}, or nothing.
-- around(user, reach)                  -> {first place, member, sort score, ...}, or nothing.

local order, members = KEYS[1], KEYS[2]
local command = ARGV[1]

local BUILD = "\0build"
local REACHED = ">I5"
local USERS_PER_CALL = 1000 -- Lua's stack holds the arguments of a call: 8000 at most

local function put(packed, first, last)
    local users, count = {}, 0
    for i = first, last, 3 do
        count = count + 1
        users[count] = packed[i]
    end
    local before = redis.call("hmget", members, unpack(users))
    local scored, placed, gone, unknown = {}, {}, {}, {}
    local scored_count, placed_count = 0, 0
    local pack = struct.pack
    for at = 1, count do
        local user, was = users[at], before[at]
        local score = packed[first + 3 * at - 2]
        if score == "" then
            if was then
                gone[#gone + 1] = was .. user
                unknown[#unknown + 1] = user
            end
        else
            local reached = pack(REACHED, packed[first + 3 * at - 1])
            scored[scored_count + 1] = score
            scored[scored_count + 2] = reached .. user
            scored_count = scored_count + 2
            if was ~= reached then
                placed[placed_count + 1] = user
                placed[placed_count + 2] = reached
                placed_count = placed_count + 2
                if was then
                    gone[#gone + 1] = was .. user
                end
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
    if redis.call("hexists", members, BUILD) == 0 then
        if ARGV[4] == "expected" then
            return 0
        end
        redis.call("hset", members, BUILD, ARGV[3])
    end
    local packed = cmsgpack.unpack(ARGV[2])
    for first = 1, #packed, 3 * USERS_PER_CALL do
        put(packed, first, math.min(first + 3 * USERS_PER_CALL - 1, #packed))
    end
    if ARGV[5] ~= "0" then
        redis.call("expire", order, ARGV[5])
        redis.call("expire", members, ARGV[5])
    end
    return 1
elseif command == "swap" then
    if redis.call("hexists", KEYS[4], BUILD) == 0 then
        return redis.call("hget", members, BUILD) == ARGV[2] and 1 or 0
    end
    redis.call("del", order, members)
    if redis.call("exists", KEYS[3]) == 1 then
        redis.call("rename", KEYS[3], order)
        redis.call("persist", order)
    end
    redis.call("rename", KEYS[4], members)
    redis.call("persist", members)
    return 1
elseif command == "compare" then
    local packed, samples_max = cmsgpack.unpack(ARGV[2]), tonumber(ARGV[3])
    local is_there = redis.call("exists", order) == 1
    local there, changed, samples = 0, 0, {}
    -- where there is no board nobody stands on it, and only samples are wanted
    local last = is_there and #packed or math.min(#packed, 3 * samples_max)
    for i = 1, last, 3 do
        local user, sort_score = packed[i], false
        local reached = is_there and redis.call("hget", members, user)
        if reached then
            there = there + 1
            sort_score = redis.call("zscore", order, reached .. user)
        end
        local is_same = reached == struct.pack(REACHED, packed[i + 2])
            and tonumber(sort_score) == packed[i + 1]
        if reached and not is_same then
            changed = changed + 1
        end
        if not is_same and #samples < 3 * samples_max then
            table.insert(samples, user)
            table.insert(samples, reached or "")
            table.insert(samples, sort_score or "")
        end
    end
    return { there, #packed / 3 - there, changed, unpack(samples) }
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
