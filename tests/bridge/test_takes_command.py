import asyncio
import json

import numpy as np
import pytest
from fakes import CountingGenerator, counting_info

from bridge.__main__ import main
from bridge.app.workbench import engine_alone
from bridge.audio_file import read_audio, sha256_of
from bridge.commands import takes
from bridge.ports import Conditions, Plan
from bridge.request import Done, Prime, RenderRequest, TakePoint


class Takes:
    """A spool with a take and one that departs from it, and the command on it."""

    def __init__(self, folder, monkeypatch, capsys):
        self.spool, self._capsys = folder / "spool", capsys
        self.load = lambda: CountingGenerator(follows_seed=True)
        monkeypatch.setattr(takes, "shipped_model", lambda folder: self.load)
        self.first, self.second = asyncio.run(self._made())

    async def _made(self):
        prime = Prime(samples=np.zeros((2, 5_001), np.float32))
        async with engine_alone(self.spool, self.load) as engine:
            first = await self._done(engine, prime, 5)
            second = await self._done(engine, TakePoint(take_id=first.take_id), 6)
        return first, second

    async def _done(self, engine, source, seed) -> Done:
        asked = RenderRequest(
            request_id=f"r-{seed}",
            sample_rate=48_000,
            source=source,
            num_samples=9_001,
            plan=Plan(seed=seed),
            conditions=Conditions(),
            idempotency_key=f"k-{seed}",
        )
        return [event async for event in engine.render(asked)][-1]

    def __call__(self, action, *arguments):
        """Return the exit code and what the command wrote."""
        code = main(["takes", action, *arguments, "--spool", str(self.spool)])
        return code, self._capsys.readouterr()

    def facts(self, action, *arguments, code=0):
        found, written = self(action, *arguments, "--json")
        assert found == code, written.err
        return json.loads(written.out)


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    return Takes(tmp_path, monkeypatch, capsys)


def test_the_list_names_what_there_is_and_where_it_comes_from(command):
    code, written = command("list")
    newest, oldest = written.out.splitlines()
    assert code == 0
    assert newest.startswith(command.second.take_id)
    assert f"from {command.first.take_id}" in newest
    assert "seed 5  prime" in oldest
    assert "2 of 2 takes" in written.err
    children = command.facts("list", "--parent", command.first.take_id)
    assert [facts["id"] for facts in children] == [command.second.take_id]


def test_a_take_is_shown_judged_and_named(command):
    name = command.first.take_id
    facts = command.facts("tag", name, "--verdict", "keep", "--name", "verse 2")
    assert facts == command.facts("show", name)
    assert (facts["verdict"], facts["name"]) == ("keep", "verse 2")
    assert facts["sha256"] == command.first.sha256
    kept = command.facts("list", "--verdict", "keep")
    assert [one["id"] for one in kept] == [name]
    assert "verse 2" in command("show", name)[1].out


def test_what_is_kept_or_departed_from_is_not_deleted(command):
    code, written = command("delete", command.first.take_id)
    assert code == 1
    assert "departs from" in written.err
    assert command("delete", command.second.take_id)[0] == 0
    assert command("delete", command.first.take_id)[0] == 0
    assert command.facts("list") == []


def test_a_take_is_exported_as_it_was_made_and_nothing_is_written_over(command, tmp_path):
    out = tmp_path / "verse.wav"
    code, written = command("export", command.first.take_id, "--out", str(out))
    assert (code, written.out.strip()) == (0, str(out))
    assert sha256_of(read_audio(out).samples) == command.first.sha256
    code, written = command("export", command.first.take_id, "--out", str(out))
    assert code == 1
    assert "is there already" in written.err


@pytest.mark.parametrize("which", ["first", "second"])
def test_a_take_is_made_again_bit_for_bit(command, which):
    done = getattr(command, which)
    facts = command.facts("regenerate", done.take_id)
    assert facts["same"] is True
    assert facts["again"] == facts["sha256"] == done.sha256
    assert len(command.facts("list")) == 2


def test_a_take_that_comes_out_differently_is_told_by_the_exit_code(command):
    command.load = lambda: CountingGenerator(follows_seed=False)
    facts = command.facts("regenerate", command.first.take_id, code=1)
    assert facts["same"] is False
    assert facts["again"] != command.first.sha256


def test_a_take_of_another_model_is_not_made_again(command):
    command.load = lambda: CountingGenerator(counting_info(fingerprint="counting-2"))
    code, written = command("regenerate", command.first.take_id)
    assert code == 1
    assert "counting-1" in written.err
    assert "counting-2" in written.err


def test_damage_is_found(command):
    assert command.facts("check") == {"problems": [], "takes": 2}
    for path in (command.spool / "objects").glob("??/*"):
        path.write_bytes(path.read_bytes()[:-1])
    problems = command.facts("check", code=1)["problems"]
    assert any(command.first.take_id in problem for problem in problems)


@pytest.mark.parametrize("action", ["show", "tag", "delete", "export", "regenerate"])
def test_an_unknown_take_is_refused(command, action):
    code, written = command(action, "nowhere")
    assert code == 2
    assert "no take is named 'nowhere'" in written.err
