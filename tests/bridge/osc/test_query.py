"""The namespace as OSCQuery tells it: the whole table, with types, ranges and values."""

import json

import pytest

from bridge.osc.clients import NODES
from bridge.osc.query import ATTRIBUTES, EXTENSIONS, HostInfo, host_info, namespace
from bridge.osc.table import ROWS


def value_of(node):
    return node.known.default if node.known.default is not None else 0


@pytest.fixture(scope="module")
def root():
    return namespace(ROWS, "/", value_of)


def nodes_below(node):
    yield node
    for child in node.get("CONTENTS", {}).values():
        yield from nodes_below(child)


def test_the_tree_holds_every_address_once_and_nothing_else(root):
    methods = [node["FULL_PATH"] for node in nodes_below(root) if node["ACCESS"]]
    assert sorted(methods) == sorted(row.address for row in ROWS)
    assert len(set(methods)) == len(methods)


def test_names_lead_to_their_paths(root):
    for node in nodes_below(root):
        for name, child in node.get("CONTENTS", {}).items():
            assert child["FULL_PATH"] == node["FULL_PATH"].rstrip("/") + "/" + name


def test_every_attribute_is_known_and_json_can_hold_it(root):
    for node in nodes_below(root):
        assert set(node) <= set(ATTRIBUTES)
        if "TYPE" in node:
            assert len(node["TYPE"]) == len(node["RANGE"]) == len(node["UNIT"])
    json.dumps(root, allow_nan=False)
    assert {"VALUE", "RANGE", "UNIT", "DESCRIPTION", "ACCESS"} <= {
        name for name, has in EXTENSIONS.items() if has
    }


def test_a_property_tells_its_type_unit_range_and_value():
    tempo = namespace(ROWS, "/jukebox/session/tempo_bpm", value_of)
    assert tempo == {
        "FULL_PATH": "/jukebox/session/tempo_bpm",
        "ACCESS": 3,
        "TYPE": "d",
        "RANGE": [{"MIN": 10, "MAX": 999}],
        "UNIT": ["bpm"],
        "VALUE": [120.0],
        "DESCRIPTION": "quarter notes a minute",
    }
    state = namespace(ROWS, "/jukebox/server/state", lambda node: "SERVING")
    assert (state["ACCESS"], state["VALUE"]) == (1, ["SERVING"])
    assert state["RANGE"] == [{"VALS": ["SERVING", "NOT_SERVING"]}]


def test_a_verb_tells_its_arguments_and_keys_and_has_no_value():
    verb = namespace(ROWS, "/jukebox/continue", value_of)
    assert (verb["ACCESS"], verb["TYPE"]) == (2, "ss")
    assert "VALUE" not in verb
    assert "id path [tempo_bpm] [meter] [bars]" in verb["DESCRIPTION"]
    assert "stem_bass" in verb["DESCRIPTION"]


def test_what_is_not_there_is_none():
    assert namespace(ROWS, "/jukebox/nothing", value_of) is None
    assert namespace(ROWS, "/jukebox/ping/x", value_of) is None


def test_every_property_has_its_methods():
    addresses = {row.address for row in ROWS}
    for node in NODES:
        methods = ["get", "start_listen", "stop_listen"]
        methods += [] if node.scope == "server" else ["set"]
        expected = {f"/jukebox/{node.scope}/{method}/{node.name}" for method in methods}
        assert expected | {node.path} <= addresses


def test_the_host_says_where_it_is_reached():
    info = host_info(HostInfo(name="x", host="127.0.0.1", udp_port=1_234, query_port=5_678))
    assert (info["OSC_PORT"], info["OSC_TRANSPORT"], info["WS_PORT"]) == (1_234, "UDP", 5_678)
