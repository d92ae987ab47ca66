"""The configuration file: defaults, then the file, then flags; what is unknown or wrong is told."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from bridge.config import ServerConfig, settings, value_of
from bridge.config_file import example, read_config, table_rows
from bridge.errors import InvalidRequestError, NotFoundError
from bridge.security import Security

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


@pytest.fixture
def read(tmp_path):
    """Return a function that reads a configuration from text and flags."""

    def from_text(text="", **flags):
        file = tmp_path / "config.toml"
        file.write_text(text, "utf-8")
        return read_config(file, flags, tmp_path / "here")

    return from_text


def test_an_empty_file_means_the_defaults(read):
    assert read() == ServerConfig() == read_config(None, {}, Path())


def test_flags_come_before_the_file_and_the_file_before_the_defaults(read):
    text = '[server]\nport = 8000\n[osc]\nport = "off"\n[limits]\njobs = 2\n'
    config = read(text, port=9000, max_events=5)
    assert (config.port, config.osc_port, config.max_jobs, config.max_events) == (9000, None, 2, 5)


def test_relative_paths_count_from_the_file_those_of_flags_from_the_working_folder(read, tmp_path):
    config = read('[files]\nspool = "s"\nallowed = ["a", "~"]\n', midi_map="m.toml")
    assert config.spool == tmp_path / "s"
    assert config.allowed == (tmp_path / "a", Path.home())
    assert config.midi_map == tmp_path / "here" / "m.toml"


def test_locks_are_read_into_their_own_value(read, tmp_path):
    text = '[security]\ntoken_file = "tokens"\nmax_calls = 3\n'
    security = read(text).security
    assert (security.token_file, security.max_calls) == (tmp_path / "tokens", 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[sever]\n", r"the section 'sever' is unknown, did you mean 'server'\?"),
        ("[server]\nprot = 1\n", r"'server\.prot' is unknown, did you mean 'server\.port'\?"),
        ("[server]\nspool = 'x'\n", r"'server\.spool' is unknown, did you mean 'files\.spool'\?"),
        ("[server]\nxyzzy = 1\n", r"'server\.xyzzy' is unknown; known are server\.host"),
        ("port = 1\n", r"the section 'port' is unknown"),
        ("server = 1\n", r"server is 1, it must be a section \[server\]"),
        ("[server]\nport = 99999\n", r"server\.port is 99999, allowed are 0 to 65535"),
        ("[server]\nport = '7'\n", r"server\.port is '7', it must be a whole number"),
        ("[server]\nport = true\n", r"server\.port is 'True', it must be a whole number"),
        ("[server]\ndrain_seconds = nan\n", r"is nan, allowed are 0 to 3600 s"),
        ("[server]\ndrain_seconds = 'x'\n", r"'x', it must be a number"),
        ("[files]\nspool = 3\n", r"files\.spool is '3', it must be the path of a folder"),
        ("[files]\nallowed = 'x'\n", r"files\.allowed is 'x', it must be a list"),
        ("[files]\nallowed = ['x', 1]\n", r"files\.allowed\[1\] is '1', it must be the path"),
        ("[http]\nport = 'no'\n", r"http\.port is 'no', it must be a whole number"),
        ("[log]\nformat = 'xml'\n", r"log\.format is 'xml', allowed: text, json"),
        ("[log]\nformat = 1\n", r"log\.format is '1', it must be text"),
        ("[server\n", r"config\.toml is no TOML: .*line 1"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_the_file_and_the_place(text, words, read):
    with pytest.raises(InvalidRequestError, match=words) as caught:
        read(text)
    assert "config.toml" in str(caught.value)


def test_a_file_that_is_missing_too_large_or_no_text_is_told(tmp_path):
    file = tmp_path / "config.toml"
    with pytest.raises(NotFoundError, match="there is no file"):
        read_config(file, {}, tmp_path)
    file.write_bytes(b"#" * 300_000)
    with pytest.raises(InvalidRequestError, match="300000 bytes, the limit is 262144 bytes"):
        read_config(file, {}, tmp_path)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidRequestError, match="no TOML"):
        read_config(file, {}, tmp_path)
    with pytest.raises(InvalidRequestError, match="cannot be read"):
        read_config(tmp_path, {}, tmp_path)


def test_a_flag_is_checked_under_its_own_name(read):
    with pytest.raises(InvalidRequestError, match="--osc-port is -1, allowed are 0 to 65535"):
        read(osc_port=-1)


def test_the_example_means_the_defaults_commented_and_uncommented(read):
    assert read(example()) == ServerConfig()
    uncommented = re.sub(r"(?m)^#(?=\w)", "", example())
    assert read(uncommented) == ServerConfig()
    given = {
        f"{section}.{key}" for section, keys in tomllib.loads(uncommented).items() for key in keys
    }
    assert given == {setting.name for setting in settings().values()}


def test_every_setting_has_a_place_of_its_own_and_a_default_within_its_limits():
    table = settings()
    names = [setting.name for setting in table.values()]
    flags = [setting.flag for setting in table.values() if setting.flag]
    assert len(set(names)) == len(names)
    assert len(set(flags)) == len(flags)
    assert {f"security.{item.name}" for item in fields(Security)} <= set(table)
    for name, setting in table.items():
        setting.kind.check(value_of(ServerConfig(), name), setting.name)


def test_the_document_lists_every_setting_as_it_is():
    text = DOCUMENT.read_text("utf-8")
    assert [row for row in table_rows() if row not in text] == []
    listed = re.findall(r"(?m)^\| `([a-z_]+\.[a-z_]+)` \|", text)
    assert listed == [setting.name for setting in settings().values()]
