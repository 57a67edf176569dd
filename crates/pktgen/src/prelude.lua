-- What scripts find besides Lua's own functions: the helpers of Pktgen's own Lua library, answers of a Pktgen that measures
-- nothing, and stand-ins for io and os that reach no file, no process and no clock.

local pktgen, now, refuse, finish = ...
local setmetatable, type, floor = setmetatable, type, math.floor

local function quiet() end
local function nothing() return nil end

-- Counters are zero whatever their name; port numbers and the names of groups lead to further counters.
local groups = { ["802.1p"] = true, VxLAN = true, curr = true, info = true, l2_l3_info = true, latency = true,
    qstats = true, sizes = true, stats = true, total_stats = true, totals = true, tx_debug = true }
local counters
counters = setmetatable({}, {
    __index = function(_, key)
        if type(key) == "number" or groups[key] then return counters end
        return 0
    end,
})
local function always(value)
    return setmetatable({}, { __index = function() return value end })
end
local answers = {
    portStats = counters, pktStats = counters, portSizes = counters, portInfo = counters,
    isSending = always("n"), linkState = always("<UP-10000-FD>"),
    portCount = 2, totalPorts = 2, continue = "", input = "", rnd_list = {}, decompile = {},
}
for name, answer in pairs(answers) do
    local recorded = pktgen[name]
    pktgen[name] = function(...)
        recorded(...)
        return answer
    end
end
pktgen.info = setmetatable(
    { Lua_Version = _VERSION, startSeqIdx = 0, numSeqPkts = 16 },
    { __index = function() return "" end }
)

print, printf, prints, msg, comment, cPrintf = quiet, quiet, quiet, quiet, quiet, quiet
sleep = pktgen.sleep
gsub, gmatch, strsub, strfmt, strmatch = string.gsub, string.gmatch, string.sub, string.format, string.match
strrep, strfind, strlen, tolower = string.rep, string.find, string.len, string.lower
tinsert, tconcat = table.insert, table.concat
function trim(text) return (gsub(text, "^%s*(.-)%s*$", "%1")) end
function serialize() return "" end
function errmsg() finish() end

local sink = {}
sink.flush, sink.close, sink.setvbuf = quiet, quiet, quiet
function sink.write() return sink end
local function unreadable(name)
    return function() refuse(name, "reads a file or starts a program; put what is needed into the script itself") end
end
io = { stdout = sink, stderr = sink, write = sink.write, flush = quiet, close = quiet, read = nothing,
    lines = unreadable("io.lines"), popen = unreadable("io.popen") }
local open = unreadable("io.open")
function io.open(_, mode)
    if type(mode) == "string" and (mode:find("^w") or mode:find("^a")) then return sink end
    open()
end

os = { clock = now, getenv = nothing, exit = finish }
function os.time() return floor(now()) end
function os.difftime(later, earlier) return later - (earlier or 0) end
function os.date(form)
    if type(form) == "string" and form:find("*t", 1, true) then
        return { year = 1970, month = 1, day = 1, hour = 0, min = 0, sec = 0, wday = 5, yday = 1, isdst = false }
    end
    return "1970-01-01 00:00:00"
end
for _, name in ipairs({ "execute", "remove", "rename", "tmpname" }) do
    os[name] = unreadable("os." .. name)
end
