-- Run this once in REAPER (and from __startup.lua if you like): it answers the desk from then on.

local here = debug.getinfo(1, "S").source:match("@(.*)[/\\]")
local mailbox = dofile(here .. "/mailbox.lua")
local file = assert(io.open(here .. "/place.txt"))
local folder = file:read("a"):gsub("\n$", "")
file:close()

-- The verbs take one table; REAPER keeps its drawing functions in another.
local host = setmetatable({
    gfx_init = function(title, width, height) gfx.init(title, width, height) end,
    gfx_getchar = function() return gfx.getchar() end,
    gfx_quit = function() gfx.quit() end,
    gfx_show = function(fraction, text)
        gfx.set(0.2, 0.6, 0.9)
        gfx.rect(10, 36, 400 * fraction, 12)
        gfx.set(1, 1, 1)
        gfx.x, gfx.y = 10, 10
        gfx.drawstr(text .. "; close this window to stop")
        gfx.update()
    end,
}, { __index = reaper })
local tick = dofile(here .. "/companion.lua")(host, mailbox)

local function loop()
    local done, problem = pcall(tick, folder)
    if not done then reaper.ShowConsoleMsg("Jukebox Bridge: " .. tostring(problem) .. "\n") end
    reaper.defer(loop)
end
loop()
