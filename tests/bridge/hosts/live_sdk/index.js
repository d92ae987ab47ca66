// A Live in memory behind its Extensions SDK: the few members that our extension may use, and the
// SDK's rules. Any other member is an error.

import { copyFile, readFile, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { basename, join } from "node:path";

const RATE = 48000;
const TEMPO = 120;

function wanted(is, what) {
    if (!is) throw new Error(`Live: ${what}`);
}

// Makes a member that is not there an error instead of undefined.
function strict(object) {
    return new Proxy(object, {
        get(target, name) {
            wanted(typeof name === "symbol" || name === "then" || name in target, `no member ${String(name)}`);
            const found = Reflect.get(target, name);
            return typeof found === "function" ? found.bind(target) : found;
        },
        set(target, name, value) {
            return Reflect.set(target, name, value);
        },
    });
}

// What changes the song belongs to the transaction that is open, or is an undo step of its own.
let open = null;
export const steps = [];

function step(change) {
    if (open) return open.push(change), undefined;
    steps.push([change]);
}

// As Live does: begun at once, done a moment later.
async function later(change, act) {
    step(change);
    await new Promise((resolve) => setTimeout(resolve, 1));
    return act();
}

export class AudioClip {
    #file; #name; #start; #frames; #parent;
    constructor(parent, file, start, frames) {
        this.#parent = parent;
        this.#file = file;
        this.#name = basename(file).replace(/\.[^.]*$/, "");
        this.#start = start;
        this.#frames = frames;
    }
    get name() { return this.#name; }
    set name(text) {
        step(`rename ${this.#name}`);
        this.#name = text;
    }
    get parent() { return this.#parent; }
    get filePath() { return this.#file; }
    get startTime() { return this.#start; }
    get endTime() { return this.#start + (this.#frames / RATE / 60) * TEMPO; }
}

export class AudioTrack {
    #name = "Audio"; #clips = [];
    get name() { return this.#name; }
    set name(text) {
        step("rename a track");
        this.#name = text;
    }
    get arrangementClips() { return [...this.#clips]; }

    createAudioClip({ filePath, startTime, isWarped, ...rest }) {
        wanted(Object.keys(rest).length === 0, `createAudioClip knows no ${Object.keys(rest)}`);
        wanted(filePath.startsWith(project), "the file is not in the project");
        wanted(Number.isFinite(startTime) && startTime >= 0, `startTime is ${startTime}`);
        wanted(isWarped === false, "isWarped is to be false");
        return later("create a clip", async () => {
            const { frames } = wavOf(await readFile(filePath));
            const clip = strict(new AudioClip(this.itself, filePath, startTime, frames));
            this.#clips.push(clip);
            return clip;
        });
    }

    deleteClip(clip) {
        wanted(this.#clips.includes(clip), "the clip is not on this track");
        return later("delete a clip", () => {
            this.#clips = this.#clips.filter((one) => one !== clip);
        });
    }
}

class MidiTrack {
    name = "keys";
}

const tracks = [strict(new MidiTrack())];

export const song = strict({
    get tempo() { return TEMPO; },
    get tracks() { return [...tracks]; },
    createAudioTrack: () => later("create a track", () => {
        const track = new AudioTrack();
        track.itself = strict(track);
        tracks.push(track.itself);
        return track.itself;
    }),
});

function wavOf(file) {
    let at = 12;
    const chunks = {};
    while (at + 8 <= file.length) {
        const size = file.readUInt32LE(at + 4);
        chunks[file.toString("latin1", at, at + 4)] = file.subarray(at + 8, at + 8 + size);
        at += 8 + size + (size % 2);
    }
    wanted(chunks["fmt "].readUInt32LE(4) === RATE, "the file is not at the session's rate");
    return { frames: chunks.data.length / 8, data: chunks.data };
}

function wavFile(data) {
    const head = Buffer.alloc(44);
    head.write("RIFF", 0);
    head.writeUInt32LE(36 + data.length, 4);
    head.write("WAVEfmt ", 8);
    head.writeUInt32LE(16, 16);
    head.writeUInt16LE(3, 20);
    head.writeUInt16LE(2, 22);
    head.writeUInt32LE(RATE, 24);
    head.writeUInt32LE(RATE * 8, 28);
    head.writeUInt16LE(8, 32);
    head.writeUInt16LE(32, 34);
    head.write("data", 36);
    head.writeUInt32LE(data.length, 40);
    return Buffer.concat([head, data]);
}

const framesOf = (beats) => Math.round((beats * 60 * RATE) / TEMPO);
const [, , project, storage, temp] = process.argv;
let renders = 0;

async function renderPreFxAudio(track, from, to) {
    wanted(track instanceof AudioTrack, "only an audio track is rendered");
    wanted(from >= 0 && to > from, `beats ${from} to ${to} are no range`);
    const first = framesOf(from);
    const data = Buffer.alloc(8 * (framesOf(to) - first));
    for (const clip of track.arrangementClips) {
        const sound = wavOf(await readFile(clip.filePath)).data;
        const shift = 8 * (framesOf(clip.startTime) - first);
        const begin = Math.max(0, -shift);
        if (begin < sound.length && shift + begin < data.length) sound.copy(data, shift + begin, begin);
    }
    const path = join(temp, `render-${++renders}.wav`);
    await writeFile(path, wavFile(data));
    return path;
}

async function importIntoProject(path) {
    let copy = join(project, basename(path));
    for (let number = 2; existsSync(copy); ++number)
        copy = join(project, basename(path).replace(/(\.[^.]*)?$/, ` ${number}$1`));
    await copyFile(path, copy);
    return copy;
}

export const commands = new Map();
export const menu = [];
export const shown = [];
export const hand = { abort: () => {} };
const handles = new Map();

export function handleOf(object) {
    const handle = { id: BigInt(handles.size + 1) };
    handles.set(handle.id, object);
    return handle;
}

const ui = {
    async registerContextMenuAction(scope, title, command) {
        wanted(commands.has(command), `no command ${command}`);
        menu.push({ scope, title, command });
        return async () => {};
    },
    async showModalDialog(url, width, height) {
        wanted(/^data:|^file:|^https:/.test(url) && width > 0 && height > 0, "a dialog of a URL");
        shown.push(decodeURIComponent(url));
        return "";
    },
    async withinProgressDialog(text, { progress }, callback) {
        wanted(typeof text === "string" && progress >= 0, "a dialog has a text and a progress");
        const abort = new AbortController();
        hand.abort = () => abort.abort();
        const update = async (words, percent) => {
            wanted(percent >= 0 && percent <= 100, `${percent} is no percentage`);
            shown.push(words);
        };
        await callback(update, abort.signal);
        shown.push("closed");
    },
};

export function initialize(activation, version) {
    wanted(version === "1.0.0" && activation.hostApiVersion === version, "the API's version");
    return strict({
        application: strict({ song }),
        commands: strict({ registerCommand: (id, act) => void commands.set(id, act) }),
        environment: strict({ storageDirectory: storage, tempDirectory: temp }),
        resources: strict({ renderPreFxAudio, importIntoProject }),
        ui: strict(ui),
        getObjectFromHandle(handle, type) {
            const found = handles.get(handle.id);
            wanted(found instanceof type, "the object is of another type, or gone");
            return found;
        },
        withinTransaction(act) {
            wanted(open === null, "a transaction is open");
            open = [];
            try {
                return act();
            } finally {
                steps.push(open);
                open = null;
            }
        },
    });
}
