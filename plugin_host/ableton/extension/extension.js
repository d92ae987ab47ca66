// Live's extension of Jukebox Bridge: menu entries, and the verbs that the desk asks for.
// For Live 12.4.5 and its Extensions SDK; not run in a real Live yet.

import { AudioClip, AudioTrack, initialize } from "@ableton-extensions/sdk";

import { makeCompanion } from "./companion.js";
import { deskIsHere, serve, write } from "./mailbox.js";

const POLL_MS = 50;
const SCOPES = ["AudioClip", "AudioTrack.ArrangementSelection"];
const TITLES = {
    continue: "Jukebox: Continue",
    retry: "Jukebox: Retry",
    accept: "Jukebox: Accept",
    cancel: "Jukebox: Cancel",
};

// Live calls it once.
export function activate(activation) {
    const context = initialize(activation, "1.0.0");
    // An extension may touch files in these folders alone.
    const folder = context.environment.storageDirectory ?? context.environment.tempDirectory;
    const companion = makeCompanion(context, { AudioClip, AudioTrack });
    for (const [action, title] of Object.entries(TITLES)) {
        context.commands.registerCommand(`jukebox.${action}`, (where) => {
            if (action === "continue") companion.choose(where);
            report(send(folder, action, companion.verbs));
        });
        for (const scope of SCOPES)
            report(context.ui.registerContextMenuAction(scope, title, `jukebox.${action}`));
    }
    let busy = false;
    setInterval(async () => {
        if (busy) return;
        busy = true;
        await report(serve(folder, companion.verbs));
        busy = false;
    }, POLL_MS);
}

async function send(folder, action, verbs) {
    if (await deskIsHere(folder)) return write(folder, "action.txt", [["action", action]]);
    verbs.tell(["Nobody answers. Run, and leave running:\n"
        + `jukebox-bridge hosts run live-extension --mailbox "${folder}"`]);
}

// Lets nothing be lost silently: Live writes the console to its log.
function report(work) {
    return Promise.resolve(work).catch((error) => console.error("Jukebox Bridge:", error));
}
