"""The page on operation says what there is: metrics, commands of pads, keys of presets."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import counting_info

from bridge.engine import EngineStats
from bridge.midi.map_file import OPTION_KEYS, PRESET_KEYS, ROW_KEYS, map_of
from bridge.midi.rows import DOES
from bridge.status import ServerStatus, metrics_of
from bridge.store import StoreStats

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def text():
    return (ROOT / "docs" / "operation.md").read_text("utf-8")


def test_every_metric_is_listed_and_none_that_there_is_not(text):
    names = EngineStats.__dataclass_fields__
    status = ServerStatus(
        state="serving",
        version="",
        started_s=0,
        memory_bytes=0,
        model=counting_info(),
        stats=EngineStats(**{**dict.fromkeys(names, 0), "kept_answers": {}}),
        store=StoreStats(num_takes=0, kept_takes=0, used_bytes=0, limit_bytes=0),
    )
    there_are = {metric.name for metric in metrics_of(replace(status))}
    assert set(re.findall(r"`(jukebox_\w+)`", text)) == there_are


def test_every_command_and_key_of_the_map_is_listed(text):
    assert [name for name, does in DOES.items() if f"| `{name}` | {does} |" not in text] == []
    keys = {*PRESET_KEYS, *OPTION_KEYS, *ROW_KEYS}
    assert [key for key in keys if not re.search(rf"\b{key}\b", text)] == []


def test_the_map_in_the_text_is_one(text, tmp_path):
    block = text[text.index("    [presets.verse]") : text.index("| command | does |")]
    found = map_of(tomllib.loads(block.replace("\n    ", "\n")), tmp_path)
    assert [preset.name for preset in found.presets] == ["verse"]
    assert len(found.rows) == 2
