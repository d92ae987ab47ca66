-- REAPER's companion: the verbs that the desk asks for. Takes the `reaper` table and the
-- mailbox's functions, returns a function to call often, and the table of verbs.
-- REAPER 6 or later; not run in a real REAPER yet. Knows no server.

return function(reaper, mailbox)
    local refuse = mailbox.refuse
    local PROJECT = 0 -- the one in front
    local NAME = "P_EXT:jukebox_name"
    local is_aborted, is_shown = false, false

    local function sample_rate()
        local rate = reaper.GetSetProjectInfo(PROJECT, "PROJECT_SRATE", 0, false)
        if reaper.GetSetProjectInfo(PROJECT, "PROJECT_SRATE_USE", 0, false) == 0 then
            refuse("FAILED_PRECONDITION",
                "the project has no sample rate of its own: set one in its settings")
        end
        return math.floor(rate + 0.5)
    end

    local function samples_of(seconds) return math.floor(seconds * sample_rate() + 0.5) end

    local function seconds_of(samples) return samples / sample_rate() end

    local function name_of(track)
        local _, name = reaper.GetTrackName(track)
        return name
    end

    local function track_named(name)
        for place = 0, reaper.CountTracks(PROJECT) - 1 do
            local track = reaper.GetTrack(PROJECT, place)
            if name_of(track) == name then return track end
        end
        return nil
    end

    local function new_track(name)
        local place = reaper.CountTracks(PROJECT)
        reaper.InsertTrackAtIndex(place, true)
        local track = reaper.GetTrack(PROJECT, place)
        reaper.GetSetMediaTrackInfo_String(track, "P_NAME", name, true)
        return track
    end

    local function item_named(name)
        for place = 0, reaper.CountMediaItems(PROJECT) - 1 do
            local item = reaper.GetMediaItem(PROJECT, place)
            local _, own = reaper.GetSetMediaItemInfo_String(item, NAME, "", false)
            if own == name then return item end
        end
        refuse("NOT_FOUND", "there is no clip " .. name)
    end

    local verbs = {}

    function verbs.selection()
        local from, to = reaper.GetSet_LoopTimeRange(false, false, 0, 0, false)
        local track = reaper.GetSelectedTrack(PROJECT, 0)
        if to <= from then
            local item = reaper.GetSelectedMediaItem(PROJECT, 0)
            if not item then
                refuse("INVALID_ARGUMENT", "nothing is selected: select a time range or an item")
            end
            from = reaper.GetMediaItemInfo_Value(item, "D_POSITION")
            to = from + reaper.GetMediaItemInfo_Value(item, "D_LENGTH")
            track = reaper.GetMediaItemTrack(item)
        end
        if not track then refuse("INVALID_ARGUMENT", "no track is selected: select one") end
        local numerator, denominator, tempo = reaper.TimeMap_GetTimeSigAtTime(PROJECT, to)
        return { {
            "selection", name_of(track), samples_of(from), samples_of(to), sample_rate(),
            string.format("%.6f", tempo), math.tointeger(numerator), math.tointeger(denominator),
        } }
    end

    function verbs.clips(words)
        local track, found = track_named(words[1]), {}
        if not track then return found end
        for place = 0, reaper.CountTrackMediaItems(track) - 1 do
            local item = reaper.GetTrackMediaItem(track, place)
            local _, name = reaper.GetSetMediaItemInfo_String(item, NAME, "", false)
            local start = samples_of(reaper.GetMediaItemInfo_Value(item, "D_POSITION"))
            local length = samples_of(reaper.GetMediaItemInfo_Value(item, "D_LENGTH"))
            found[#found + 1] = { "clip", name, start, length }
        end
        return found
    end

    local function float32(value) return string.pack("<f", value) end

    local function wav(channels, rate, data)
        local head = string.pack("<I2I2I4I4I2I2", 3, channels, rate, rate * 4 * channels,
            4 * channels, 32)
        local fact = string.pack("<I4", #data // (4 * channels))
        local body = "WAVEfmt " .. string.pack("<s4", head) .. "fact" .. string.pack("<s4", fact)
            .. "data" .. string.pack("<I4", #data)
        return "RIFF" .. string.pack("<I4", #body + #data) .. body .. data
    end

    -- Reads a track's audio before its effects: REAPER's track accessor.
    local function audio_of(track, from, to)
        local rate, channels, block = sample_rate(), 2, 65536
        local accessor = reaper.CreateTrackAudioAccessor(track)
        local parts = {}
        for start = from, to - 1, block do
            local length = math.min(block, to - start)
            local buffer = reaper.new_array(length * channels)
            local state = reaper.GetAudioAccessorSamples(
                accessor, rate, channels, seconds_of(start), length, buffer)
            if state < 0 then
                reaper.DestroyAudioAccessor(accessor)
                refuse("FAILED_PRECONDITION", "REAPER cannot read the track's audio")
            end
            local values = buffer.table()
            for place = 1, #values do values[place] = float32(state == 0 and 0 or values[place]) end
            parts[#parts + 1] = table.concat(values)
        end
        reaper.DestroyAudioAccessor(accessor)
        return wav(channels, rate, table.concat(parts))
    end

    function verbs.render(words)
        local track = track_named(words[1])
        if not track then refuse("NOT_FOUND", "there is no track " .. words[1]) end
        local from, to = math.tointeger(tonumber(words[2])), math.tointeger(tonumber(words[3]))
        local path = verbs.folder .. "/prime.wav"
        local file = assert(io.open(path, "wb"))
        assert(file:write(audio_of(track, from, to)))
        assert(file:close())
        return { { "file", path } }
    end

    -- Checks all that can fail; returns what is left to do.
    local function prepared(lines)
        local sources, steps = {}, {}
        for _, line in ipairs(lines) do
            if line[1] == "import" then
                if not reaper.file_exists(line[3]) then
                    refuse("NOT_FOUND", "there is no file " .. line[3])
                end
                sources[line[2]] = reaper.PCM_Source_CreateFromFile(line[3])
            elseif line[1] == "delete" then
                local item = item_named(line[2])
                steps[#steps + 1] = function()
                    reaper.DeleteTrackMediaItem(reaper.GetMediaItemTrack(item), item)
                end
            elseif line[1] == "clip" then
                local source, wanted = sources[line[2]], line[3]
                if not source then refuse("NOT_FOUND", "nothing is imported as " .. line[2]) end
                local at, name = seconds_of(tonumber(line[4])), line[5]
                steps[#steps + 1] = function()
                    local track = track_named(wanted) or new_track(wanted)
                    local item = reaper.AddMediaItemToTrack(track)
                    local take = reaper.AddTakeToMediaItem(item)
                    reaper.SetMediaItemTake_Source(take, source)
                    reaper.SetMediaItemInfo_Value(item, "D_POSITION", at)
                    reaper.SetMediaItemInfo_Value(
                        item, "D_LENGTH", (reaper.GetMediaSourceLength(source)))
                    reaper.SetMediaItemInfo_Value(item, "D_FADEINLEN", 0)
                    reaper.SetMediaItemInfo_Value(item, "D_FADEOUTLEN", 0)
                    reaper.SetMediaItemInfo_Value(item, "C_BEATATTACHMODE", 0)
                    reaper.GetSetMediaItemInfo_String(item, NAME, name, true)
                    reaper.GetSetMediaItemTakeInfo_String(take, "P_NAME", name, true)
                end
            else
                refuse("INVALID_ARGUMENT", "an edit knows no " .. tostring(line[1]))
            end
        end
        return steps
    end

    function verbs.edit(words, lines)
        local steps = prepared(lines)
        reaper.Undo_BeginBlock2(PROJECT)
        for _, step in ipairs(steps) do step() end
        reaper.Undo_EndBlock2(PROJECT, words[1], -1)
        reaper.UpdateArrange()
    end

    function verbs.undo() reaper.Undo_DoUndo2(PROJECT) end

    -- REAPER has no progress dialog for scripts: a small window of its own, closed to abort.
    function verbs.progress(words)
        if not is_shown then
            is_shown, is_aborted = true, false
            reaper.gfx_init(words[1], 420, 60)
        end
        if reaper.gfx_getchar() < 0 then is_aborted = true end
        if not is_aborted then reaper.gfx_show(tonumber(words[2]) or 0, words[3]) end
        return { { "aborted", is_aborted and 1 or 0 } }
    end

    function verbs.finish()
        if is_shown then reaper.gfx_quit() end
        is_shown, is_aborted = false, false
    end

    function verbs.tell(words) reaper.ShowConsoleMsg("Jukebox Bridge: " .. words[1] .. "\n") end

    return function(folder)
        verbs.folder = folder
        return mailbox.serve(folder, verbs)
    end
end
