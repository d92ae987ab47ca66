-- Tells the desk: retry. Bind it to a key or call it over OSC as an action.

local here = debug.getinfo(1, "S").source:match("@(.*)[/\\]")
local mailbox = dofile(here .. "/mailbox.lua")
dofile(here .. "/action.lua")(reaper, mailbox, here, "retry")
