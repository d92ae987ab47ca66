-- What Ardour runs ten times a second: answers the desk's command, if there is one.
-- Takes a loader of our installed modules and the mailbox's folder; returns the hook.

return function(module, folder)
    local mailbox = module("mailbox")
    local tick = module("companion")(mailbox)
    local told
    return function()
        local done, problem = pcall(tick, folder)
        if not done and problem ~= told then
            told = problem
            pcall(mailbox.write, folder .. "/problem.txt", { { "problem", tostring(problem) } })
        end
    end
end
