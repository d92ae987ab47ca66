import numpy as np
import pytest
from fakes import counting_info

from bridge.audio_file import sha256_of
from bridge.ports import Conditions, Plan
from bridge.render import Assembly, choose_anchor, ground_of, likeness_of, place
from bridge.request import SAMPLE_RATES, Prime, RenderRequest
from bridge.splice import FADE_SECONDS

RATE = 44_100
INFO = counting_info()


def request(
    prime: np.ndarray, sample_rate: int = RATE, start_sample: int = 0, **changes
) -> RenderRequest:
    values = {"num_samples": 30_001, "plan": Plan(seed=0), "conditions": Conditions()}
    source = Prime(samples=prime, start_sample=start_sample)
    return RenderRequest(
        request_id="r", sample_rate=sample_rate, source=source, **{**values, **changes}
    )


def assembled(asked: RenderRequest, sound) -> tuple[Assembly, np.ndarray]:
    """Return the assembly and its result when the decoder gives `sound(model samples)`."""
    placement = place(asked, ground_of(asked.source), INFO)
    likeness = likeness_of(asked.source, asked.sample_rate)
    assembly, size = Assembly(likeness, placement), INFO.block_samples
    parts = [
        assembly.push(block, sound(np.arange(block * size, (block + 1) * size)).astype(np.float32))
        for block in range(placement.first_block, placement.end_block)
    ]
    return assembly, np.concatenate(parts, axis=1)


def tone(samples: np.ndarray, amplitude: float = 0.2) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * 441 * samples / RATE)


def prime_of(num_samples: int, amplitude: float = 0.2) -> np.ndarray:
    return tone(np.arange(num_samples), amplitude).astype(np.float32)[None]


@pytest.mark.parametrize(("decoded", "gain_db"), [(0.1, 6.02), (0.2, 0.0), (0.4, -6.02)])
def test_the_result_has_the_level_of_the_prime(decoded, gain_db):
    asked = request(prime_of(44_100), anchor_sample=0)
    assembly, audio = assembled(asked, lambda samples: tone(samples, decoded))
    assert assembly.gain_db == pytest.approx(gain_db, abs=0.01)
    due = tone(44_100 + np.arange(30_001))
    np.testing.assert_allclose(audio[0], due, atol=1e-3)


def test_the_lead_in_is_the_same_sound_as_the_result():
    asked = request(prime_of(44_100), anchor_sample=0)
    assembly, _ = assembled(asked, lambda samples: tone(samples, 0.1))
    fade = round(FADE_SECONDS * 44_100)
    due = tone(44_100 - fade + np.arange(fade))
    np.testing.assert_allclose(assembly.lead_in[0], due, atol=1e-3)


@pytest.mark.parametrize("rate", SAMPLE_RATES)
@pytest.mark.parametrize("prime_samples", [1, 50, 7_001])
def test_a_short_prime_gives_a_short_lead_in_and_a_whole_result(rate, prime_samples):
    asked = request(np.zeros((2, prime_samples), np.float32), rate)
    assembly, audio = assembled(asked, tone)
    assert audio.shape == (2, 30_001)
    anchored = prime_samples - choose_anchor(rate, ground_of(asked.source), INFO)
    assert assembly.lead_in.shape == (2, min(anchored, round(FADE_SECONDS * rate)))


def test_what_would_clip_is_bent_and_the_reduction_is_told():
    asked = request(prime_of(44_100, 0.9), anchor_sample=0)
    assembly, audio = assembled(
        asked, lambda samples: tone(samples, np.where(samples < 44_100, 0.3, 0.9))
    )
    assert 0.9 < np.max(np.abs(audio)) < 1
    level_db = 20 * np.log10(0.9 / 0.3)
    assert assembly.gain_db == pytest.approx(
        level_db - 20 * np.log10(2.7 / np.max(np.abs(audio))), abs=0.01
    )


def test_the_stereo_image_of_the_prime_goes_on_and_folds_down_to_the_mid():
    mid = prime_of(88_200)
    asked = request(np.concatenate([1.4 * mid, 0.6 * mid]), anchor_sample=0)
    assembly, audio = assembled(asked, tone)
    left, right = np.sqrt(np.mean(np.square(audio), axis=1))
    assert left / right == pytest.approx(1.4 / 0.6, rel=0.1)
    np.testing.assert_allclose(audio.mean(axis=0), tone(88_200 + np.arange(30_001)), atol=2e-3)
    assert assembly.lead_in.shape[0] == 2


def test_the_hash_and_the_next_sample_follow_the_result():
    asked = request(np.zeros((2, 5_000), np.float32), start_sample=77)
    assembly, audio = assembled(asked, tone)
    assert assembly.sha256 == sha256_of(audio)
    assert assembly.next_sample == 77 + 5_000 + 30_001
