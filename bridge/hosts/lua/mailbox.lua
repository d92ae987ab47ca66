-- The companion's end of the mailbox: one command in, one answer out, by number.
-- What lies in the folder is data: it is split into words, and never run.
-- Lua 5.3 and later; knows no host.

local mailbox = {}

mailbox.VERSION = "1"
mailbox.MAX_BYTES = 1 << 20

local function plain(word)
    return (word:gsub("%%(%x%x)", function(code) return string.char(tonumber(code, 16)) end))
end

local function escaped(word)
    return (tostring(word):gsub("[%%\t\r\n%z]", function(found)
        return string.format("%%%02X", found:byte())
    end))
end

-- Returns the lines of words of a file, nil if there is none or it is too long.
function mailbox.read(path)
    local file = io.open(path, "rb")
    if not file then return nil end
    local text = file:read(mailbox.MAX_BYTES + 1) or ""
    file:close()
    if #text > mailbox.MAX_BYTES then return nil end
    local lines = {}
    for line in text:gmatch("([^\n]*)\n") do
        local words = {}
        for word in (line .. "\t"):gmatch("([^\t]*)\t") do words[#words + 1] = plain(word) end
        lines[#lines + 1] = words
    end
    return lines
end

-- Writes lines of words whole, then renames.
function mailbox.write(path, lines)
    local written = {}
    for _, line in ipairs(lines) do
        local words = {}
        for place, word in ipairs(line) do words[place] = escaped(word) end
        written[#written + 1] = table.concat(words, "\t") .. "\n"
    end
    local file = assert(io.open(path .. ".part", "wb"))
    assert(file:write(table.concat(written)))
    assert(file:close())
    os.remove(path)  -- Windows renames onto nothing only
    assert(os.rename(path .. ".part", path))
end

-- Ends a verb with an error that the other side knows.
function mailbox.refuse(code, text)
    error({ code = code, text = text }, 0)
end

local function answer_of(verbs, lines)
    local first = lines[1] or { "" }
    local verb = verbs[first[1]]
    if not verb then mailbox.refuse("INVALID_ARGUMENT", "no verb is called " .. first[1]) end
    return verb(table.move(first, 2, #first, 1, {}), table.move(lines, 2, #lines, 1, {})) or {}
end

local function number_of(lines)
    local head = lines and lines[1]
    if not head or head[1] ~= "jukebox" or head[2] ~= mailbox.VERSION then return nil end
    return tonumber(head[3])
end

-- Answers the command in the folder if it is a new one; returns whether it was.
function mailbox.serve(folder, verbs)
    local lines = mailbox.read(folder .. "/command.txt")
    local number = number_of(lines)
    if not number or number == number_of(mailbox.read(folder .. "/answer.txt")) then
        return false
    end
    table.remove(lines, 1)
    local answer = { { "jukebox", mailbox.VERSION, math.tointeger(number) } }
    local done, result = pcall(answer_of, verbs, lines)
    if done then
        answer[2] = { "ok" }
        table.move(result, 1, #result, 3, answer)
    elseif type(result) == "table" and result.code then
        answer[2] = { "fail", result.code, result.text }
    else
        answer[2] = { "fail", "INTERNAL", tostring(result) }
    end
    mailbox.write(folder .. "/answer.txt", answer)
    return true
end

-- Returns the OSC port of the desk, nil if no desk has shown life for ten seconds.
function mailbox.desk_port(folder)
    local lines = mailbox.read(folder .. "/desk.txt")
    local line = lines and lines[1]
    if not line or line[1] ~= "desk" then return nil end
    local beat = tonumber(line[3])
    if not beat or math.abs(os.time() - beat) > 10 then return nil end
    return tonumber(line[4])
end

return mailbox
