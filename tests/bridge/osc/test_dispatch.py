"""Packets to rows: atomic bundles, timetags, patterns, and garbage that is answered by rule."""

import asyncio
import random
import struct

import pytest

from bridge.errors import BridgeError
from bridge.osc.call import Row
from bridge.osc.dispatch import MAX_MATCHES, Dispatcher
from bridge.osc.schedule import MAX_AHEAD_SECONDS, MAX_WAITING_PER_CLIENT, Schedule
from bridge.osc.values import ID, Kind, number, text
from tests.bridge.osc.garbage import bundle, mutated, string
from tests.bridge.osc.peers import Remembering, packet

NTP_OF_UNIX = 2_208_988_800


def unused(desk, call):
    raise AssertionError("the dispatcher does not call handlers itself")


ROWS = (
    Row(address="/a/one", does="", handler=unused, parameters=(ID,)),
    Row(address="/a/two", does="", handler=unused, parameters=(ID,)),
    Row(
        address="/a/number",
        does="",
        handler=unused,
        parameters=(ID, number("n", Kind.WHOLE, "", 0, 9)),
    ),
    Row(address="/b/any", does="", handler=unused, optional=(ID,), options=(text("key", ""),)),
    *(Row(address=f"/many/{n}", does="", handler=unused) for n in range(MAX_MATCHES + 1)),
)


class Desk:
    """Notes what ran, and answers with it."""

    def __init__(self):
        self.now = 1_000_000.0
        self.ran = []
        self.schedule = Schedule(lambda: self.now)
        self.dispatcher = Dispatcher(ROWS, self.run, self.schedule)
        self.peer = Remembering()

    def run(self, call):
        self.ran.append((call.row.address, dict(call.values)))
        if call.values.get("id") == "broken":
            raise RuntimeError("a defect")
        return [(f"/ran{call.row.address}", ())]

    def receive(self, data):
        """Return the answers."""
        self.dispatcher.receive(data, self.peer)
        return self.peer.heard

    def at(self, seconds_ahead, *messages):
        """Return a bundle for a time from now."""
        due = self.now + seconds_ahead + NTP_OF_UNIX
        return bundle(*messages, timetag=int(due * 2**32))


@pytest.fixture
def desk():
    return Desk()


ONE, TWO = packet("/a/one", "s", "x"), packet("/a/two", "s", "y")


def test_a_bundle_runs_in_order(desk):
    assert desk.receive(bundle(ONE, bundle(TWO), ONE)) == [
        ("/ran/a/one", []),
        ("/ran/a/two", []),
        ("/ran/a/one", []),
    ]


BAD = {
    "value": packet("/a/number", "si", "z", 10),
    "address": packet("/a/three", "s", "z"),
    "count": packet("/a/one"),
    "pattern": packet("/a/[o", "s", "z"),
    "pattern of nothing": packet("/c/*", "s", "z"),
    "pattern of too many": packet("/many/*"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bundle_with_one_bad_message_runs_nothing_and_fails_each(case, desk):
    answers = desk.receive(bundle(ONE, BAD[case], TWO))
    assert desk.ran == []
    assert [address for address, _ in answers] == ["/jukebox/fail"] * 3
    assert [values[1] for _, values in answers][::2] == ["x", "y"]
    codes = [values[2] for _, values in answers]
    assert codes[0] == codes[2] == "FAILED_PRECONDITION"
    assert codes[1] in ("INVALID_ARGUMENT", "NOT_FOUND")
    assert "1 messages of its bundle" in answers[0][1][3]


def test_a_torn_element_spoils_its_bundle_as_a_whole(desk):
    (answer,) = desk.receive(bundle(ONE, TWO)[:-4])
    assert desk.ran == []
    assert answer[1][:3] == ["", "", "INVALID_ARGUMENT"]


def test_a_bundle_of_the_future_is_checked_now_and_runs_then(desk):
    async def main():
        assert desk.receive(desk.at(5, ONE, TWO)) == []
        assert desk.receive(desk.at(2, TWO)) == []
        (bad,) = desk.receive(desk.at(5, BAD["value"]))
        assert bad[1][1:3] == ["z", "INVALID_ARGUMENT"]
        desk.now += 3
        desk.schedule.run_due()
        assert [address for address, _ in desk.ran] == ["/a/two"]
        desk.now += 3
        desk.schedule.run_due()
        assert [address for address, _ in desk.ran] == ["/a/two", "/a/one", "/a/two"]
        assert len(desk.peer.heard) == 3

    asyncio.run(main())


def test_what_is_late_is_flagged_and_runs_at_once(desk):
    (late, ran) = desk.receive(desk.at(-2.5, ONE))
    assert late[0] == "/jukebox/late"
    assert late[1][:2] == ["/a/one", "x"]
    assert late[1][2] == pytest.approx(2.5, abs=1e-6)
    assert ran == ("/ran/a/one", [])
    assert desk.receive(desk.at(-0.001, ONE)) == [("/ran/a/one", [])]


def test_what_lies_too_far_ahead_or_waits_beside_too_much_is_refused(desk):
    async def main():
        (far,) = desk.receive(desk.at(MAX_AHEAD_SECONDS + 1, ONE))
        assert far[1][2] == "OUT_OF_RANGE"
        for _ in range(MAX_WAITING_PER_CLIENT):
            assert desk.receive(desk.at(5, ONE)) == []
        (busy,) = desk.receive(desk.at(5, ONE))
        assert busy[1][:3] == ["/a/one", "x", "RESOURCE_EXHAUSTED"]

    asyncio.run(main())


def test_a_pattern_runs_all_that_it_names(desk):
    desk.receive(packet("/a/{one,two}", "s", "x"))
    assert [address for address, _ in desk.ran] == ["/a/one", "/a/two"]


def test_a_pattern_that_suits_one_row_alone_runs_none(desk):
    (answer,) = desk.receive(packet("/a/*", "s", "x"))
    assert answer[1][2] == "INVALID_ARGUMENT"
    assert desk.ran == []


def test_a_defect_is_told_as_one_and_the_next_packet_is_served(desk, caplog):
    (answer,) = desk.receive(packet("/a/one", "s", "broken"))
    assert answer[1] == ["/a/one", "broken", "INTERNAL", "internal error"]
    assert "a defect" in caplog.text
    assert desk.receive(ONE) == [("/ran/a/one", [])]


def test_errors_of_a_verb_keep_their_word(desk, monkeypatch):
    def refuse(call):
        raise BridgeError("because")

    monkeypatch.setattr(desk.dispatcher, "_run", refuse)
    assert desk.receive(ONE) == [("/jukebox/fail", ["/a/one", "x", "INTERNAL", "because"])]


@pytest.mark.parametrize(
    "address", ["/jukebox/fail", "/jukebox/done", "/jukebox/take", "#reply", "#x"]
)
def test_what_servers_say_is_not_answered(address, desk):
    assert desk.receive(string(address) + string(",s") + string("x")) == []


def test_a_message_without_type_tags_has_no_arguments(desk):
    assert desk.receive(string("/b/any")) == [("/ran/b/any", [])]


def test_impulse_and_nil_are_no_argument(desk):
    desk.receive(string("/b/any") + string(",INI"))
    assert desk.ran == [("/b/any", {})]


MALFORMED = {
    "empty": b"",
    "one byte": b"/",
    "no end": b"/a/one",
    "no slash": string("a") + string(","),
    "no comma": string("/a/one") + string("i"),
    "torn argument": string("/a/one") + string(",h") + b"\0\0\0\1",
    "torn text": string("/a/one") + string(",s") + b"abcd",
    "left over": ONE + b"\0\0\0\0",
    "blob": string("/a/one") + string(",b") + struct.pack(">i", 0),
    "not UTF-8": string("/a/one") + string(",s") + b"\xff\xfe\0\0",
    "torn bundle": b"#bundle\0\0\0",
    "element too large": bundle(ONE)[:-4],
    "element of -4 bytes": b"#bundle\0" + struct.pack(">Qi", 1, -4),
    "element of 0 bytes": b"#bundle\0" + struct.pack(">Qi", 1, 0),
    "too deep": bundle(bundle(bundle(bundle(bundle(ONE))))),
    "too many": bundle(*[ONE] * 65),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_packet_is_answered(case, desk):
    ((address, (of, job, code, reason)),) = desk.receive(MALFORMED[case])
    assert (address, of, job, code) == ("/jukebox/fail", "", "", "INVALID_ARGUMENT")
    assert reason
    assert desk.receive(ONE) == [("/ran/a/one", [])]


def test_mutated_packets_are_answered_dropped_or_run_and_never_crash(desk):
    async def main():
        draws = random.Random(6)
        corpus = [ONE, TWO, BAD["value"], bundle(ONE, TWO), desk.at(1, ONE), packet("/b/any")]
        for _ in range(3_000):
            answers = desk.receive(mutated(draws.choice(corpus), draws))
            # A packet of 64 messages at most, an answer and a flag each.
            assert len(answers) <= 2 * MAX_MATCHES
            desk.now += 0.01
        desk.schedule.close()
        desk.peer.packets.clear()
        assert desk.receive(ONE) == [("/ran/a/one", [])]

    asyncio.run(main())
