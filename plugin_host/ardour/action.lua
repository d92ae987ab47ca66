-- What an action of Ardour's does: tells the desk over OSC what the musician chose.
-- Takes the mailbox's functions, its folder and the verb; returns the action.

return function(mailbox, folder, verb)
    return function()
        local port = mailbox.desk_port(folder)
        if not port then
            LuaDialog.Message("Jukebox Bridge",
                "Nobody answers: run `jukebox-bridge hosts run ardour` in a terminal.",
                LuaDialog.MessageType.Warning, LuaDialog.ButtonType.Close):run()
            return
        end
        local desk = ARDOUR.LuaOSC.Address("osc.udp://127.0.0.1:" .. math.tointeger(port))
        desk:send("/jukebox/host/" .. verb, "")
    end
end
