"""Datagrams to a real socket: what is answered, what is refused, what is sent twice."""

import shutil
import socket
import struct
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from fakes import CountingGenerator, ramp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.audio_file import (
    AudioClip,
    Provenance,
    read_audio,
    read_time_reference,
    sha256_of,
    write_audio,
)
from bridge.errors import BusyError, InvalidRequestError
from bridge.midi_file import write_midi
from bridge.osc_answers import MAX_TEXT_CHARACTERS
from bridge.osc_packet import Argument, decode, encode, number_of, text_of, whole_of
from bridge.osc_service import MAX_REMEMBERED, ROWS, OscServer
from bridge.ports import MidiPart, Note, StemKind
from bridge.transport import steady

CONTINUE = "/jukebox/continue"
NOBODY = Provenance(model="none", fingerprint="", seed=0, request_id="", licence="")


class Asker:
    """A UDP client with a port of its own."""

    def __init__(self, served):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(30)
        self.socket.connect(("127.0.0.1", served.app.osc_port))

    def send(self, address, tags="", *values):
        arguments = [Argument(tag, value) for tag, value in zip(tags, values, strict=True)]
        self.socket.send(encode(address, arguments))

    def receive(self):
        (message,) = decode(self.socket.recv(65_536))
        return message.address, [argument.value for argument in message.arguments]

    def ask(self, address, tags="", *values):
        self.send(address, tags, *values)
        return self.receive()

    def until_the_end(self):
        """Return all answers up to done or fail."""
        answers = [self.receive()]
        while answers[-1][0] not in ("/jukebox/done", "/jukebox/fail"):
            answers.append(self.receive())
        return answers


@pytest.fixture
def ask():
    """Return a function that opens a client, closed at the end."""
    askers = []

    def opened(served):
        askers.append(Asker(served))
        return askers[-1]

    yield opened
    for asker in askers:
        asker.socket.close()


@pytest.fixture
def prime(tmp_path):
    """Return the path of 5000 samples of silence in the spool, at sample 1000 of a session."""
    folder = tmp_path / "spool"
    folder.mkdir()
    clip = AudioClip(samples=np.zeros((2, 5_000), np.float32), sample_rate=44_100)
    return write_audio(folder / "prime.wav", clip, 1_000, NOBODY)


def test_a_continuation_is_written_and_told(serve, ask, prime):
    asker = ask(serve())
    asker.send(CONTINUE, "sssss", "a", "prime.wav", "97.3", "7/8", "1")
    answers = asker.until_the_end()
    assert answers[0] == ("/jukebox/progress", ["a", "queued", 0, 0, 0.0])
    (accepted,) = [values for address, values in answers if address == "/jukebox/accepted"]
    job, seed, splice, expected, fidelity, model, advice = accepted
    assert (job, splice, fidelity, model, advice) == ("a", 6_000, 1.0, "counting", "")
    assert expected == round(3.5 * 60 * 44_100 / 97.3)
    assert 0 <= int(seed) < 2**64
    address, (of, job, path, sha256, num_samples, splice, take, rtf, gain, licence) = answers[-1]
    assert (address, of, job) == ("/jukebox/done", "/jukebox/continue", "a")
    assert (num_samples, splice, gain, licence) == (expected, 6_000, 0.0, "public domain")
    assert rtf > 0
    assert take
    written = read_audio(Path(path))
    assert written.samples.shape == (2, expected)
    assert sha256_of(written.samples) == sha256
    assert read_time_reference(Path(path)) == 6_000
    assert Path(path).is_relative_to(prime.parent)


@pytest.mark.parametrize(
    ("tags", "values"),
    [
        ("ssfsf", (97.3, "4/4", 1.0)),
        ("ssdsd", (97.3, "4/4", 1.0)),
        ("ssssi", ("97.3", "4/4", 1)),
        ("sssshsi", ("97.30", "4/4", 1, "seed", 7)),
        ("fsssd", ("97.3", "4/4", 1.0)),
    ],
)
def test_a_number_may_come_as_any_type_and_means_the_same_decimal(tags, values, serve, ask, prime):
    job = 12.0 if tags[0] == "f" else "12"
    asker = ask(serve())
    asker.send(CONTINUE, tags, job, str(prime), *values)
    _, done = asker.until_the_end()[-1]
    assert done[1] == "12"
    assert done[4] == round(4 * 60 * 44_100 / 97.3)


def test_keys_reach_the_request(serve, ask, prime):
    generator = CountingGenerator(follows_seed=True)
    notes = MidiPart(
        notes=(Note(start_sample=0, end_sample=22_050, pitch=64, velocity=90),),
        start_sample=0,
        end_sample=22_050,
    )
    midi = write_midi(prime.parent / "part.mid", notes, steady(44_100, 120))
    asker = ask(serve(generator))
    pairs = ("midi", midi.name, "stem_bass", prime.name, "target", "drums", "artist", "Bach")
    more = ("start", "2000", "seed", "41", "quality", "exact", "temperature", "0.9")
    values = ("a", str(prime), "120", "4/4", "1", *pairs, *more)
    asker.send(CONTINUE, "s" * len(values), *values)
    answers = asker.until_the_end()
    assert answers[-1][0] == "/jukebox/done"
    conditions, anchor = generator.opened[-1]
    (stem,) = conditions.stems
    assert (stem.kind, conditions.target) == (StemKind.BASS, StemKind.DRUMS)
    assert conditions.labels.artist == "Bach"
    assert [note.pitch for note in conditions.midi.notes] == [64]
    assert anchor >= 2_000
    (accepted,) = [values for address, values in answers if address == "/jukebox/accepted"]
    assert accepted[1] == "41"
    splice = 2_000 + 5_000
    assert accepted[2] == splice
    written = read_audio(Path(answers[-1][1][2])).samples
    np.testing.assert_array_equal(written[0], ramp(splice - anchor, written.shape[1], 41))


def test_the_small_addresses_answer(serve, ask):
    asker = ask(serve())
    assert asker.ask("/jukebox/ping") == ("/jukebox/pong", ["jukebox.bridge.v1"])
    assert asker.ask("/jukebox/status") == ("/jukebox/status", ["SERVING", 0, "counting"])
    model = ["counting", "counting-1", 44_100, "public domain"]
    assert asker.ask("/jukebox/models") == ("/jukebox/model", model)
    assert asker.receive() == ("/jukebox/done", ["/jukebox/models", ""])


def test_while_the_model_loads_requests_fail_and_status_says_so(listen, ask, prime):
    loaded = threading.Event()

    def load():
        loaded.wait()
        return CountingGenerator()

    served = listen(load)
    asker = ask(served)
    try:
        assert asker.ask("/jukebox/status") == ("/jukebox/status", ["NOT_SERVING", 0, ""])
        asked = ("a", str(prime), "120", "4/4", "1")
        _, failure = asker.ask(CONTINUE, "sssss", *asked)
        assert failure[:3] == ["/jukebox/continue", "a", "FAILED_PRECONDITION"]
    finally:
        loaded.set()
    served.serve()
    asker.send(CONTINUE, "sssss", *asked)
    assert asker.until_the_end()[-1][0] == "/jukebox/done"


FULL = ("a", "prime.wav", "120", "4/4", "1")
REFUSED = {
    "no such address": ("/jukebox/play", "", (), "NOT_FOUND", "/jukebox/continue"),
    "too few": (CONTINUE, "s", ("a",), "INVALID_ARGUMENT", "1 arguments came, 5"),
    "too many": ("/jukebox/ping", "i", (1,), "INVALID_ARGUMENT", "the limit is 0"),
    "0 bpm": (CONTINUE, "ssfsf", ("a", "prime.wav", 0.0, "4/4", 1.0), None, "0 bpm"),
    "NaN": (CONTINUE, "ssfsf", ("a", "prime.wav", float("nan"), "4/4", 1.0), None, "nan"),
    "no bars": (CONTINUE, "ssfsf", ("a", "prime.wav", 120.0, "4/4", 0.0), None, "0 bars"),
    "meter": (CONTINUE, "ssfsf", ("a", "prime.wav", 120.0, "4:4", 1.0), None, "4:4"),
    "flag": (CONTINUE, "ssTsf", ("a", "prime.wav", True, "4/4", 1.0), None, "tempo_bpm"),
    "empty id": (CONTINUE, "sssss", ("", *FULL[1:]), None, "1 to 128"),
    "half a pair": (CONTINUE, "ssssss", (*FULL, "seed"), None, "pairs"),
    "unknown key": (CONTINUE, "sssssss", (*FULL, "sead", "1"), None, "sead"),
    "key twice": (CONTINUE, "s" * 9, (*FULL, "seed", "1", "seed", "2"), None, "twice"),
    "seed": (CONTINUE, "sssssss", (*FULL, "seed", "-1"), None, "seed is -1"),
    "large float": (CONTINUE, "ssssssf", (*FULL, "start", 2.0**24), None, "16777216"),
    "target": (CONTINUE, "sssssss", (*FULL, "target", "harp"), None, "drums"),
    "outside": (CONTINUE, "sssss", ("a", "/etc/hostname", *FULL[2:]), None, "--allow-path"),
    "upwards": (CONTINUE, "sssss", ("a", "../x.wav", *FULL[2:]), None, "--allow-path"),
    "missing": (CONTINUE, "sssss", ("a", "no.wav", *FULL[2:]), "NOT_FOUND", "no.wav"),
    "no audio": (CONTINUE, "sssss", ("a", "notes.txt", *FULL[2:]), None, "notes.txt"),
    "NUL path": (CONTINUE, "sssss", ("a", "x" * 5_000, *FULL[2:]), None, "path"),
    "not running": ("/jukebox/cancel", "s", ("b",), "NOT_FOUND", "'b'"),
    "not known": ("/jukebox/status", "s", ("b",), "NOT_FOUND", "'b'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_fails_with_a_reason(case, serve, ask, prime):
    (prime.parent / "notes.txt").write_text("no music")
    address, tags, values, code, words = REFUSED[case]
    asker = ask(serve())
    asker.send(address, tags, *values)
    end, failure = asker.until_the_end()[-1]
    assert end == "/jukebox/fail"
    of, job, told, reason = failure
    assert of == address
    assert job == (str(values[0]) if values else "")
    assert told == code or (code is None and told == "INVALID_ARGUMENT")
    assert words in reason


def test_a_link_out_of_the_spool_is_refused_and_one_into_an_allowed_folder_is_not(
    serve, ask, prime, tmp_path
):
    for name in ("allowed", "secret"):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(prime, folder / "song.wav")
        (prime.parent / f"{name}.wav").symlink_to(folder / "song.wav")
    asker = ask(serve(allowed=(tmp_path / "allowed",)))
    ends = []
    for name in ("allowed", "secret"):
        asker.send(CONTINUE, "sssss", name, f"{name}.wav", *FULL[2:])
        ends.append(asker.until_the_end()[-1])
    assert [address for address, _ in ends] == ["/jukebox/done", "/jukebox/fail"]
    assert "outside the folders allowed" in ends[1][1][3]


def string(text):
    data = text.encode() + b"\0"
    return data + b"\0" * (-len(data) % 4)


def bundle(*elements, timetag=1):
    sized = b"".join(struct.pack(">i", len(element)) + element for element in elements)
    return b"#bundle\0" + struct.pack(">Q", timetag) + sized


PING = encode("/jukebox/ping", [])
MALFORMED = {
    "empty": b"",
    "one byte": b"/",
    "no end": b"/jukebox/ping",
    "no slash": string("jukebox") + string(","),
    "no comma": string("/jukebox/ping") + string("i"),
    "torn argument": string("/jukebox/cancel") + string(",h") + b"\0\0\0\1",
    "torn text": string("/jukebox/cancel") + string(",s") + b"abcd",
    "left over": PING + b"\0\0\0\0",
    "blob": string("/jukebox/cancel") + string(",b") + struct.pack(">i", 0),
    "not UTF-8": string("/jukebox/cancel") + string(",s") + b"\xff\xfe\0\0",
    "torn bundle": b"#bundle\0\0\0",
    "element too large": bundle(PING)[:-4],
    "element of -4 bytes": b"#bundle\0" + struct.pack(">Qi", 1, -4),
    "element of 0 bytes": b"#bundle\0" + struct.pack(">Qi", 1, 0),
    "too deep": bundle(bundle(bundle(bundle(bundle(PING))))),
    "too many": bundle(*[PING] * 65),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_packet_is_answered(case, serve, ask):
    asker = ask(serve())
    asker.socket.send(MALFORMED[case])
    address, (of, job, code, reason) = asker.receive()
    assert (address, of, job, code) == ("/jukebox/fail", "", "", "INVALID_ARGUMENT")
    assert reason
    assert asker.ask("/jukebox/ping")[0] == "/jukebox/pong"


@given(data=st.binary(max_size=200) | st.builds(bundle, st.binary(max_size=40)))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_messages_or_refused(data):
    with suppress(InvalidRequestError):
        assert all(message.address.startswith("/") for message in decode(data))


ARGUMENTS = st.one_of(
    st.builds(Argument, st.just("s"), st.text().map(lambda text: text.replace("\0", ""))),
    st.builds(Argument, st.just("h"), st.integers(-(2**63), 2**63 - 1)),
    st.builds(Argument, st.just("f"), st.floats(width=32, allow_nan=False)),
    st.builds(Argument, st.just("d"), st.floats(allow_nan=False)),
)


@given(arguments=st.lists(ARGUMENTS, max_size=6))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_encoded_is_decoded(arguments):
    (message,) = decode(encode("/x", arguments))
    assert message.arguments == tuple(arguments)


def test_numbers_are_exact_or_refused():
    assert number_of(Argument("f", float(np.float32(97.3))), "tempo") * 10 == 973
    assert whole_of(Argument("f", 2.0**24 - 1), "n") == 2**24 - 1
    assert whole_of(Argument("d", 2.0**53 - 1), "n") == 2**53 - 1
    assert whole_of(Argument("s", "-18446744073709551615"), "n") == -(2**64 - 1)
    assert text_of(Argument("f", 7.0), "id") == "7"
    for argument in (Argument("f", 2.0**24), Argument("d", 2.0**53), Argument("f", 0.5)):
        with pytest.raises(InvalidRequestError, match="n is "):
            whole_of(argument, "n")
    for argument in (Argument("T", True), Argument("s", "x"), Argument("d", float("inf"))):
        with pytest.raises(InvalidRequestError, match="n"):
            whole_of(argument, "n")
        with pytest.raises(InvalidRequestError, match="n"):
            number_of(argument, "n")


def test_a_bundle_runs_in_order_and_one_of_the_future_is_refused(serve, ask):
    asker = ask(serve())
    status = encode("/jukebox/status", [])
    asker.socket.send(bundle(PING, bundle(status)))
    assert [asker.receive()[0] for _ in range(2)] == ["/jukebox/pong", "/jukebox/status"]
    asker.socket.send(bundle(PING, timetag=2**64 - 1))
    _, (of, _, code, reason) = asker.receive()
    assert (of, code) == ("/jukebox/ping", "UNIMPLEMENTED")
    assert "due in" in reason


def test_answers_are_never_answered(serve, ask):
    asker = ask(serve())
    for address in ("/jukebox/fail", "/jukebox/done", "/jukebox/accepted", "/jukebox/progress"):
        asker.send(address, "s", "x")
    assert asker.ask("/jukebox/ping")[0] == "/jukebox/pong"


def test_cancelling_stops_the_steps_and_both_sides_are_told(serve, ask, prime):
    reached, held = threading.Event(), threading.Event()

    def hold(step):
        if step == 7:
            reached.set()
            held.wait()

    generator = CountingGenerator(on_step=hold)
    served = serve(generator)
    owner, other = ask(served), ask(served)
    owner.send(CONTINUE, "sssss", "a", "prime.wav", "120", "4/4", "100")
    assert reached.wait(30)
    assert other.ask("/jukebox/cancel", "s", "a") == ("/jukebox/done", ["/jukebox/cancel", "a"])
    address, failure = owner.until_the_end()[-1]
    assert (address, failure[:3]) == ("/jukebox/fail", ["/jukebox/continue", "a", "CANCELLED"])
    held.set()
    served.on_loop(served.engine.idle())
    assert generator.calls["step"] == 8
    assert other.ask("/jukebox/status", "s", "a") == (address, failure)
    assert other.ask("/jukebox/cancel", "s", "a")[1][2] == "NOT_FOUND"


def test_the_same_request_again_is_answered_but_not_computed(serve, ask, prime):
    generator = CountingGenerator()
    asker = ask(serve(generator))
    asked = ("a", "prime.wav", "120", "4/4", "1")
    asker.send(CONTINUE, "sssss", *asked)
    end = asker.until_the_end()[-1]
    steps = generator.calls["step"]
    assert asker.ask(CONTINUE, "sssss", *asked) == end
    assert asker.ask("/jukebox/status", "s", "a") == end
    assert generator.calls["step"] == steps
    address, failure = asker.ask(CONTINUE, "sssss", *asked[:4], "2")
    assert (address, failure[2]) == ("/jukebox/fail", "INVALID_ARGUMENT")
    assert "names another request" in failure[3]


def test_a_failed_request_may_be_sent_again(serve, ask, prime):
    asker = ask(serve())
    asked = ("a", "late.wav", "120", "4/4", "1")
    asker.send(CONTINUE, "sssss", *asked)
    assert asker.until_the_end()[-1][1][2] == "NOT_FOUND"
    shutil.copy(prime, prime.parent / "late.wav")
    asker.send(CONTINUE, "sssss", *asked)
    assert asker.until_the_end()[-1][0] == "/jukebox/done"


def test_old_requests_are_forgotten(serve, ask, prime):
    asker = ask(serve())
    for number in range(MAX_REMEMBERED + 3):
        asker.send(CONTINUE, "sssss", f"n{number}", "no.wav", *FULL[2:])
        asker.until_the_end()
    assert "64 are remembered" not in asker.ask("/jukebox/status", "s", f"n{number}")[1][3]
    assert asker.ask("/jukebox/status", "s", "n0")[1][2] == "NOT_FOUND"
    assert "no request is named" in asker.ask("/jukebox/status", "s", "n0")[1][3]


def test_progress_keeps_its_pace(serve, ask, prime, monkeypatch):
    served = serve()
    now = [0.0]
    monkeypatch.setattr(served.app._osc, "_clock", lambda: now[0])
    asker = ask(served)
    asker.send(CONTINUE, "sssss", "a", "prime.wav", "120", "4/4", "4")
    answers = asker.until_the_end()
    told = [values for address, values in answers if address == "/jukebox/progress"]
    assert [values[1] for values in told[:1]] == ["queued"]
    assert len(told) == 2


def test_stopping_tells_who_still_waits(serve, ask, prime):
    reached, held = threading.Event(), threading.Event()

    def hold(step):
        reached.set()
        held.wait()

    served = serve(CountingGenerator(on_step=hold))
    asker = ask(served)
    asker.send(CONTINUE, "sssss", "a", "prime.wav", "120", "4/4", "4")
    assert reached.wait(30)
    served.on_loop(served.app._osc.stop(0.0))
    held.set()
    _, failure = asker.until_the_end()[-1]
    assert failure[2] == "UNAVAILABLE"


def test_a_port_in_use_is_refused(serve, listen):
    served = serve()
    port = served.app.osc_port
    with pytest.raises(BusyError, match=f"UDP port {port} on 127.0.0.1 is in use"):
        listen(osc_port=port)


def test_every_row_has_its_handler_and_every_answer_fits_a_datagram(tmp_path):
    server = OscServer(lambda: None, (tmp_path,))
    assert set(server._handlers) == {row.address for row in ROWS}
    longest = [Argument("s", "x" * MAX_TEXT_CHARACTERS)] * 4
    assert len(encode("/jukebox/fail", longest)) < 9_000


@pytest.mark.host
def test_oscsend_drives_a_continuation(serve, ask, prime, eventually):
    oscsend = shutil.which("oscsend")
    if oscsend is None:
        pytest.skip("oscsend is missing: it comes with liblo-tools")
    served = serve()
    command = [oscsend, "localhost", str(served.app.osc_port), CONTINUE, "ssfsf"]
    subprocess.run([*command, "take-1", str(prime), "97.3", "4/4", "2"], check=True, timeout=30)
    # oscsend does not listen; whoever knows the id may ask for the last answer again.
    asker = ask(served)
    answers = []

    def ended():
        answers.append(asker.ask("/jukebox/status", "s", "take-1"))
        return answers[-1][1][0] == "/jukebox/continue"

    eventually(ended)
    address, done = answers[-1]
    assert (address, done[4]) == ("/jukebox/done", round(8 * 60 * 44_100 / 97.3))
    assert read_audio(Path(done[2])).samples.shape[1] == done[4]
