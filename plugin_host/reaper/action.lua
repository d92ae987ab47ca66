-- What an action of REAPER's does: leaves the musician's choice where the desk looks.

return function(reaper, mailbox, here, verb)
    local file = assert(io.open(here .. "/place.txt"))
    local folder = file:read("a"):gsub("\n$", "")
    file:close()
    if not mailbox.desk_port(folder) then
        reaper.ShowMessageBox(
            "Nobody answers: run `jukebox-bridge hosts run reaper` in a terminal.",
            "Jukebox Bridge", 0)
        return
    end
    mailbox.write(folder .. "/action.txt", { { "action", verb } })
end
