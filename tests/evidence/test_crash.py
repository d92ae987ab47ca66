"""SIGKILL at random moments: every acknowledged take is there, every cut job ends as it would."""

import sys

import pytest

from tests.evidence.crash import killed, tiny_model

pytestmark = pytest.mark.slow


def test_a_server_that_is_killed_keeps_its_promises(tmp_path):
    model = tiny_model(tmp_path / "model")
    tally = killed(tmp_path, model, kills=1, num_samples=300_000, longest_s=1.0, seed=3)
    assert tally.problems == (), tally


@pytest.mark.evidence
def test_thirty_kills_of_thirty_jobs(tmp_path):
    model = tiny_model(tmp_path / "model")
    tally = killed(tmp_path, model, kills=30, num_samples=400_000, longest_s=6.0, seed=1)
    sys.stdout.write(f"\ncrash, TINY: {tally}\n")
    assert tally.problems == (), tally
    assert tally.cut_off >= 10


@pytest.mark.evidence
@pytest.mark.slow
def test_three_kills_of_the_shipped_model(tmp_path):
    tally = killed(tmp_path, None, kills=3, num_samples=1_000_000, longest_s=5.0, seed=2)
    sys.stdout.write(f"\ncrash, shipped model: {tally}\n")
    assert tally.problems == (), tally
