-- Ardour's companion: the verbs that the desk asks for, done in Ardour 7.
-- Takes the mailbox's functions, returns the table of verbs. Knows no server.

return function(mailbox)
    local refuse = mailbox.refuse
    local made = {}    -- clip name -> region id, of clips made since Ardour was opened
    local window = nil -- the progress window, while there is one

    local function samples_of(time) return time:samples() end

    local function track_named(name)
        local route = Session:route_by_name(name)
        if route:isnil() or route:to_track():isnil() then return nil end
        return route:to_track()
    end

    local function track_of_region(region)
        local id = region:to_stateful():id()
        for route in Session:get_tracks():iter() do
            local track = route:to_track()
            if not track:isnil() and not track:playlist():region_by_id(id):isnil() then
                return track
            end
        end
        return nil
    end

    -- Returns track, start and end of the range selection, or of the selected regions.
    local function selected()
        local selection = Editor:get_selection()
        local track, from, to
        if selection.time:start_sample() < selection.time:end_sample() then
            for route in selection.tracks:routelist():iter() do
                if track then
                    refuse("INVALID_ARGUMENT", "more than one track is selected: select one")
                end
                track = route
            end
            return track, selection.time:start_sample(), selection.time:end_sample()
        end
        for region in selection.regions:regionlist():iter() do
            local own = track_of_region(region)
            if track and own and own:name() ~= track:name() then
                refuse("INVALID_ARGUMENT", "regions of more than one track are selected")
            end
            track = own or track
            local start = samples_of(region:position())
            from = math.min(from or start, start)
            to = math.max(to or 0, start + samples_of(region:length()))
        end
        return track, from, to
    end

    local verbs = {}

    function verbs.selection()
        local track, from, to = selected()
        if not track then
            refuse("INVALID_ARGUMENT", "nothing is selected: select a range or a region of a track")
        end
        local map, at = Temporal.TempoMap.read(), Temporal.timepos_t(to)
        local meter = map:meter_at(at)
        return { {
            "selection", track:name(), from, to, math.floor(Session:nominal_sample_rate()),
            string.format("%.6f", map:quarters_per_minute_at(at)),
            math.floor(meter:divisions_per_bar()), math.floor(meter:note_value()),
        } }
    end

    function verbs.clips(words)
        local track, found = track_named(words[1]), {}
        if not track then return found end
        for region in track:playlist():region_list():iter() do
            found[#found + 1] = {
                "clip", region:name(), samples_of(region:position()), samples_of(region:length()),
            }
        end
        return found
    end

    function verbs.render(words)
        local track = track_named(words[1])
        if not track then refuse("NOT_FOUND", "there is no track " .. words[1]) end
        local from, to = math.tointeger(tonumber(words[2])), math.tointeger(tonumber(words[3]))
        -- Before effects and fader: what continues goes through them as what was recorded does.
        local region = track:bounce_range(
            from, to, ARDOUR.InterThreadInfo(), ARDOUR.LuaAPI.nil_proc(), false, "jukebox-prime")
        if region:isnil() then
            refuse("FAILED_PRECONDITION", "Ardour rendered nothing of " .. words[1])
        end
        local files = {}
        for source in region:master_sources():iter() do
            files[#files + 1] = { "file", source:to_filesource():path() }
        end
        return files
    end

    local function known_regions()
        local ids = {}
        for id, _ in ARDOUR.RegionFactory.regions():iter() do ids[id:to_s()] = true end
        return ids
    end

    -- Returns the region that Ardour makes of a file, which it copies into the session.
    local function imported(path)
        local probe = io.open(path, "rb")
        if not probe then refuse("NOT_FOUND", "there is no file " .. path) end
        probe:close()
        local before = known_regions()
        local files = C.StringVector()
        files:push_back(path)
        Editor:do_import(
            files, Editing.ImportDistinctFiles, Editing.ImportAsRegion, ARDOUR.SrcQuality.SrcBest,
            ARDOUR.MidiTrackNameSource.SMFTrackName, ARDOUR.MidiTempoMapDisposition.SMFTempoIgnore,
            Temporal.timepos_t(0), ARDOUR.PluginInfo(), ARDOUR.Track(), false)
        for id, region in ARDOUR.RegionFactory.regions():iter() do
            if not before[id:to_s()] then return region end
        end
        refuse("INVALID_ARGUMENT", "Ardour cannot import " .. path)
    end

    local function new_track(name, region)
        local channels = 0
        for _ in region:master_sources():iter() do channels = channels + 1 end
        local routes = Session:new_audio_track(
            channels, 2, nil, 1, name, ARDOUR.PresentationInfo.max_order,
            ARDOUR.TrackMode.Normal, true)
        return routes:front():to_track()
    end

    local function region_made(name)
        local id = made[name]
        local region = id and ARDOUR.RegionFactory.region_by_id(id)
        local track = region and not region:isnil() and track_of_region(region)
        if not track then refuse("NOT_FOUND", "there is no clip " .. name) end
        return { region = region, playlist = track:playlist() }
    end

    -- Does what can fail; returns what is left to do, which cannot.
    local function prepared(lines)
        local sources, steps = {}, {}
        for _, line in ipairs(lines) do
            if line[1] == "import" then
                sources[line[2]] = imported(line[3])
            elseif line[1] == "delete" then
                local found = region_made(line[2])
                steps[#steps + 1] = {
                    playlist = found.playlist,
                    act = function() found.playlist:remove_region(found.region) end,
                }
            elseif line[1] == "clip" then
                local source = sources[line[2]]
                if not source then refuse("NOT_FOUND", "nothing is imported as " .. line[2]) end
                local track = track_named(line[3]) or new_track(line[3], source)
                local at = Temporal.timepos_t(math.tointeger(tonumber(line[4])))
                local name, playlist = line[5], track:playlist()
                steps[#steps + 1] = {
                    playlist = playlist,
                    act = function()
                        local region = ARDOUR.RegionFactory.clone_region(source, true, false)
                        region:set_name(name)
                        region:to_audioregion():set_fade_in_active(false)
                        region:to_audioregion():set_fade_out_active(false)
                        playlist:add_region(region, at, 1, false, 0, 0, false)
                        made[name] = region:to_stateful():id()
                    end,
                }
            else
                refuse("INVALID_ARGUMENT", "an edit knows no " .. tostring(line[1]))
            end
        end
        return steps
    end

    local function playlists_of(steps)
        local order, seen = {}, {}
        for _, step in ipairs(steps) do
            local id = step.playlist:to_stateful():id():to_s()
            if not seen[id] then
                seen[id] = true
                order[#order + 1] = step.playlist
            end
        end
        return order
    end

    function verbs.edit(words, lines)
        local steps = prepared(lines)
        local playlists = playlists_of(steps)
        -- Ardour's import has left an undo step of its own, an empty one, before this one.
        Session:begin_reversible_command(words[1])
        for _, playlist in ipairs(playlists) do playlist:to_stateful():clear_changes() end
        for _, step in ipairs(steps) do step.act() end
        for _, playlist in ipairs(playlists) do
            Session:add_stateful_diff_command(playlist:to_statefuldestructible())
        end
        if not Session:abort_empty_reversible_command() then
            Session:commit_reversible_command(nil)
        end
    end

    function verbs.undo() Editor:undo(1) end

    function verbs.progress(words)
        if not window then window = LuaDialog.ProgressWindow(words[1], true) end
        window:progress(tonumber(words[2]) or 0, words[3])
        return { { "aborted", window:canceled() and 1 or 0 } }
    end

    function verbs.finish()
        if window then window:done() end
        window = nil
    end

    function verbs.tell(words)
        verbs.later = function()
            LuaDialog.Message("Jukebox Bridge", words[1], LuaDialog.MessageType.Info,
                LuaDialog.ButtonType.Close):run()
        end
    end

    -- Returns what the hook calls ten times a second.
    return function(folder)
        if not Session then return end
        mailbox.serve(folder, verbs)
        local later = verbs.later
        verbs.later = nil
        if later then later() end -- after the answer: the dialog waits for the musician
    end
end
