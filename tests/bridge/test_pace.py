import pytest
from fakes import Clock

from bridge.pace import PRIME, Pace, ProgressMeter, Steps
from bridge.request import Progress


def meter(prime: int, made: int, clock: Clock, pace: Pace | None = None) -> ProgressMeter:
    pace = pace or Pace(prime_s=1.0, made_s=1.0)
    return ProgressMeter(Steps(prime=prime, made=made), clock, pace)


def test_progress_never_goes_back_nor_past_its_total():
    it = meter(1, 3, Clock())
    seen = [it.advance(phase) for phase in (PRIME, PRIME, *"abcde")] + [it.finish("decode")]
    assert [progress.step for progress in seen] == [1, 1, 2, 3, 4, 4, 4, 4]
    assert {progress.total_steps for progress in seen} == {4}
    assert seen[-1] == Progress(phase="decode", step=4, total_steps=4, eta_seconds=0.0)


def test_the_rest_is_told_from_the_speed_measured():
    it = meter(0, 10, Clock(step_s=0.5))
    assert it.advance("top").eta_seconds == pytest.approx(9 * 0.5)
    for _ in range(4):
        last = it.advance("top")
    assert last.eta_seconds == pytest.approx(5 * 0.5)


def test_a_change_of_speed_is_followed_smoothly():
    clock = Clock(step_s=1.0)
    it = meter(0, 100, clock)
    it.advance("top")
    clock.now_s += 4.0
    assert it.advance("top").eta_seconds == pytest.approx(98 * (1.0 + 0.2 * 4.0))


def test_what_is_heard_says_nothing_of_how_fast_the_rest_is_made():
    it = meter(2, 10, Clock(step_s=0.25), Pace(prime_s=9.0, made_s=2.0))
    assert it.progress("").eta_seconds == pytest.approx(2 * 9.0 + 10 * 2.0)
    assert it.advance(PRIME).eta_seconds == pytest.approx(1 * 0.25 + 10 * 2.0)
    it.advance(PRIME)
    assert it.advance("top").eta_seconds == pytest.approx(9 * 0.25)


def test_the_next_job_begins_with_what_the_last_one_measured():
    pace = Pace(prime_s=1.0, made_s=1.0)
    meter(0, 4, Clock(step_s=0.125), pace).advance("top")
    assert pace.seconds(Steps(prime=3, made=8)) == pytest.approx(3 + 1.0)


def test_a_job_that_goes_on_in_the_middle_has_no_prime_left():
    it = meter(5, 5, Clock())
    assert it.advance("top").step == 6
