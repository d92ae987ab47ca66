"""Sessions, defaults and listening: whose a value is, who is told, when it ends."""

import pytest

from bridge.errors import BusyError
from bridge.osc.clients import (
    CLIENT_SECONDS,
    LISTEN_SECONDS,
    MAX_CLIENTS,
    MAX_LISTENING,
    NODES,
    Clients,
    Node,
    Scope,
)
from tests.bridge.osc.peers import Remembering

TEMPO = Node(Scope.SESSION, "tempo_bpm")
SHARED = Node(Scope.DEFAULT, "tempo_bpm")
STATE = Node(Scope.SERVER, "state")


class World:
    def __init__(self):
        self.now = 0.0
        self.told = {"state": "NOT_SERVING"}
        self.clients = Clients(lambda: self.now, lambda: self.told)


@pytest.fixture
def world():
    return World()


def test_a_session_is_its_client_s_and_falls_back_on_what_all_share(world):
    one, other = Remembering("one"), Remembering("other")
    world.clients.set(TEMPO, 97, one)
    assert [world.clients.get(TEMPO, peer) for peer in (one, other, None)] == [97, 120, 120]
    world.clients.set(SHARED, 80, other)
    assert [world.clients.get(TEMPO, peer) for peer in (one, other, None)] == [97, 80, 80]
    world.clients.set(TEMPO, None, one)
    assert world.clients.get(TEMPO, one) == 80
    world.clients.set(SHARED, None, one)
    assert world.clients.session(one)["tempo_bpm"] == 120


def test_a_change_is_told_once_and_not_to_who_made_it(world):
    one, other = Remembering("one"), Remembering("other")
    for peer in (one, other):
        world.clients.listen(SHARED, peer)
        world.clients.listen(TEMPO, peer)
    assert world.clients.notices() == []
    world.clients.set(SHARED, 90, one)
    told = world.clients.notices()
    assert (other, SHARED, 90) in told
    assert (other, TEMPO, 90) in told
    assert (one, SHARED, 90) not in told
    assert world.clients.notices() == []
    world.clients.ignore(SHARED, other)
    world.clients.set(SHARED, 91, one)
    assert (other, SHARED, 91) not in world.clients.notices()


def test_many_changes_between_two_looks_are_one_notice(world):
    listener, setter = Remembering("listener"), Remembering("setter")
    world.clients.listen(SHARED, listener)
    for tempo in range(60, 160):
        world.clients.set(SHARED, tempo, setter)
    assert world.clients.notices() == [(listener, SHARED, 159)]


def test_what_the_server_knows_is_told_when_it_changes(world):
    peer = Remembering()
    world.clients.listen(STATE, peer)
    world.told = {"state": "SERVING"}
    assert world.clients.notices() == [(peer, STATE, "SERVING")]


def test_listening_ends_unless_renewed_and_a_connection_listens_on(world):
    datagrams, stream = Remembering("udp"), Remembering("tcp", connected=True)
    for peer in (datagrams, stream):
        world.clients.listen(STATE, peer)
    world.now = LISTEN_SECONDS - 1
    world.clients.listen(STATE, datagrams)
    world.now += LISTEN_SECONDS - 1
    world.told = {"state": "SERVING"}
    assert {peer.key for peer, _, _ in world.clients.notices()} == {"test:udp", "test:tcp"}
    world.now += 2
    world.told = {"state": "NOT_SERVING"}
    assert [peer.key for peer, _, _ in world.clients.notices()] == ["test:tcp"]


def test_a_silent_client_begins_anew_and_one_that_speaks_or_is_connected_does_not(world):
    silent, speaks = Remembering("silent"), Remembering("speaks")
    stream = Remembering("tcp", connected=True)
    for peer in (silent, speaks, stream):
        world.clients.set(TEMPO, 97, peer)
    world.now = CLIENT_SECONDS / 2
    world.clients.touch(speaks)
    world.now = CLIENT_SECONDS + 1
    for peer in (stream, speaks, silent):
        world.clients.touch(peer)
    assert [world.clients.get(TEMPO, peer) for peer in (silent, speaks, stream)] == [120, 97, 97]
    world.clients.forget(stream.key)
    assert world.clients.get(TEMPO, stream) == 120


def test_clients_and_their_listening_are_bounded(world):
    peers = [Remembering(str(number)) for number in range(MAX_CLIENTS)]
    for peer in peers:
        world.clients.set(TEMPO, 97, peer)
    with pytest.raises(BusyError, match=f"the limit is {MAX_CLIENTS}"):
        world.clients.set(TEMPO, 97, Remembering("one too many"))
    left = MAX_LISTENING
    for peer in peers:
        for node in NODES[: min(len(NODES), left)]:
            if node.scope is not Scope.SERVER:
                world.clients.listen(node, peer)
                left -= 1
    assert world.clients.num_listening == MAX_LISTENING
    world.clients.listen(NODES[0], peers[0])
    with pytest.raises(BusyError, match=f"the limit is {MAX_LISTENING}"):
        world.clients.listen(NODES[0], peers[-1])


def test_the_last_seed_is_kept_for_a_client_that_has_a_session(world):
    known, stranger = Remembering("known"), Remembering("stranger")
    world.clients.set(TEMPO, 97, known)
    for peer in (known, stranger):
        world.clients.note_seed(peer, 41)
    assert world.clients.session(known)["seed"] == 41
    assert world.clients.session(stranger)["seed"] is None
    assert len(world.clients) == 1
