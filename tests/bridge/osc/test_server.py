"""Datagrams to a real socket: verbs, jobs, takes, properties; what is refused and repeated."""

import asyncio
import shutil
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fakes import CountingGenerator, ramp

from bridge.audio_file import read_audio, read_time_reference, sha256_of
from bridge.errors import BusyError, UnsupportedError
from bridge.jobs import JobState
from bridge.midi_file import write_midi
from bridge.osc import job_book
from bridge.osc.answers import ACCEPTED, FORMS, MAX_TEXT_CHARACTERS
from bridge.osc.budget import SendBudget
from bridge.osc.clients import NODES, Scope
from bridge.osc.packet import Argument, encode
from bridge.osc.server import RECEIVE_BYTES, OscSettings, UdpServer
from bridge.ports import MidiPart, Note, StemKind
from bridge.transport import steady
from tests.bridge.osc.garbage import bundle
from tests.bridge.osc.peers import packet

CONTINUE = "/jukebox/continue"
DONE, FAIL = "/jukebox/done", "/jukebox/fail"
FULL = ("a", "prime.wav", "480", "4/4", "1")
SPLICE = 6_000


def held_generator(at_step=7, **changes):
    """Return a generator that stops at a step, and the events of its stop and its way on."""
    reached, held = threading.Event(), threading.Event()

    def hold(step):
        if step == at_step:
            reached.set()
            held.wait()

    return CountingGenerator(on_step=hold, **changes), reached, held


def test_datagrams_wait_while_the_server_computes():
    limit = Path("/proc/sys/net/core/rmem_max")
    if not limit.is_file() or int(limit.read_text()) < RECEIVE_BYTES // 2:
        pytest.skip("this system grants no larger buffer")

    async def scenario():
        heard = []
        server = UdpServer(lambda data, _peer: heard.append(data), SendBudget(time.monotonic))
        port = await server.start("127.0.0.1", 0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(1500):
                # The loop that receives does not turn meanwhile.
                sender.sendto(number.to_bytes(2), ("127.0.0.1", port))
        for _ in range(200):
            if len(heard) == 1500:
                break
            await asyncio.sleep(0.01)
        server.stop()
        return heard

    assert asyncio.run(scenario()) == [number.to_bytes(2) for number in range(1500)]


def test_a_continuation_is_written_and_told(osc, ask, prime):
    asker = ask(osc())
    asker.send(CONTINUE, "sssss", "a", "prime.wav", "97.3", "7/8", "1")
    answers = asker.until_the_end()
    assert answers[0] == ("/jukebox/queued", ["a", 0, 0.0])
    (accepted,) = [values for address, values in answers if address == ACCEPTED]
    job, seed, splice, expected, fidelity, model, advice = accepted
    assert (job, splice, fidelity, model, advice) == ("a", SPLICE, 1.0, "counting", "")
    assert expected == round(3.5 * 60 * 44_100 / 97.3)
    assert 0 <= int(seed) < 2**64
    address, (of, job, path, sha256, num_samples, splice, take, rtf, gain, licence) = answers[-1]
    assert (address, of, job) == (DONE, CONTINUE, "a")
    assert (num_samples, splice, gain, licence) == (expected, SPLICE, 0.0, "public domain")
    assert rtf >= 0
    assert take
    written = read_audio(Path(path))
    assert written.samples.shape == (2, expected)
    assert sha256_of(written.samples) == sha256
    assert read_time_reference(Path(path)) == SPLICE
    assert Path(path).is_relative_to(prime.parent)


def test_no_block_is_decoded_a_second_time_for_those_who_are_told_of_a_file(osc, ask, prime):
    generator = CountingGenerator()
    asker = ask(osc(generator))
    asker.send(CONTINUE, "sssss", *FULL)
    assert asker.until_the_end()[-1][0] == DONE
    assert generator.decoded == sorted(set(generator.decoded))


NUMBERS = (
    ("ssfsf", (97.3, "7/8", 1.0)),
    ("ssdsd", (97.3, "7/8", 1.0)),
    ("ssssi", ("97.3", "7/8", 1)),
    ("sssshsi", ("97.30", "7/8", 1, "seed", 7)),
    ("fsssd", ("97.3", "7/8", 1.0)),
    ("sssfsiss", ("tempo_bpm", 97.3, "bars", 1, "meter", "7/8")),
)


def test_a_number_may_come_as_any_type_and_means_the_same_decimal(osc, ask, prime):
    asker = ask(osc())
    for number, (tags, values) in enumerate(NUMBERS):
        job = float(number) if tags[0] == "f" else str(number)
        asker.send(CONTINUE, tags, job, str(prime), *values)
        _, done = asker.until_the_end()[-1]
        assert done[1] == str(number), done
        assert done[4] == round(3.5 * 60 * 44_100 / 97.3)


def test_keys_reach_the_request(osc, ask, prime):
    generator = CountingGenerator(follows_seed=True)
    notes = MidiPart(
        notes=(Note(start_sample=0, end_sample=22_050, pitch=64, velocity=90),),
        start_sample=0,
        end_sample=22_050,
    )
    midi = write_midi(prime.parent / "part.mid", notes, steady(44_100, 120))
    asker = ask(osc(generator))
    pairs = ("midi", midi.name, "stem_bass", prime.name, "target", "drums", "artist", "Bach")
    more = ("start", "2000", "seed", "41", "quality", "exact", "temperature", "0.9")
    values = ("a", str(prime), "120", "4/4", "1", *pairs, *more)
    asker.send(CONTINUE, "s" * len(values), *values)
    answers = asker.until_the_end()
    assert answers[-1][0] == DONE, answers[-1]
    conditions, anchor = generator.opened[-1][:2]
    (stem,) = conditions.stems
    assert (stem.kind, conditions.target) == (StemKind.BASS, StemKind.DRUMS)
    assert conditions.labels.artist == "Bach"
    assert [note.pitch for note in conditions.midi.notes] == [64]
    assert anchor >= 2_000
    (accepted,) = [values for address, values in answers if address == ACCEPTED]
    splice = 2_000 + 5_000
    assert accepted[1:3] == ["41", splice]
    written = read_audio(Path(answers[-1][1][2])).samples
    np.testing.assert_array_equal(written[0], ramp(splice - anchor, written.shape[1], 41))


def test_tempo_curves_sections_and_suffix_reach_the_model(osc, ask, prime):
    generator = CountingGenerator()
    asker = ask(osc(generator))
    pairs = ("energy", "0.25,1", "density", "0", "sections", "A:1,A:1@0.5", "suffix", prime.name)
    values = ("a", str(prime), "120", "3/4", "1", *pairs)
    asker.send(CONTINUE, "s" * len(values), *values)
    address, done = asker.until_the_end()[-1]
    assert address == DONE, done
    conditions, anchor = generator.opened[-1][:2]
    (point,) = conditions.pulse
    assert (point.sample, point.samples_per_beat) == (SPLICE - 5_000 - anchor, 22_050)
    assert point.beats_per_bar == 3
    assert (conditions.energy_per_bar, conditions.density_per_bar) == ((0.25, 1.0), (0.0,))
    assert conditions.curves_sample == SPLICE - anchor
    assert conditions.suffix.start_sample == SPLICE + 3 * 22_050 - anchor
    first, second = conditions.sections
    assert (second.start_sample - first.start_sample, second.similarity) == (3 * 22_050, 0.5)


def test_what_a_message_leaves_out_comes_from_the_session(osc, ask, prime):
    opened = osc(CountingGenerator(follows_seed=True))
    asker, other = ask(opened), ask(opened)
    asker.socket.send(
        bundle(
            packet("/jukebox/session/set/tempo_bpm", "f", 360.0),
            packet("/jukebox/session/set/bars", "i", 2),
            packet("/jukebox/session/set/meter", "s", "3/4"),
            packet("/jukebox/session/set/seed", "s", "41"),
            packet("/jukebox/session/set/seed_lock", "f", 1.0),
        )
    )
    told = dict(asker.receive() for _ in range(5))
    assert told["/jukebox/session/seed_lock"] == [True]
    asker.send(CONTINUE, "ss", "mine", "prime.wav")
    mine = asker.until_the_end()
    other.send(CONTINUE, "ss", "yours", "prime.wav")
    yours = other.until_the_end()
    assert mine[-1][1][4] == 44_100
    assert yours[-1][1][4] == 4 * 4 * 44_100 // 2
    seeds = {values[0]: values[1] for address, values in (*mine, *yours) if address == ACCEPTED}
    assert seeds["mine"] == "41"
    assert seeds["yours"] != "41"


def test_a_locked_seed_is_the_last_one_and_unlocked_it_is_drawn_again(osc, ask, prime):
    asker = ask(osc())
    asker.ask("/jukebox/session/set/seed_lock", "T", True)
    seeds = []
    for number in range(3):
        if number == 2:
            asker.ask("/jukebox/session/set/seed_lock", "F", False)
        asker.send(CONTINUE, "sssi", f"n{number}", "prime.wav", "num_samples", 100)
        answers = asker.until_the_end()
        seeds += [values[1] for address, values in answers if address == ACCEPTED]
        assert asker.ask("/jukebox/session/seed")[1] == seeds[-1:]
    assert seeds[0] == seeds[1] != seeds[2]


def test_generate_stands_on_nothing(osc, ask):
    generator = CountingGenerator()
    asker = ask(osc(generator))
    keys = ("start", 500, "sample_rate", "48000", "channels", 1, "num_samples", 7_000)
    asker.send("/jukebox/generate", "ssisssisi", "g", *keys)
    address, done = asker.until_the_end()[-1]
    assert (address, done[0], done[4], done[5]) == (DONE, "/jukebox/generate", 7_000, 500), done
    written = read_audio(Path(done[2]))
    assert (written.sample_rate, written.samples.shape) == (48_000, (1, 7_000))


def test_midi_is_rendered_from_the_splice_on_and_lasts_as_long_as_its_notes(osc, ask, prime):
    generator = CountingGenerator()
    notes = MidiPart(
        notes=(Note(start_sample=0, end_sample=30_000, pitch=64, velocity=90),),
        start_sample=0,
        end_sample=30_000,
    )
    midi = write_midi(prime.parent / "part.mid", notes, steady(44_100, 120))
    asker = ask(osc(generator))
    asker.send("/jukebox/render_midi", "sss", "r", midi.name, prime.name)
    address, done = asker.until_the_end()[-1]
    assert (address, done[0]) == (DONE, "/jukebox/render_midi"), done
    assert abs(done[4] - 30_000) < 100
    conditions, anchor = generator.opened[-1][:2]
    (note,) = conditions.midi.notes
    assert note.start_sample + anchor == SPLICE


def test_a_take_is_varied_from_a_bar_on_each_variation_a_job_of_its_own(osc, ask, prime):
    generator = CountingGenerator()
    asker = ask(osc(generator))
    asker.send(CONTINUE, "sssss", "a", "prime.wav", "120", "4/4", "2")
    take = asker.until_the_end()[-1][1][6]
    asker.send("/jukebox/vary", "sssisi", "v", take, "from_bar", 1, "count", 2)
    ends = {}
    while len(ends) < 2:
        address, values = asker.until_the_end()[-1]
        assert address == DONE, values
        ends[values[1]] = values
    assert set(ends) == {"v.1", "v.2"}
    for values in ends.values():
        assert values[4:6] == [2 * 44_100, SPLICE + 2 * 44_100]
    asker.send("/jukebox/takes/list", "sii", "list", 0, 2)
    listed = [asker.receive(), asker.receive()]
    assert asker.receive() == (DONE, ["/jukebox/takes/list", "list", 3])
    assert {values[8] for _, values in listed} == {take}
    assert {values[1] for _, values in listed} == {values[6] for values in ends.values()}


def test_codes_from_a_file_reach_the_engine_or_are_refused_by_name(osc, ask, prime):
    np.savez(prime.parent / "codes.npz", level2=np.arange(16, dtype=np.int64))
    asker = ask(osc())
    asker.send("/jukebox/upsample", "ss", "u", "codes.npz")
    _, failure = asker.until_the_end()[-1]
    assert failure[:3] == ["/jukebox/upsample", "u", "UNIMPLEMENTED"]
    assert "source:codes" in failure[3]


NO_CODES = (
    ({"level3": np.zeros(4, np.int16)}, "level3"),
    ({"level2": np.zeros((2, 2), np.int16)}, "in one row"),
    ({"level2": np.full(4, -1)}, "whole numbers"),
    ({"level2": np.full(4, 40_000)}, "whole numbers"),
    ({"level2": np.zeros(4)}, "whole numbers"),
    ({"level2": np.zeros(0, np.int16)}, "whole numbers"),
    ({"level2": np.array([None])}, "no NumPy"),
    ({}, "none"),
)


def test_a_file_that_holds_no_codes_is_refused(osc, ask, prime):
    asker = ask(osc())
    asker.send("/jukebox/upsample", "ss", "wave", prime.name)
    assert "no NumPy .npz file" in asker.until_the_end()[-1][1][3]
    for number, (arrays, words) in enumerate(NO_CODES):
        np.savez(prime.parent / "codes.npz", **arrays)
        asker.send("/jukebox/upsample", "ss", str(number), "codes.npz")
        _, failure = asker.until_the_end()[-1]
        assert failure[2] == "INVALID_ARGUMENT"
        assert words in failure[3]


def test_a_take_is_told_tagged_and_exported(osc, ask, prime):
    asker = ask(osc())
    asker.send(CONTINUE, "sssss", *FULL)
    done = asker.until_the_end()[-1][1]
    take = done[6]
    address, told = asker.ask("/jukebox/takes/get", "ss", "g", take)
    assert address == "/jukebox/take"
    assert told[:4] == ["g", take, "none", ""]
    assert told[5:10] == [SPLICE, done[4], 44_100, "", done[3]]
    assert asker.receive() == (DONE, ["/jukebox/takes/get", "g"])
    _, told = asker.ask("/jukebox/takes/tag", "ssss", "t", take, "keep", "the good one")
    assert told[:4] == ["t", take, "keep", "the good one"]
    assert asker.receive()[0] == DONE
    address, told = asker.ask("/jukebox/takes/export", "sss", "e", take, "mine.wav")
    target = prime.parent / "mine.wav"
    assert (address, told) == (DONE, ["/jukebox/takes/export", "e", str(target)])
    assert sha256_of(read_audio(target).samples) == done[3]
    _, failure = asker.ask("/jukebox/takes/export", "sss", "e", take, "mine.wav")
    assert failure[2] == "ALREADY_EXISTS"
    _, failure = asker.ask("/jukebox/takes/export", "sss", "e", take, "/etc/mine.wav")
    assert "--allow-path" in failure[3]
    for verb, more in (("get", ()), ("tag", ("keep",)), ("export", ("other.wav",))):
        values = ("x", "no such take", *more)
        _, failure = asker.ask(f"/jukebox/takes/{verb}", "s" * len(values), *values)
        assert failure[:3] == [f"/jukebox/takes/{verb}", "x", "NOT_FOUND"]


def test_the_small_addresses_answer(osc, ask):
    asker = ask(osc())
    assert asker.ask("/jukebox/ping") == ("/jukebox/pong", ["", "jukebox.bridge.v1"])
    assert asker.ask("/jukebox/ping", "s", "x") == ("/jukebox/pong", ["x", "jukebox.bridge.v1"])
    assert asker.ask("/jukebox/status") == ("/jukebox/status", ["", "SERVING", 0, "counting"])
    model = ["m", "counting", "counting-1", 44_100, "public domain"]
    assert asker.ask("/jukebox/models", "s", "m") == ("/jukebox/model", model)
    assert asker.receive() == (DONE, ["/jukebox/models", "m"])
    assert asker.ask("/jukebox/jobs", "s", "j") == (DONE, ["/jukebox/jobs", "j", 0])
    asker.send("/jukebox/stats", "s", "s")
    stats = dict(values[1:] for address, values in asker.until_the_end() if address != DONE)
    assert stats["running_jobs"] == stats["done_jobs"] == 0.0


def test_styles_are_listed_by_pages(osc, ask):
    opened = osc()
    info = opened.served.engine.info
    total = len(info.artists) + len(info.genres)
    asker = ask(opened)
    asker.send("/jukebox/styles", "sii", "s", 0, 32)
    *styles, (_, done) = asker.until_the_end()
    assert done == ["/jukebox/styles", "s", total]
    expected = [("artist", name) for name in info.artists]
    expected += [("genre", name) for name in info.genres]
    assert [tuple(values[1:]) for _, values in styles] == expected[:32]


def test_while_the_model_loads_requests_fail_and_status_says_so(listen, osc, ask, prime):
    loaded = threading.Event()

    def load():
        loaded.wait()
        return CountingGenerator()

    served = listen(load, osc_port=None)
    asker = ask(osc(served=served))
    try:
        assert asker.ask("/jukebox/status") == ("/jukebox/status", ["", "NOT_SERVING", 0, ""])
        _, failure = asker.ask(CONTINUE, "sssss", *FULL)
        assert failure[:3] == [CONTINUE, "a", "FAILED_PRECONDITION"]
        assert asker.ask("/jukebox/server/start_listen/state")[1] == ["NOT_SERVING"]
    finally:
        loaded.set()
    served.serve()
    assert asker.receive() == ("/jukebox/server/state", ["SERVING"])
    asker.ask("/jukebox/server/stop_listen/state")
    asker.send(CONTINUE, "sssss", *FULL)
    assert asker.until_the_end()[-1][0] == DONE


REFUSED = {
    "no such address": ("/jukebox/play", "", (), "NOT_FOUND", "docs/osc.md"),
    "too few": (CONTINUE, "s", ("a",), None, "1 arguments came, 2"),
    "too many": ("/jukebox/cancel", "si", ("a", 1), None, "the limit is 1"),
    "0 bpm": (CONTINUE, "ssfsf", ("a", "prime.wav", 0.0, "4/4", 1.0), None, "10 to 999 bpm"),
    "NaN": (CONTINUE, "ssfsf", ("a", "prime.wav", float("nan"), "4/4", 1.0), None, "nan"),
    "no bars": (CONTINUE, "ssfsf", ("a", "prime.wav", 120.0, "4/4", 0.0), None, "bars is 0"),
    "meter": (CONTINUE, "ssfsf", ("a", "prime.wav", 120.0, "4:4", 1.0), None, "4:4"),
    "flag": (CONTINUE, "ssTsf", ("a", "prime.wav", True, "4/4", 1.0), None, "tempo_bpm"),
    "empty id": (CONTINUE, "sssss", ("", *FULL[1:]), None, "1 to 128"),
    "half a pair": (CONTINUE, "ssssss", (*FULL, "seed"), None, "pairs"),
    "unknown key": (CONTINUE, "sssssss", (*FULL, "sead", "1"), None, "sead"),
    "key twice": (CONTINUE, "s" * 9, (*FULL, "seed", "1", "seed", "2"), None, "twice"),
    "two lengths": (CONTINUE, "ssssssi", (*FULL, "num_samples", 9), None, "one of them"),
    "seed": (CONTINUE, "sssssss", (*FULL, "seed", "-1"), None, "seed is -1"),
    "large float": (CONTINUE, "ssssssf", (*FULL, "start", 2.0**24), None, "16777216"),
    "target": (CONTINUE, "sssssss", (*FULL, "target", "harp"), None, "drums"),
    "outside": (CONTINUE, "sssss", ("a", "/etc/hostname", *FULL[2:]), None, "--allow-path"),
    "upwards": (CONTINUE, "sssss", ("a", "../x.wav", *FULL[2:]), None, "--allow-path"),
    "missing": (CONTINUE, "sssss", ("a", "no.wav", *FULL[2:]), "NOT_FOUND", "no.wav"),
    "no audio": (CONTINUE, "sssss", ("a", "notes.txt", *FULL[2:]), None, "notes.txt"),
    "long path": (CONTINUE, "sssss", ("a", "x" * 4_000, *FULL[2:]), None, "path"),
    "no take": ("/jukebox/vary", "ss", ("a", "t"), "NOT_FOUND", "t"),
    "rate": ("/jukebox/generate", "sss", ("a", "sample_rate", "8000"), None, "44100"),
    "not running": ("/jukebox/cancel", "s", ("b",), "NOT_FOUND", "'b'"),
    "not known": ("/jukebox/query", "s", ("b",), "NOT_FOUND", "'b'"),
    "mark": ("/jukebox/takes/tag", "sss", ("a", "t", "love"), None, "keep"),
    "page": ("/jukebox/takes/list", "sii", ("a", 0, 33), None, "1 to 32"),
}


def test_what_cannot_be_done_fails_with_a_reason(osc, ask, prime):
    (prime.parent / "notes.txt").write_text("no music")
    asker = ask(osc())
    wrong = [case for case in REFUSED if not refused(asker, *REFUSED[case])]
    assert wrong == []


def refused(asker, address, tags, values, code, words):
    """Return whether a message fails with this code and these words."""
    asker.send(address, tags, *values)
    end, (of, job, told, reason) = asker.until_the_end()[-1]
    given = str(values[0]) if values else ""
    return (end, of, job, told) == (FAIL, address, given, code or "INVALID_ARGUMENT") and (
        words in reason
    )


def test_a_link_out_of_the_spool_is_refused_and_one_into_an_allowed_folder_is_not(
    osc, ask, prime, tmp_path
):
    for name in ("allowed", "secret"):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(prime, folder / "song.wav")
        (prime.parent / f"{name}.wav").symlink_to(folder / "song.wav")
    asker = ask(osc(allowed=(tmp_path / "allowed",)))
    ends = []
    for name in ("allowed", "secret"):
        asker.send(CONTINUE, "sssss", name, f"{name}.wav", *FULL[2:])
        ends.append(asker.until_the_end()[-1])
    assert [address for address, _ in ends] == [DONE, FAIL]
    assert "outside the folders allowed" in ends[1][1][3]


def test_cancelling_stops_the_steps_and_both_sides_are_told(osc, ask, prime):
    generator, reached, held = held_generator()
    opened = osc(generator)
    owner, other = ask(opened), ask(opened)
    owner.send(CONTINUE, "sssss", "a", "prime.wav", "120", "4/4", "100")
    assert reached.wait(30)
    while owner.receive()[0] != ACCEPTED:
        pass
    other.send("/jukebox/cancel", "s", "a")
    # Datagrams are read one by one: once this is answered the cancel is under way.
    assert other.ask("/jukebox/ping")[0] == "/jukebox/pong"
    held.set()
    assert other.receive() == (DONE, ["/jukebox/cancel", "a"])
    address, failure = owner.until_the_end()[-1]
    assert (address, failure[:3]) == (FAIL, [CONTINUE, "a", "CANCELLED"])
    opened.served.on_loop(opened.served.engine.idle())
    assert generator.calls["step"] == 8
    assert other.ask("/jukebox/query", "s", "a") == (address, failure)
    assert other.ask("/jukebox/cancel", "s", "a")[1][2] == "NOT_FOUND"


def test_a_job_is_cancelled_before_the_engine_has_told_its_name(osc, ask, prime, monkeypatch):
    generator, reached, held = held_generator()
    opened = osc(generator)
    ledger, kept = opened.served.engine.store.jobs, threading.Event()
    add = ledger.add

    def slowly(*row):
        kept.wait()
        add(*row)

    monkeypatch.setattr(ledger, "add", slowly)
    asker, other = ask(opened), ask(opened)
    asker.send(CONTINUE, "sssss", "a", "prime.wav", "120", "4/4", "100")
    assert reached.wait(30)
    other.send("/jukebox/cancel", "s", "a")
    assert other.ask("/jukebox/ping")[0] == "/jukebox/pong"
    kept.set()
    held.set()
    assert other.receive() == (DONE, ["/jukebox/cancel", "a"])
    assert asker.until_the_end()[-1][1][:3] == [CONTINUE, "a", "CANCELLED"]
    (job,) = opened.served.on_loop(opened.served.engine.jobs())
    assert job.state is JobState.CANCELLED


def test_the_same_request_again_is_answered_but_not_computed(osc, ask, prime):
    generator = CountingGenerator()
    asker = ask(osc(generator))
    asker.send(CONTINUE, "sssss", *FULL)
    end = asker.until_the_end()[-1]
    steps = generator.calls["step"]
    assert asker.ask(CONTINUE, "sssss", *FULL) == end
    assert asker.ask("/jukebox/query", "s", "a") == end
    assert generator.calls["step"] == steps
    address, failure = asker.ask(CONTINUE, "sssss", *FULL[:4], "2")
    assert (address, failure[2]) == (FAIL, "INVALID_ARGUMENT")
    assert "names another request" in failure[3]


def test_a_job_is_found_again_by_a_new_osc_server(osc, ask, prime):
    first = osc()
    asker = ask(first)
    asker.send(CONTINUE, "sssss", *FULL)
    _, done = asker.until_the_end()[-1]
    asker = ask(osc(served=first.served))
    asker.send("/jukebox/query", "s", "a")
    answers = asker.until_the_end()
    # What was asked this time is the query; the rest is the job's.
    assert answers[-1] == (DONE, ["/jukebox/query", *done[1:]])
    asker.send(CONTINUE, "sssss", *FULL)
    assert asker.receive()[1][1:] == done[1:]


def test_a_failed_request_may_be_sent_again(osc, ask, prime):
    asker = ask(osc())
    asked = ("a", "late.wav", *FULL[2:])
    asker.send(CONTINUE, "sssss", *asked)
    assert asker.until_the_end()[-1][1][2] == "NOT_FOUND"
    shutil.copy(prime, prime.parent / "late.wav")
    asker.send(CONTINUE, "sssss", *asked)
    assert asker.until_the_end()[-1][0] == DONE


def test_old_requests_are_forgotten(osc, ask, prime, monkeypatch):
    monkeypatch.setattr(job_book, "MAX_REMEMBERED", 4)
    opened = osc()
    asker = ask(opened)
    for number in range(7):
        asker.send(CONTINUE, "sssss", f"n{number}", "no.wav", *FULL[2:])
        asker.until_the_end()
    assert len(opened.server.desk.jobs) == 5
    assert "no.wav" in asker.ask("/jukebox/query", "s", f"n{number}")[1][3]
    assert asker.ask("/jukebox/query", "s", "n0")[1][2] == "NOT_FOUND"


def test_progress_keeps_its_pace(osc, ask, prime, eventually):
    go_on = threading.Semaphore(0)
    opened = osc(CountingGenerator(on_step=lambda step: go_on.acquire()), clock=lambda: 0.0)
    asker = ask(opened)
    asker.send(CONTINUE, "sssss", *FULL)
    while asker.receive()[0] != ACCEPTED:
        pass
    # The wire hears of each of these steps while the clock stands still.
    for _ in range(3):
        before = opened.server.desk.jobs.get("a").place.step
        go_on.release()
        eventually(lambda known=before: opened.server.desk.jobs.get("a").place.step > known)
    go_on.release(1_000)
    answers = asker.until_the_end()
    assert len([address for address, _ in answers if address == "/jukebox/progress"]) == 1


def test_stopping_tells_who_still_waits(osc, ask, prime):
    generator, reached, held = held_generator(at_step=1)
    opened = osc(generator)
    asker = ask(opened)
    asker.send(CONTINUE, "sssss", "a", "prime.wav", "120", "4/4", "4")
    assert reached.wait(30)
    opened.stop()
    held.set()
    _, failure = asker.until_the_end()[-1]
    assert failure[2] == "UNAVAILABLE"
    assert "goes on" in failure[3]


def test_answers_may_go_to_another_port(osc, ask, prime):
    opened = osc()
    asker, listener = ask(opened), ask(opened)
    port = listener.socket.getsockname()[1]
    asker.send(CONTINUE, "ssssssi", *FULL, "reply_port", port)
    assert listener.until_the_end()[-1][0] == DONE
    asker.send("/jukebox/query", "ssi", "a", "reply_port", port)
    assert listener.receive()[0] == DONE


def test_every_property_is_told_set_and_set_back(osc, ask):
    opened = osc()
    asker, other = ask(opened), ask(opened)
    for node in NODES:
        if node.scope is not Scope.SERVER:
            set_and_set_back(node, asker, other)


def set_and_set_back(node, asker, other):
    path = node.path
    get = path.replace(f"/{node.scope}/", f"/{node.scope}/get/")
    put = path.replace(f"/{node.scope}/", f"/{node.scope}/set/")
    before = asker.ask(get)
    value = new_value(node.known.parameter)
    address, (now,) = asker.ask(put, "s", str(value))
    assert address == path
    assert type(value)(now) == value
    assert asker.ask(path)[1] == [now]
    assert other.ask(get)[1] == ([now] if node.scope is Scope.DEFAULT else before[1])
    assert asker.ask(put, "s", "") == before


def new_value(parameter):
    if parameter.words:
        return parameter.words[-1]
    texts = {"meter": "7/8", "model": "m", "artist": "Bach", "genre": "jazz", "seed": "41"}
    numbers = {"tempo_bpm": 97.5, "bars": 3.0, "temperature": 0.5, "top_p": 0.5, "guidance": 2.0}
    return {**texts, **numbers}.get(parameter.name, 1)


def test_listeners_hear_what_others_change(osc, ask):
    opened = osc()
    listener, setter = ask(opened), ask(opened)
    first = listener.ask("/jukebox/default/start_listen/tempo_bpm")
    assert first == ("/jukebox/default/tempo_bpm", [120.0])
    # The plain address sets without an answer; the next answer shows that it was read.
    setter.send("/jukebox/default/tempo_bpm", "f", 77.0)
    assert setter.ask("/jukebox/default/tempo_bpm")[1] == [77.0]
    assert listener.receive() == ("/jukebox/default/tempo_bpm", [77.0])
    stop = "/jukebox/default/stop_listen/tempo_bpm"
    assert listener.ask(stop) == (DONE, [stop, ""])


def test_the_server_s_numbers_are_told_while_they_change(osc, ask, prime):
    generator, reached, held = held_generator(at_step=1)
    opened = osc(generator)
    listener, asker = ask(opened), ask(opened)
    assert listener.ask("/jukebox/server/start_listen/running_jobs")[1] == [0]
    asker.send(CONTINUE, "sssss", *FULL)
    assert reached.wait(30)
    assert listener.receive() == ("/jukebox/server/running_jobs", [1])
    asker.send("/jukebox/jobs")
    jobs = [values for address, values in asker.until_the_end() if address == "/jukebox/job"]
    assert [values[:2] for values in jobs] == [["", "a"]]
    assert jobs[0][2] in ("queued", "running")
    held.set()
    assert listener.receive() == ("/jukebox/server/running_jobs", [0])


def test_a_port_in_use_is_refused(osc):
    opened = osc(tcp_port=0, query_port=0)
    for name, port in (
        ("udp_port", opened.ports.udp),
        ("tcp_port", opened.ports.tcp),
        ("query_port", opened.ports.query),
    ):
        with pytest.raises(BusyError, match=f"port {port} on 127.0.0.1 is in use"):
            osc(served=opened.served, **{name: port})


def test_a_host_that_others_can_reach_is_refused():
    for host in ("0.0.0.0", "192.0.2.1", "::", "example.org"):
        with pytest.raises(UnsupportedError, match="loopback"):
            OscSettings(host=host)
    assert OscSettings(host="::1").host == "::1"


def test_every_answer_fits_a_datagram():
    longest = [Argument("s", "x" * MAX_TEXT_CHARACTERS)] * 12
    assert all(len(encode(address, longest)) < 10_000 for address in FORMS)
