// The verbs that the desk asks for, by those of Live's Extensions SDK. Live counts in beats, the
// desk in samples: they are converted here, at one tempo. Knows no server.

import { readFile, rm } from "node:fs/promises";

import { Refusal } from "./mailbox.js";

// Takes the SDK's context and two of its classes.
export function makeCompanion(context, { AudioClip, AudioTrack }) {
    const song = context.application.song;
    let chosen = null; // what the musician opened the menu on
    let rate = null; // Live's sample rate, which only its renders tell
    let dialog = null;
    const edits = []; // ours, the last one last

    const samplesOf = (beats) => Math.round((beats * 60 * rate) / song.tempo);
    const beatsOf = (samples) => (Number(samples) / rate / 60) * song.tempo;

    const audioTracks = () => song.tracks.filter((track) => track instanceof AudioTrack);
    const clipsOf = (track) => track.arrangementClips.filter((clip) => clip instanceof AudioClip);
    const trackNamed = (name) => audioTracks().find((track) => track.name === name);

    function clipNamed(name) {
        for (const track of audioTracks())
            for (const clip of clipsOf(track)) if (clip.name === name) return { track, clip };
        throw new Refusal("NOT_FOUND", `there is no clip ${name}`);
    }

    async function learnRate(track) {
        const path = await context.resources.renderPreFxAudio(track, 0, 1);
        rate = rateOf(await readFile(path));
        await rm(path);
    }

    async function needRate() {
        if (rate === null && audioTracks().length > 0) await learnRate(audioTracks()[0]);
    }

    // Asks for what can fail; returns what is left to do.
    async function prepared(lines) {
        const sources = new Map();
        const deletes = [];
        const creates = [];
        for (const [what, ...words] of lines) {
            if (what === "delete") deletes.push(clipNamed(words[0]));
            else if (what === "import") sources.set(words[0], words[1]);
            else if (what === "clip" && sources.has(words[0]))
                creates.push({ source: words[0], track: words[1], start: words[2], name: words[3] });
            else throw new Refusal("INVALID_ARGUMENT", `an edit knows no ${what} ${words[0]}`);
        }
        for (const [key, path] of sources) sources.set(key, await imported(path));
        for (const one of creates) one.path = sources.get(one.source);
        return { deletes, creates };
    }

    async function imported(path) {
        try {
            return await context.resources.importIntoProject(path);
        } catch (error) {
            throw new Refusal("NOT_FOUND", `Live cannot import ${path}: ${error.message}`);
        }
    }

    async function trackFor(name) {
        const there = trackNamed(name);
        if (there) return there;
        const track = await song.createAudioTrack();
        track.name = name;
        return track;
    }

    // Deletes and creates clips in one undo step; returns what takes it back.
    async function done(deletes, creates) {
        const before = deletes.map(({ track, clip }) => ({
            track, name: clip.name, path: clip.filePath, beats: clip.startTime,
        }));
        // All begins in the call itself: what begins later is a step of its own.
        const made = await context.withinTransaction(() => Promise.all([
            ...creates.map(({ track, path, beats }) =>
                track.createAudioClip({ filePath: path, startTime: beats, isWarped: false })),
            ...deletes.map(({ track, clip }) => track.deleteClip(clip)),
        ]));
        creates.forEach(({ name }, place) => {
            // Live names a clip after its file, which has our name already.
            if (made[place].name !== name) made[place].name = name;
        });
        return { created: creates.map(({ track, name }) => ({ track, name })), deleted: before };
    }

    const verbs = {
        async selection() {
            if (chosen === null)
                throw new Refusal("INVALID_ARGUMENT",
                    "nothing was chosen: open the menu of an audio clip or of a time selection");
            const { track, from, to } = chosen();
            await learnRate(track);
            const [start, end] = [samplesOf(from), samplesOf(to)];
            // The SDK tells no meter of the song.
            return [["selection", track.name, start, end, rate, song.tempo.toFixed(6), 0, 0]];
        },

        async clips([name]) {
            const track = trackNamed(name);
            if (!track) return [];
            await needRate();
            return clipsOf(track).map((clip) => {
                const start = samplesOf(clip.startTime);
                return ["clip", clip.name, start, samplesOf(clip.endTime) - start];
            });
        },

        async render([name, from, to]) {
            const track = trackNamed(name);
            if (!track) throw new Refusal("NOT_FOUND", `there is no track ${name}`);
            await needRate();
            const range = [beatsOf(from), beatsOf(to)];
            return [["file", await context.resources.renderPreFxAudio(track, ...range)]];
        },

        async edit(_, lines) {
            const { deletes, creates } = await prepared(lines);
            for (const one of creates) one.track = await trackFor(one.track);
            await needRate();
            for (const one of creates) one.beats = beatsOf(one.start);
            edits.push(await done(deletes, creates));
        },

        // The SDK cannot undo: what the last edit did is done backwards, in a step of its own.
        async undo() {
            const last = edits.pop();
            if (!last) throw new Refusal("FAILED_PRECONDITION", "nothing of ours can be taken back");
            await done(last.created.map(({ name }) => clipNamed(name)), last.deleted);
        },

        async progress([title, fraction, text]) {
            dialog ??= await openDialog(context.ui, title);
            if (!dialog.signal.aborted) await dialog.update(text, 100 * Number(fraction));
            return [["aborted", dialog.signal.aborted ? 1 : 0]];
        },

        finish() {
            dialog?.close();
            dialog = null;
        },

        // Not waited for: it stands until the musician closes it.
        tell([text]) {
            context.ui.showModalDialog(pageOf(text), 420, 160)
                .catch((error) => console.error("Jukebox Bridge:", error));
        },
    };

    // Remembers what the menu was opened on: a clip's handle, or a selection of the arrangement.
    function choose(where) {
        chosen = () => {
            if ("selected_lanes" in where) {
                const track = context.getObjectFromHandle(where.selected_lanes[0], AudioTrack);
                return { track, from: where.time_selection_start, to: where.time_selection_end };
            }
            const clip = context.getObjectFromHandle(where, AudioClip);
            if (!(clip.parent instanceof AudioTrack))
                throw new Refusal("INVALID_ARGUMENT", "the clip is in the session view: drag it over");
            return { track: clip.parent, from: clip.startTime, to: clip.endTime };
        };
    }

    return { verbs, choose };
}

// Returns an open progress dialog; it goes away when it is closed.
function openDialog(ui, title) {
    return new Promise((resolve, reject) => {
        ui.withinProgressDialog(title, { progress: 0 }, (update, signal) =>
            new Promise((close) => resolve({ update, signal, close }))).catch(reject);
    });
}

// Returns the sample rate of a RIFF WAVE file.
function rateOf(file) {
    for (let at = 12; at + 16 <= file.length; at += 8 + file.readUInt32LE(at + 4))
        if (file.toString("latin1", at, at + 4) === "fmt ") return file.readUInt32LE(at + 12);
    throw new Refusal("FAILED_PRECONDITION", "Live rendered no WAV file");
}

function pageOf(text) {
    const safe = text.replace(/[&<>]/g, (found) => `&#${found.charCodeAt(0)};`);
    const close = `{method:"close_and_send",params:[""]}`;
    const send = `(window.webkit?.messageHandlers.live??window.chrome.webview).postMessage(${close})`;
    const page = `<body style="font:14px sans-serif;white-space:pre-wrap">${safe}`
        + `<p><button onclick='${send}'>Close</button>`;
    return "data:text/html;charset=utf-8," + encodeURIComponent(page);
}
