-- A REAPER in memory, strict: a function it does not know, or a wrong type, is an error.
-- Arguments: the mailbox's folder, the folder of the installed scripts.

local folder, scripts = arg[1], arg[2]
local RATE = 48000
local project = { tracks = {}, undo = {}, selected = nil }
local pending

local function copy()
    local tracks = {}
    for place, track in ipairs(project.tracks) do
        local items = {}
        for number, item in ipairs(track.items) do items[number] = item end
        tracks[place] = { track = track, items = items }
    end
    return tracks
end

local function wanted(value, kind, what)
    if type(value) ~= kind then error(what .. " is a " .. type(value) .. ", not a " .. kind, 3) end
end

local functions = {}
function functions.GetSetProjectInfo(_, name) return name == "PROJECT_SRATE" and RATE or 1 end
function functions.CountTracks() return #project.tracks end
function functions.GetTrack(_, place) return project.tracks[place + 1] end
function functions.GetTrackName(track) return true, track.name end
function functions.InsertTrackAtIndex(place)
    table.insert(project.tracks, place + 1, { name = "", items = {} })
end
function functions.GetSetMediaTrackInfo_String(track, key, value, set)
    assert(key == "P_NAME" and set)
    track.name = value
    return true, value
end
function functions.GetSet_LoopTimeRange() return 0, 0 end
function functions.GetSelectedTrack() return nil end
function functions.GetSelectedMediaItem() return project.selected end
function functions.CountMediaItems()
    local number = 0
    for _, track in ipairs(project.tracks) do number = number + #track.items end
    return number
end
function functions.GetMediaItem(_, place)
    for _, track in ipairs(project.tracks) do
        if place < #track.items then return track.items[place + 1] end
        place = place - #track.items
    end
end
function functions.CountTrackMediaItems(track) return #track.items end
function functions.GetTrackMediaItem(track, place) return track.items[place + 1] end
function functions.GetMediaItemTrack(item) return item.track end
function functions.GetMediaItemInfo_Value(item, key)
    wanted(item.values[key], "number", key)
    return item.values[key]
end
function functions.SetMediaItemInfo_Value(item, key, value)
    wanted(value, "number", key)
    item.values[key] = value
    return true
end
function functions.GetSetMediaItemInfo_String(item, key, value, set)
    assert(key == "P_EXT:jukebox_name")
    if set then item.name = value end
    return true, item.name
end
function functions.GetSetMediaItemTakeInfo_String(take, key, value, set)
    assert(key == "P_NAME" and set)
    take.name = value
    return true, value
end
function functions.TimeMap_GetTimeSigAtTime() return 4, 4, 120.0 end
function functions.AddMediaItemToTrack(track)
    local item = { track = track, values = {}, name = "" }
    table.insert(track.items, item)
    return item
end
function functions.AddTakeToMediaItem(item)
    item.take = {}
    return item.take
end
function functions.SetMediaItemTake_Source(take, source) take.source = source return true end
function functions.DeleteTrackMediaItem(track, item)
    for place, own in ipairs(track.items) do
        if own == item then table.remove(track.items, place) return true end
    end
    return false
end
function functions.file_exists(path)
    local file = io.open(path, "rb")
    if file then file:close() end
    return file ~= nil
end
-- float32 stereo WAV only: what the tests write.
function functions.PCM_Source_CreateFromFile(path)
    local file = assert(io.open(path, "rb"))
    local text = file:read("a")
    file:close()
    local at, samples = 13, nil
    while at < #text do
        local name, size = text:sub(at, at + 3), string.unpack("<I4", text, at + 4)
        if name == "data" then samples = text:sub(at + 8, at + 7 + size) end
        at = at + 8 + size + size % 2
    end
    return { samples = samples, frames = #samples // 8 }
end
function functions.GetMediaSourceLength(source) return source.frames / RATE, false end
function functions.CreateTrackAudioAccessor(track) return { track = track } end
function functions.DestroyAudioAccessor() end
function functions.new_array(size)
    local values = {}
    for place = 1, size do values[place] = 0 end
    return { values = values, table = function() return values end }
end
function functions.GetAudioAccessorSamples(accessor, rate, channels, start, length, buffer)
    assert(rate == RATE and channels == 2)
    local first, sounds = math.floor(start * rate + 0.5), 0
    for _, item in ipairs(accessor.track.items) do
        local source = item.take.source
        local from = math.floor(item.values.D_POSITION * rate + 0.5)
        for frame = math.max(first, from), math.min(first + length, from + source.frames) - 1 do
            local place = (frame - from) * 8 + 1
            local left, right = string.unpack("<ff", source.samples, place)
            buffer.values[(frame - first) * 2 + 1], buffer.values[(frame - first) * 2 + 2] = left, right
            sounds = 1
        end
    end
    return sounds
end
function functions.Undo_BeginBlock2()
    assert(not pending, "a block is open")
    pending = copy()
end
function functions.Undo_EndBlock2(_, title, flags)
    wanted(title, "string", "title")
    assert(flags == -1)
    assert(pending, "no block is open")
    table.insert(project.undo, pending)
    pending = nil
end
function functions.Undo_DoUndo2()
    local before = table.remove(project.undo)
    if not before then return 0 end
    project.tracks = {}
    for place, kept in ipairs(before) do
        kept.track.items = kept.items
        project.tracks[place] = kept.track
    end
    return 1
end
function functions.UpdateArrange() end
function functions.ShowConsoleMsg(text) wanted(text, "string", "text") end
function functions.gfx_init() end
function functions.gfx_quit() end
function functions.gfx_show() end
function functions.gfx_getchar()
    local file = io.open(folder .. "/window-closed")
    if file then file:close() return -1 end
    return 0
end

local reaper = setmetatable({}, {
    __index = function(_, name) return functions[name] or error("REAPER has no " .. name, 2) end,
})
local mailbox = dofile(scripts .. "/mailbox.lua")
local tick = dofile(scripts .. "/companion.lua")(reaper, mailbox)

-- The musician's hand: `select` with the name of an item.
local function hand()
    local lines = mailbox.read(folder .. "/hand.txt")
    if not lines then return true end
    os.remove(folder .. "/hand.txt")
    if lines[1][1] == "quit" then return false end
    for place = 0, functions.CountMediaItems() - 1 do
        local item = functions.GetMediaItem(0, place)
        if item.name == lines[1][2] then project.selected = item end
    end
    return true
end

while hand() do
    if not tick(folder) then os.execute("sleep 0.02") end
end
