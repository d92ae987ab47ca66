// The extension's end of the mailbox: one command in, one answer out, by number.
// What lies in the folder is data: it is split into words, and never run. Knows no Live.

import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

const VERSION = "1";
const MAX_BYTES = 1 << 20;
const DESK_SECONDS = 10;

// What ends a verb with an error that the other side knows.
export class Refusal extends Error {
    constructor(code, text) {
        super(text);
        this.code = code;
    }
}

const plain = (word) =>
    word.replace(/%([0-9A-F]{2})/g, (_, code) => String.fromCharCode(parseInt(code, 16)));

const escaped = (word) =>
    String(word).replace(/[%\t\r\n\0]/g, (found) =>
        "%" + found.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0"));

// Returns the lines of words of a file; none if it is not there, or too long.
async function read(folder, name) {
    let text;
    try {
        text = await readFile(join(folder, name));
    } catch (error) {
        if (error.code === "ENOENT") return [];
        throw error;
    }
    if (text.length > MAX_BYTES) return [];
    return text.toString("utf8").split("\n").slice(0, -1)
        .map((line) => line.split("\t").map(plain));
}

// Writes lines of words whole, then renames.
export async function write(folder, name, lines) {
    const path = join(folder, name);
    const text = lines.map((line) => line.map(escaped).join("\t") + "\n").join("");
    await writeFile(path + ".part", text);
    await rename(path + ".part", path);
}

function numberOf([head]) {
    const known = head?.length === 3 && head[0] === "jukebox" && head[1] === VERSION;
    return known ? Number(head[2]) : null;
}

async function answerOf(verbs, [[verb, ...words], ...lines]) {
    if (!Object.hasOwn(verbs, verb)) throw new Refusal("INVALID_ARGUMENT", `no verb is called ${verb}`);
    return (await verbs[verb](words, lines)) ?? [];
}

// Answers the command in the folder if it is a new one; returns whether it was.
export async function serve(folder, verbs) {
    const lines = await read(folder, "command.txt");
    const number = numberOf(lines);
    if (number === null || number === numberOf(await read(folder, "answer.txt"))) return false;
    let answer;
    try {
        answer = [["ok"], ...(await answerOf(verbs, lines.slice(1)))];
    } catch (error) {
        answer = [["fail", error instanceof Refusal ? error.code : "INTERNAL", error.message]];
    }
    await write(folder, "answer.txt", [["jukebox", VERSION, number], ...answer]);
    return true;
}

// Returns whether a desk has shown life in the last ten seconds.
export async function deskIsHere(folder) {
    const [line] = await read(folder, "desk.txt");
    return line?.[0] === "desk" && Math.abs(Date.now() / 1000 - Number(line[2])) <= DESK_SECONDS;
}
