// Runs our extension in the Live of `live_sdk`, and is the musician's hand: a line of JSON in, one out.
//
//   node live_extension.js PROJECT STORAGE TEMP

import { createInterface } from "node:readline";

import { AudioTrack, commands, hand, handleOf, menu, shown, song, steps } from "@ableton-extensions/sdk";

import { activate } from "./extension.js";

activate({ hostApiVersion: "1.0.0" });

const trackNamed = (name) => song.tracks.find((one) => one instanceof AudioTrack && one.name === name);

const acts = {
    // Opens the menu on a clip, or on a stretch of a track, and takes an entry.
    take({ title, track, clip, from, to }) {
        const scope = clip === undefined ? "AudioTrack.ArrangementSelection" : "AudioClip";
        const { command } = menu.find((one) => one.scope === scope && one.title === title);
        const found = trackNamed(track);
        const selection = {
            time_selection_start: from, time_selection_end: to, selected_lanes: [handleOf(found)],
        };
        const clicked = () => handleOf(found.arrangementClips.find((one) => one.name === clip));
        commands.get(command)(clip === undefined ? selection : clicked());
        return null;
    },
    abort() {
        hand.abort();
        return null;
    },
    facts: () => ({ shown, steps, tracks: song.tracks.map((track) => track.name) }),
};

for await (const line of createInterface({ input: process.stdin })) {
    const { act, ...words } = JSON.parse(line);
    console.log(JSON.stringify(acts[act](words)));
}
process.exit(0);
